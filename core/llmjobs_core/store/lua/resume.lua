-- Queues a suspended job again. ARGV: id
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if TERMINAL[j.st] then return refuse('CONFLICT', 'the job is ' .. j.st) end
call('HSET', j.key, 'sus', 0)
if j.st == 'Suspended' then
  set_state(j, 'Queued', 'Resumed')
  if j.started == '' and j.qd ~= '' then
    call('ZADD', P .. 'dl', NOW + num(j.qd) * 1000, j.id)
  elseif j.started ~= '' and j.ad ~= '' then
    call('ZADD', P .. 'dl', num(j.started) + num(j.ad) * 1000, j.id)
  end
  pool_waiting(j, waiting_units(j))
  -- Retries that are not due yet were taken off the clock by the suspension.
  local later = call('ZRANGEBYSCORE', key('redo', j.id), '(' .. NOW, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if later[2] then call('ZADD', P .. 'later', later[2], j.id) end
  enqueue(j)
  dispatch(j.pool)
end
return j.st
