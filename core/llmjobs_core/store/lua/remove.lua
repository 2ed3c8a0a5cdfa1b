-- Deletes an ended job. ARGV: id
local j = load_job(ARGV[3])
if not j then return 0 end
if not TERMINAL[j.st] then return refuse('CONFLICT', 'the job is ' .. j.st .. ' and must end first') end
purge(j)
return 1
