-- Ends a job as cancelled, in whatever state it is. ARGV: id, message
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if TERMINAL[j.st] then return j.st end
end_job(j, 'Cancelled', 'Cancelled', ARGV[4])
dispatch(j.pool)
return j.st
