-- Shared by every script of the store: keys, the job's transitions, the fair backlog, dispatch.
-- ARGV[1] is the key prefix, ARGV[2] the Celery message with placeholders.
-- Words: a unit is one request at an engine (a single job, or one line of a batch), written as
-- "job-id" or "job-id:line"; a chunk is one hand-out of a job's units by one Celery message.

local P, TEMPLATE = ARGV[1], ARGV[2]
local call = redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local CHECK_SENT_MS = 3000      -- an unclaimed chunk is looked at again after this
local LOST_LEASES = 3           -- a unit that lost so many leases is poison
local RATE_MS = 60000           -- time constant of the measured rate
local SHARDS = 16
local BUCKETS = { 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400 }
local TERMINAL = { Succeeded = true, Failed = true, Cancelled = true, Expired = true }

local function key(kind, id) return P .. kind .. ':' .. id end
local function num(v) return tonumber(v or 0) or 0 end
local function text(v) return string.format('%.17g', v) end

-- Jobs -------------------------------------------------------------------------------------------

local JOB_FIELDS = { 'st', 'pool', 'ns', 'cls', 'wt', 'flow', 'kind', 'cost', 'lab', 'owner', 'name',
  'total', 'next', 'resv', 'nrun', 'nok', 'nfail', 'ncan', 'bl', 'sus', 'qd', 'ad', 'ttl', 'created',
  'queued', 'started', 'first', 'cseq', 'cmin', 'rec', 'idem', 'utry', 'changed' }
local NUMBERS = { wt = 1, cost = 1, total = 1, next = 1, resv = 1, nrun = 1, nok = 1, nfail = 1,
  ncan = 1, bl = 1, cseq = 1, cmin = 1, utry = 1, ttl = 1, changed = 1 }

local function load_job(id)
  local values = call('HMGET', key('job', id), unpack(JOB_FIELDS))
  if not values[1] then return nil end
  local j = { id = id, key = key('job', id) }
  for i, field in ipairs(JOB_FIELDS) do
    if NUMBERS[field] then j[field] = num(values[i]) else j[field] = values[i] or '' end
  end
  j.single = j.kind ~= 'batch'
  return j
end

local function add(j, field, delta)
  if delta ~= 0 then j[field] = call('HINCRBY', j.key, field, delta) end
end

local function waiting_units(j) return j.total - j.nok - j.nfail - j.ncan - j.nrun end

-- Pools ------------------------------------------------------------------------------------------

local function pool_add(pool, field, delta)
  if delta == 0 then return end
  call('HINCRBY', key('pool', pool), field, delta)
end

local function pool_waiting(j, delta)
  if delta == 0 then return end
  local k = key('pool', j.pool)
  call('HINCRBY', k, 'q', delta)
  call('HINCRBY', k, 'qc', delta * j.cost)
  call('HSET', k, 'active', NOW)
end

local function count(hash, field, delta)
  if delta ~= 0 then call('HINCRBY', P .. hash, field, delta) end
end

local function observe(metric, pool, ms)
  local s, le = ms / 1000, '+Inf'
  for _, bound in ipairs(BUCKETS) do
    if s <= bound then le = tostring(bound) break end
  end
  count('hist', metric .. '|' .. pool .. '|' .. le, 1)
  call('HINCRBYFLOAT', P .. 'hist', metric .. '|' .. pool .. '|sum', text(s))
end

-- The measured rate: sums that decay with RATE_MS, and when the measuring began.
local function rate_add(pool, cost)
  local k = key('pool', pool)
  local r = call('HMGET', k, 'rcost', 'runits', 'rts', 'rfrom')
  local age = NOW - num(r[3])
  local decay = math.exp(-age / RATE_MS)
  local from = r[4]
  if not from or age > 5 * RATE_MS then from, decay = NOW, 0 end
  call('HSET', k, 'rcost', text(num(r[1]) * decay + cost), 'runits', text(num(r[2]) * decay + 1),
    'rts', NOW, 'rfrom', from)
end

-- Telling the world ------------------------------------------------------------------------------

local function publish(j, ...)
  local eid = call('XADD', key('ev', j.id), '*', ...)
  local shard = (string.byte(j.id, -1) + string.byte(j.id, -2) * 3) % SHARDS
  call('XADD', P .. 'shard:' .. shard, 'MAXLEN', '~', 20000, '*', 'j', j.id, 'e', eid, ...)
end

