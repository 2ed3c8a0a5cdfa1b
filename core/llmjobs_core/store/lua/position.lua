-- Where a job stands in its backlog. ARGV: id. Reply: jobs ahead, cost ahead ('' for not there)
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if j.st ~= 'Queued' and j.st ~= 'Running' then return { '', '' } end
local p = call('HMGET', key('pool', j.pool), 'run', 'sent', 'qc', 'q')
local mean = num(p[4]) > 0 and num(p[3]) / num(p[4]) or j.cost
local rank = call('ZRANK', key('backlog', j.pool), j.id)
if not rank then
  if j.resv > 0 then return { '0', text(math.floor(num(p[1]) * mean)) } end
  return { '', '' }
end
local near = math.min(rank, 128)
local ahead = 0
if near > 0 then
  for _, id in ipairs(call('ZRANGE', key('backlog', j.pool), 0, near - 1)) do
    local other = load_job(id)
    if other then ahead = ahead + other.cost * math.max(0, waiting_units(other) - other.resv) end
  end
  -- Past the first 128 the rest is taken to be like them.
  ahead = ahead * rank / near
end
ahead = ahead + (num(p[1]) + num(p[2])) * mean
return { tostring(rank), text(math.floor(ahead)) }
