-- A unit's way through its worker: held by fence, stopped, put back, ended.

local function split_ref(ref)
  local id, line = string.match(ref, '^([^:]+):(%d+)$')
  if id then return id, line end
  return ref, nil
end

local function unit_key(ref)
  local id, line = split_ref(ref)
  return line and key('unit', ref) or key('job', id), id, line
end

-- Whether the unit is running under this fence; and whether it is suspected (see losses.lua).
local function holds(ref, fence)
  local u = call('HMGET', (unit_key(ref)), 'urun', 'ufence', 'ulost')
  return u[1] == '1' and u[2] == fence, num(u[3]) > 0
end

-- Why a unit is not its worker's any more: '1' when its job ended or is held, '0' when it moved.
local function lost_flag(ref)
  local id = split_ref(ref)
  local st = call('HGET', key('job', id), 'st')
  return (not st or TERMINAL[st] or st == 'Suspended') and '1' or '0'
end

-- Lets the next unit on the brink run at this worker (see losses.lua).
local function leave_brink(worker, ref)
  if worker and call('HGET', P .. 'brink', worker) == ref then call('HDEL', P .. 'brink', worker) end
end

-- The unit is not running any more (for whatever cause); what becomes of it is the caller's.
local function stop_unit(j, ref)
  local ukey, _, line = unit_key(ref)
  call('ZREM', P .. 'leases', ref)
  local u = call('HMGET', ukey, 'uown', 'ulall')
  local owner = u[1]
  if u[2] then leave_brink(owner, ref) end
  if owner and call('HEXISTS', P .. 'wrun', owner) == 1 then
    call('HINCRBY', P .. 'wrun', owner, -1)
  end
  call('HSET', ukey, 'urun', 0)
  if line then call('SREM', key('runs', j.id), line) end
  add(j, 'nrun', -1)
  pool_add(j.pool, 'run', -1)
  call('HSET', key('pool', j.pool), 'active', NOW)
end

-- Whether this very fence ended the unit before, well (1) or not (0): then saying so again is fine.
local function was_ended_by(ref, fence, ok)
  local id, line = split_ref(ref)
  local ended = line and call('HGET', key('fin', id), line) or call('HGET', key('job', id), 'ufence')
  if ended ~= fence then return false end
  local result = call('HGET', key('out', id), line or 0)
  return result and string.match(result, '^%S+ (%d)') == tostring(ok)
end

local function forget_unit(j, ref)
  call('DEL', key('tok', ref), key('ptk', ref))
  local _, line = split_ref(ref)
  if line then call('DEL', key('unit', ref), key('txt', ref)) end
end

-- Puts a stopped unit back: at the front at once, or for later when *due* is in the future. One that
-- found no slot has not begun, and goes to the front of the queue only if it is interactive.
local function requeue_unit(j, ref, reason, due)
  local _, line = split_ref(ref)
  pool_waiting(j, 1)
  add(j, 'nretry', 1)
  count('retries', j.pool .. '|' .. reason, 1)
  if line then
    call('ZADD', key('redo', j.id), due or AT_ONCE, line)
  else
    set_state(j, 'Queued', reason)
  end
  if due then
    if j.single then call('HSET', j.key, 'nb', due) end
    call('ZADD', P .. 'later', 'LT', due, j.id)
  elseif is_fed(j.pool) then
    send_chunk(j, 1, reason ~= 'Crowded' or j.cls == 'interactive')
  else
    enqueue(j, true)
  end
end

local function end_batch(j)
  if j.nok + j.nfail + j.ncan < j.total then
    tell_owner(j, 500)
    return
  end
  -- The fences of ended lines stay until the job is removed: a worker may say «done» again.
  call('DEL', key('redo', j.id), key('runs', j.id))
  call('ZREM', key('backlog', j.pool), j.id)
  call('ZREM', P .. 'later', j.id)
  if j.resv > 0 then
    pool_add(j.pool, 'sent', -j.resv)
    call('HSET', j.key, 'resv', 0, 'cmin', j.cseq)
  end
  if j.nok == 0 then set_state(j, 'Failed', 'RequestFailed', 'every line failed')
  elseif j.nfail > 0 then
    set_state(j, 'Succeeded', 'SomeLinesFailed', j.nfail .. ' of ' .. j.total .. ' lines failed')
  else set_state(j, 'Succeeded', 'Succeeded') end
end

local function tell_line(j, line, ok)
  publish(j, 't', 'line', 'line', line, 'ok', text(ok), 'done', text(j.nok + j.nfail + j.ncan),
    'total', text(j.total))
end

-- Ends a stopped unit as failed; the job too, if it was its last.
local function fail_unit(j, ref, reason, code, message, status, body)
  local _, line = split_ref(ref)
  call('HSET', key('out', j.id), line or 0, status .. ' 0\n' .. body)
  call('HSET', j.key, 'ecode', code, 'emsg', message)
  add(j, 'nfail', 1)
  count('requests', j.pool .. '|failed', 1)
  if line then call('HSET', key('fin', j.id), line, call('HGET', key('unit', ref), 'ufence')) end
  forget_unit(j, ref)
  if line then
    tell_line(j, line, 0)
    end_batch(j)
  else
    set_state(j, 'Failed', reason, message)
  end
end