local function tell_owner(j, every_ms)
  if j.owner == '' then return end
  if every_ms and NOW - j.changed < every_ms then return end
  j.changed = NOW
  call('HSET', j.key, 'changed', NOW)
  call('XADD', P .. 'changes', 'MAXLEN', '~', 100000, '*', 'j', j.id, 'o', j.owner, 'ns', j.ns,
    'n', j.name, 's', j.st)
end

local function each_index(j, state, command)
  for _, ns in ipairs({ j.ns, '*' }) do
    if command == 'ZADD' then call('ZADD', key('ix', ns .. '|' .. state), 0, j.id)
    else call('ZREM', key('ix', ns .. '|' .. state), j.id) end
  end
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

-- The fair backlog -------------------------------------------------------------------------------
-- Start-time fair queueing: a flow's next tag follows its last one, or the pool's virtual time if
-- that is later; so a flow that floods delays itself, and one that was idle has no credit to spend.

local function flow_field(j) return j.flow .. '|' .. j.cls end

local function charge(j, units)
  local flows = key('flow', j.pool)
  local vt = num(call('HGET', key('pool', j.pool), 'vt'))
  local last = num(call('HGET', flows, flow_field(j)))
  local tag = math.max(vt, last) + units * j.cost / j.wt
  call('HSET', flows, flow_field(j), text(tag))
  return tag
end

local function enqueue(j, front)
  local backlog = key('backlog', j.pool)
  if front then
    local head = call('ZRANGE', backlog, 0, 0, 'WITHSCORES')
    local vt = num(call('HGET', key('pool', j.pool), 'vt'))
    local first = head[2] and math.min(num(head[2]), vt) or vt
    call('ZADD', backlog, text(first - 1), j.id)
  else
    call('ZADD', backlog, text(charge(j, 1)), j.id)
  end
end

-- Units that could be handed out now and are in no chunk yet.
local function free_units(j)
  if j.single then return (j.st == 'Queued' and j.resv == 0) and 1 or 0 end
  local due = call('ZCOUNT', key('redo', j.id), '-inf', NOW)
  return math.max(0, j.total - j.next + due - j.resv)
end

-- Chunks and their messages ----------------------------------------------------------------------

local function queue_name(pool) return 'llmjobs.' .. (string.gsub(pool, '/', '.')) end

local function push_message(j, number, urgent)
  local name = j.id .. '.' .. number
  local queue = queue_name(j.pool)
  local message = string.gsub(TEMPLATE, '@llmjobs%-id@', name)
  message = string.gsub(message, '@llmjobs%-tag@', name .. '.' .. NOW .. '.' .. clock[2])
  message = string.gsub(message, '@llmjobs%-queue@', queue)
  -- kombu pops from the right.
  call(urgent and 'RPUSH' or 'LPUSH', queue, message)
end

-- A chunk is kept in the job's hash as "units:checks:urgent".
local function read_chunk(j, number)
  local value = call('HGET', j.key, 'c' .. number)
  if not value or number <= j.cmin then return nil end
  local units, checks, urgent = string.match(value, '^(%d+):(%d+):(%d)$')
  return { units = num(units), checks = num(checks), urgent = urgent == '1' }
end

local function write_chunk(j, number, chunk)
  call('HSET', j.key, 'c' .. number,
    chunk.units .. ':' .. chunk.checks .. ':' .. (chunk.urgent and 1 or 0))
  call('ZADD', P .. 'sent', NOW + CHECK_SENT_MS, j.id .. '.' .. number)
end

local function drop_chunk(j, number)
  call('HDEL', j.key, 'c' .. number)
  call('ZREM', P .. 'sent', j.id .. '.' .. number)
end

local function reserve(j, units)
  add(j, 'resv', units)
  pool_add(j.pool, 'sent', units)
end

local function send_chunk(j, units, urgent)
  add(j, 'cseq', 1)
  reserve(j, units)
  write_chunk(j, j.cseq, { units = units, checks = 0, urgent = urgent })
  push_message(j, j.cseq, urgent)
end

-- Whether the pool takes work now: it is not being deleted and some worker is alive.
local function is_fed(pool)
  local p = call('HMGET', key('pool', pool), 'acc', 'slots')
  return p[1] == '1' and num(p[2]) > 0
end

