-- Where a job stands in its backlog. ARGV: id. Reply: jobs ahead, cost ahead ('' for not there)
local NEAR = 64  -- so many jobs ahead are looked at one by one (arbitrary)

local own = call('HMGET', key('job', ARGV[3]), 'st', 'pool', 'cost', 'resv')
local st, pool = own[1], own[2]
if not st then return refuse('NOTFOUND', ARGV[3]) end
if st ~= 'Queued' and st ~= 'Running' then return { '', '' } end

-- What is handed out of a job of this tag until it is the turn of *until_tag*. Of a batch that is
-- its fair share, and no more: after each chunk it stands in line again.
local function cost_before(id, tag, until_tag)
  local v = call('HMGET', key('job', id), 'cost', 'wt', 'total', 'nok', 'nfail', 'ncan', 'nrun', 'resv')
  local waiting = num(v[3])
  for i = 4, 8 do waiting = waiting - num(v[i]) end
  local cost = num(v[1])
  if cost == 0 then return 0 end
  local turns = math.floor((until_tag - tag) * num(v[2]) / cost) + 1
  return cost * math.max(0, math.min(waiting, turns))
end

local p = call('HMGET', key('pool', pool), 'run', 'sent', 'qc', 'q')
local mean = num(p[4]) > 0 and num(p[3]) / num(p[4]) or num(own[3])
local backlog = key('backlog', pool)
local rank = call('ZRANK', backlog, ARGV[3])
if not rank then
  if num(own[4]) > 0 then return { '0', text(math.floor(num(p[1]) * mean)) } end
  return { '', '' }
end
-- Far back, each job ahead is taken for one request of the mean cost: the store is not to be read
-- for as long as the line is.
local ahead = rank * mean
if rank > 0 and rank <= NEAR then
  ahead = 0
  local line = call('ZRANGE', backlog, 0, rank, 'WITHSCORES')
  local tag = num(line[#line])
  for i = 1, 2 * rank, 2 do ahead = ahead + cost_before(line[i], num(line[i + 1]), tag) end
end
ahead = ahead + (num(p[1]) + num(p[2])) * mean
return { tostring(rank), text(math.floor(ahead)) }
