-- One recovery pass over whatever is overdue. ARGV: most items of each kind
-- Every worker, gateway and operator may call this; a pass just made by another is enough.
local limit = num(ARGV[3])
local last = num(call('GET', P .. 'reaped'))
if last - NOW > 1000 then
  follow_clock_back()
elseif NOW - last < 250 then
  return { 0, 0, 0, 0, 0, 0, 1 }
end
call('SET', P .. 'reaped', NOW)
-- Nobody could reap for a while, so nobody could renew either (Redis was away): give the living
-- time to renew before their leases count as lost.
-- Not where reaping is always so slow: there the lost would never be found.
local is_late = last > 0 and NOW - last > 1500
if is_late and call('INCR', P .. 'late') <= 3 then call('SET', P .. 'hold', 1, 'PX', 2500) end
local held = call('EXISTS', P .. 'hold') == 1
if not is_late and not held then call('DEL', P .. 'late') end
local function due(name)
  return call('ZRANGEBYSCORE', P .. name, '-inf', NOW, 'LIMIT', 0, limit)
end
local recovered, poisoned, expired, resent, promoted, removed = 0, 0, 0, 0, 0, 0
local touched = {}

for _, worker in ipairs(held and {} or due('workers')) do
  local pool = string.match(call('HGET', P .. 'wslots', worker) or '', '^%d+ (.+)$')
  if pool then set_worker(worker, pool, 0, 0) else call('ZREM', P .. 'workers', worker) end
end

for _, ref in ipairs(held and {} or due('leases')) do
  local ukey, id = unit_key(ref)
  local j = load_job(id)
  if not j or call('HGET', ukey, 'urun') ~= '1' then
    call('ZREM', P .. 'leases', ref)
  else
    touched[j.pool] = true
    if lose_unit(j, ref, 'LeaseLost') then recovered = recovered + 1 else poisoned = poisoned + 1 end
  end
end

for _, id in ipairs(due('dl')) do
  local j = load_job(id)
  call('ZREM', P .. 'dl', id)
  if j and not TERMINAL[j.st] then
    expired = expired + 1
    touched[j.pool] = true
    if j.st == 'Pending' then
      end_job(j, 'Failed', 'InputAbandoned', 'no line was added for 15 minutes')
    elseif j.started == '' then
      end_job(j, 'Expired', 'QueueDeadlineExceeded', 'not started within ' .. j.qd .. ' s')
    else
      end_job(j, 'Expired', 'ActiveDeadlineExceeded', 'not finished within ' .. j.ad .. ' s')
    end
  end
end

for _, id in ipairs(due('later')) do
  local j = load_job(id)
  call('ZREM', P .. 'later', id)
  if j and (j.st == 'Queued' or j.st == 'Running') then
    promoted = promoted + 1
    touched[j.pool] = true
    call('HDEL', j.key, 'nb')
    if free_units(j) > 0 and not call('ZSCORE', key('backlog', j.pool), id) then enqueue(j, true) end
    local rest = call('ZRANGEBYSCORE', key('redo', id), '(' .. NOW, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if rest[2] then call('ZADD', P .. 'later', rest[2], id) end
  end
end

for _, name in ipairs(due('sent')) do
  local id, number = string.match(name, '^(.+)%.(%d+)$')
  number = num(number)
  local j = load_job(id)
  local chunk = j and read_chunk(j, number)
  if not chunk then
    call('ZREM', P .. 'sent', name)
    if j then call('HDEL', j.key, 'c' .. number) end
  elseif not is_fed(j.pool) then
    -- Nobody is left to take it: back to the backlog, where it can be counted and moved.
    reserve(j, -chunk.units)
    drop_chunk(j, number)
    if free_units(j) > 0 then enqueue(j, true) end
  else
    chunk.checks = chunk.checks + 1
    -- The message may be lost, or the workers just busy. It is lost when the queue is empty, or when
    -- one that was pushed after it has been claimed. Urgent ones, which keep no order, go again at
    -- the 1st, 2nd, 4th, 8th ... look.
    local _, exponent = math.frexp(chunk.checks)
    local is_doubled = chunk.urgent and 2 ^ (exponent - 1) == chunk.checks
    local is_lost = call('LLEN', queue_name(j.pool)) == 0 or is_overtaken(j.pool, chunk)
    if is_lost or is_doubled then
      resent = resent + 1
      push_message(j, number, chunk)
    end
    write_chunk(j, number, chunk)
  end
end

for _, id in ipairs(due('gc')) do
  local j = load_job(id)
  if j then purge(j) else call('ZREM', P .. 'gc', id) end
  removed = removed + 1
end

for _, pool in ipairs(call('SRANDMEMBER', P .. 'pools', 32)) do touched[pool] = true end
for pool in pairs(touched) do dispatch(pool) end
return { recovered, poisoned, expired, resent, promoted, removed, 0 }