-- Fills the pool's window (two times its live slots) from the backlog; returns messages sent.
local function dispatch(pool)
  local p = call('HMGET', key('pool', pool), 'acc', 'slots', 'run', 'sent', 'vt')
  local slots = num(p[2])
  if p[1] ~= '1' or slots <= 0 then return 0 end
  local busy, vt, sent = num(p[3]) + num(p[4]), num(p[5]), 0
  local backlog = key('backlog', pool)
  while true do
    local head = call('ZRANGE', backlog, 0, 1, 'WITHSCORES')
    if not head[1] then
      call('DEL', key('flow', pool))
      break
    end
    local j = load_job(head[1])
    local free = j and free_units(j) or 0
    if free == 0 then
      call('ZREM', backlog, head[1])
    else
      -- Interactive work may use one slot count more, so that a full window can't hold it up.
      local urgent = j.cls == 'interactive'
      local room = slots * (urgent and 3 or 2) - busy
      if room <= 0 then break end
      local score = num(head[2])
      local units = math.min(free, room)
      -- A batch waits for room worth a message: a chunk of one line would cost a message a line.
      if not j.single and units < free and room < slots / 2 then break end
      if head[4] and units > 1 then
        local until_next = math.floor((num(head[4]) - score) * j.wt / j.cost) + 1
        units = math.max(1, math.min(units, until_next))
      end
      if score > vt then
        vt = score
        call('HSET', key('pool', pool), 'vt', text(vt))
      end
      send_chunk(j, units, urgent)
      busy, sent = busy + units, sent + 1
      if free > units then
        if units > 1 then charge(j, units - 1) end
        enqueue(j)
      else
        call('ZREM', backlog, j.id)
      end
    end
  end
  return sent
end

-- Units ------------------------------------------------------------------------------------------

local function split_ref(ref)
  local id, line = string.match(ref, '^([^:]+):(%d+)$')
  if id then return id, line end
  return ref, nil
end

local function unit_key(ref)
  local id, line = split_ref(ref)
  return line and key('unit', ref) or key('job', id), id, line
end

-- Whether the unit is running under this fence.
local function holds(ref, fence)
  local u = call('HMGET', (unit_key(ref)), 'urun', 'ufence')
  return u[1] == '1' and u[2] == fence
end

-- Why a unit is not its worker's any more: '1' when its job ended or is held, '0' when it moved.
local function lost_flag(ref)
  local id = split_ref(ref)
  local st = call('HGET', key('job', id), 'st')
  return (not st or TERMINAL[st] or st == 'Suspended') and '1' or '0'
end

-- The unit is not running any more (for whatever cause); what becomes of it is the caller's.
local function stop_unit(j, ref)
  local ukey, _, line = unit_key(ref)
  call('ZREM', P .. 'leases', ref)
  local owner = call('HGET', ukey, 'uown')
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

-- Puts a stopped unit back: at the front at once, or for later when *due* is in the future.
local function requeue_unit(j, ref, reason, due)
  local _, line = split_ref(ref)
  pool_waiting(j, 1)
  add(j, 'nretry', 1)
  count('retries', j.pool .. '|' .. reason, 1)
  if line then
    call('ZADD', key('redo', j.id), due or NOW, line)
  else
    set_state(j, 'Queued', reason)
  end
  if due then
    if j.single then call('HSET', j.key, 'nb', due) end
    call('ZADD', P .. 'later', 'LT', due, j.id)
  elseif is_fed(j.pool) then
    send_chunk(j, 1, true)
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
  publish(j, 't', 'line', 'line', line, 'ok', ok, 'done', j.nok + j.nfail + j.ncan, 'total', j.total)
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

-- Takes the job out of everything it waits or runs in. With *keep*, running units keep their
-- checkpoints and can be queued again; else nothing of them stays.
local function withdraw(j, keep)
  if j.st == 'Queued' or j.st == 'Running' then pool_waiting(j, -waiting_units(j)) end
  call('ZREM', key('backlog', j.pool), j.id)
  call('ZREM', P .. 'later', j.id)
  call('ZREM', P .. 'dl', j.id)
  call('HDEL', j.key, 'nb')
  if j.resv > 0 then pool_add(j.pool, 'sent', -j.resv) end
  j.resv, j.cmin = 0, j.cseq
  call('HSET', j.key, 'resv', 0, 'cmin', j.cseq)
  if j.single then
    if j.nrun > 0 then stop_unit(j, j.id) end
    if not keep then forget_unit(j, j.id) end
  else
    for _, line in ipairs(call('SMEMBERS', key('runs', j.id))) do
      stop_unit(j, j.id .. ':' .. line)
      call('ZADD', key('redo', j.id), NOW, line)
    end
    if not keep then
      for _, line in ipairs(call('ZRANGE', key('redo', j.id), 0, -1)) do
        forget_unit(j, j.id .. ':' .. line)
      end
      call('DEL', key('redo', j.id), key('runs', j.id))
    end
  end
