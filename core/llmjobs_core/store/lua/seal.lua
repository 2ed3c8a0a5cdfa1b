-- Ends a batch's input and queues it. ARGV: id
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if TERMINAL[j.st] then return refuse('CONFLICT', 'the batch is ' .. j.st) end
if j.st ~= 'Pending' then return j.st end
if j.total == 0 then return refuse('CONFLICT', 'the batch has no lines') end
j.cost = math.max(1, math.floor(num(call('HGET', j.key, 'csum')) / j.total))
call('HSET', j.key, 'cost', j.cost)
call('ZREM', P .. 'dl', j.id)
if j.sus == '1' then
  set_state(j, 'Suspended', 'Suspended')
  return j.st
end
set_state(j, 'Queued', 'Submitted')
if j.qd ~= '' then call('ZADD', P .. 'dl', NOW + num(j.qd) * 1000, j.id) end
pool_waiting(j, j.total)
enqueue(j)
dispatch(j.pool)
return j.st
