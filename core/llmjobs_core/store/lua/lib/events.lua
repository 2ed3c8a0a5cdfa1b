-- Telling the world: event streams, indexes, and the one place where a job's state changes.

local SHARD_MAXLEN = 5000  -- some seconds of the busiest shard, which every gateway reads at once
local SHARD_EVENTS = 16    -- most in one entry, so that a shard's size is bounded

-- Events on their way to the shard streams, by shard. A script tells of many jobs in few entries.
local untold = {}

local function tell_shard(shard)
  call('XADD', P .. 'shard:' .. shard, 'MAXLEN', '~', SHARD_MAXLEN, '*', 'd',
    cmsgpack.pack(untold[shard]))
  untold[shard] = nil
end

local function tell_shards()
  for shard in pairs(untold) do tell_shard(shard) end
end

-- Writes an event, all strings, into the job's own stream, and keeps it for `tell_shards`.
local function note_event(j, ...)
  local eid = call('XADD', key('ev', j.id), '*', ...)
  local shard = (string.byte(j.id, -1) + string.byte(j.id, -2) * 3) % SHARDS
  local events = untold[shard] or {}
  untold[shard] = events
  events[#events + 1] = { j.id, eid, ... }
  if #events >= SHARD_EVENTS then tell_shard(shard) end
end

local function publish(j, ...)
  note_event(j, ...)
  tell_shards()
end

local function tell_owner(j, every_ms)
  if j.owner == '' then return end
  local since = NOW - j.changed
  if every_ms and since >= 0 and since < every_ms then return end
  j.changed = NOW
  call('HSET', j.key, 'changed', NOW)
  call('XADD', P .. 'changes', 'MAXLEN', '~', 100000, '*', 'j', j.id, 'o', j.owner, 'ns', j.ns,
    'n', call('HGET', j.key, 'res') or j.name, 's', j.st)
end

local function each_index(j, state, command)
  for _, ns in ipairs({ j.ns, '*' }) do
    if command == 'ZADD' then call('ZADD', key('ix', ns .. '|' .. state), 0, j.id)
    else call('ZREM', key('ix', ns .. '|' .. state), j.id) end
  end
end

-- The jobs that ended for one reason, so that dead letters are found without looking at the rest.
-- Where the reason says no more than the state does, the state's own index tells.
local function each_reason_index(j, reason, command)
  if reason == j.st then return end
  each_index(j, j.st .. '|' .. reason, command)
end

local function depth_field(j, state) return j.pool .. '|' .. j.cls .. '|' .. state end

local function retire(j)
  if j.ttl >= 0 then
    call('ZADD', P .. 'gc', NOW + j.ttl * 1000, j.id)
    call('HSET', j.key, 'exp', NOW + j.ttl * 1000)
  else
    call('ZREM', P .. 'gc', j.id)
    call('HDEL', j.key, 'exp')
  end
end

-- The only place where a job's state changes.
local function set_state(j, state, reason, message)
  local old = j.st
  if TERMINAL[old] then error('transition out of ' .. old) end
  j.st = state
  call('HSET', j.key, 'st', state, 'reason', reason, 'msg', message or '')
  if old ~= state then
    each_index(j, old, 'ZREM')
    each_index(j, state, 'ZADD')
    count('depth', depth_field(j, old), -1)
    count('depth', depth_field(j, state), 1)
    if state == 'Queued' then
      call('HSET', j.key, 'queued', NOW)
      call('ZADD', key('age', j.pool), NOW, j.id)
    elseif old == 'Queued' then
      call('ZREM', key('age', j.pool), j.id)
    end
  end
  if TERMINAL[state] then
    each_reason_index(j, reason, 'ZADD')
    call('HSET', j.key, 'fin', NOW)
    call('HDEL', j.key, 'nb')
    call('ZREM', P .. 'dl', j.id)
    count('outcomes', depth_field(j, state) .. '|' .. reason, 1)
    observe('duration', j.pool, NOW - num(j.created))
    retire(j)
    publish(j, 't', 'done', 'state', state, 'reason', reason)
  else
    publish(j, 't', 'state', 'state', state, 'reason', reason)
  end
  tell_owner(j)
end