end

-- Ends a live job from outside (cancel, deadline): what has not ended counts as cancelled.
local function end_job(j, state, reason, message)
  withdraw(j, false)
  local left = waiting_units(j)
  add(j, 'ncan', left)
  count('requests', j.pool .. '|cancelled', left)
  set_state(j, state, reason, message)
end

-- Removes an ended job and everything of it.
local function purge(j)
  for _, ns in ipairs({ j.ns, '*' }) do
    call('ZREM', key('ix', ns), j.id)
    for label in string.gmatch(j.lab, '[^\n]+') do
      call('ZREM', key('ix', ns .. '|' .. label), j.id)
    end
  end
  each_index(j, j.st, 'ZREM')
  count('depth', depth_field(j, j.st), -1)
  call('ZREM', P .. 'gc', j.id)
  if j.idem ~= '' and call('HGET', key('idem', j.idem), 'id') == j.id then
    call('DEL', key('idem', j.idem))
  end
  call('DEL', j.key, key('ev', j.id), key('in', j.id), key('out', j.id), key('txt', j.id),
    key('fin', j.id), key('redo', j.id), key('runs', j.id))
end

-- Adds what a unit produced to its checkpoint and tells the watchers of a single job. *at* is the
-- checkpoint's size in bytes before this update, -1 for «don't check»: so a repeated update is
-- seen and skipped, and false is returned when text is missing here (Redis lost its last second).
local function add_progress(j, ref, new_text, tokens, ids, prompt_ids, reset, at)
  local ukey, _, line = unit_key(ref)
  if reset == '1' then
    local void = num(call('HGET', ukey, 'utk'))
    call('DEL', key('txt', ref), key('tok', ref))
    call('HSET', ukey, 'utk', 0)
    call('HINCRBY', j.key, 'tok', -void)
    if not line then publish(j, 't', 'reset') end
  elseif at >= 0 then
    local have = call('STRLEN', key('txt', ref))
    if have ~= at then return have >= at + #new_text and #new_text > 0 end
  end
  if prompt_ids ~= '' then call('SET', key('ptk', ref), prompt_ids) end
  if ids ~= '' then call('APPEND', key('tok', ref), ids) end
  if tokens == 0 and new_text == '' then return true end
  call('HINCRBY', ukey, 'utk', tokens)
  local total = call('HINCRBY', j.key, 'tok', tokens)
  if j.first == '' then
    j.first = tostring(NOW)
    call('HSET', j.key, 'first', NOW)
    observe('time_to_first_token', j.pool, NOW - num(j.created))
  end
  if new_text ~= '' then
    call('APPEND', key('txt', ref), new_text)
    if not line then publish(j, 't', 'delta', 'text', new_text, 'tokens', total) end
  end
  tell_owner(j, 1000)
  return true
end

local function add_usage(j, prompt, completion, regenerated)
  call('HINCRBY', j.key, 'pt', prompt)
  call('HINCRBY', j.key, 'ct', completion)
  call('HINCRBY', j.key, 'rg', regenerated)
  count('tokens', j.pool .. '|prompt', prompt)
  count('tokens', j.pool .. '|completion', completion)
  count('tokens', j.pool .. '|regenerated', regenerated)
end

local function set_worker(worker, pool, slots, lease_ms)
  local old = call('HGET', P .. 'wslots', worker)
  local had = old and num(string.match(old, '^(%d+) ')) or 0
  if slots > 0 then
    call('ZADD', P .. 'workers', NOW + lease_ms, worker)
    if had ~= slots or not old then
      call('HSET', P .. 'wslots', worker, slots .. ' ' .. pool)
      call('HSETNX', P .. 'wrun', worker, 0)
    end
  else
    call('ZREM', P .. 'workers', worker)
    call('HDEL', P .. 'wslots', worker)
    call('HDEL', P .. 'wrun', worker)
  end
  pool_add(pool, 'slots', slots - had)
  local joined = (old and 0 or 1) * (slots > 0 and 1 or 0) - (old and slots <= 0 and 1 or 0)
  pool_add(pool, 'nw', joined)
  return slots - had
end

local function refuse(word, message) return redis.error_reply(word .. ' ' .. message) end
