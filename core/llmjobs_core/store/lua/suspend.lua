-- Holds a job. ARGV: id
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if TERMINAL[j.st] then return refuse('CONFLICT', 'the job is ' .. j.st) end
call('HSET', j.key, 'sus', 1)
if j.st == 'Queued' or j.st == 'Running' then
  withdraw(j, true)
  set_state(j, 'Suspended', 'Suspended')
  dispatch(j.pool)
end
return j.st
