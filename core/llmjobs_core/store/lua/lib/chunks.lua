-- Chunks, their messages, and dispatch: the backlog's way into Celery's queue.

local function queue_name(pool) return 'llmjobs.' .. (string.gsub(pool, '/', '.')) end

local function push_message(j, number, chunk)
  local name = j.id .. '.' .. number
  local queue = queue_name(j.pool)
  local message = string.gsub(TEMPLATE, '@llmjobs%-id@', name)
  message = string.gsub(message, '@llmjobs%-tag@', name .. '.' .. NOW .. '.' .. clock[2])
  message = string.gsub(message, '@llmjobs%-queue@', queue)
  -- kombu pops from the right.
  call(chunk.urgent and 'RPUSH' or 'LPUSH', queue, message)
  chunk.pushed = NOW
end

-- A chunk is kept in the job's hash as "units:checks:urgent:when its message was pushed last".
local function read_chunk(j, number)
  local value = call('HGET', j.key, 'c' .. number)
  if not value or number <= j.cmin then return nil end
  local units, checks, urgent, pushed = string.match(value, '^(%d+):(%d+):(%d):(%d+)$')
  return { units = num(units), checks = num(checks), urgent = urgent == '1', pushed = num(pushed) }
end

local function write_chunk(j, number, chunk, check_ms)
  call('HSET', j.key, 'c' .. number, string.format('%d:%d:%d:%d', chunk.units, chunk.checks,
    chunk.urgent and 1 or 0, chunk.pushed))
  call('ZADD', P .. 'sent', NOW + (check_ms or CHECK_SENT_MS), j.id .. '.' .. number)
end

-- Messages are taken in order: those that were pushed before this one, and are not urgent, are lost.
local function note_claimed(pool, chunk)
  if not chunk.urgent then call('HSET', key('pool', pool), 'claimed', chunk.pushed) end
end

local function is_overtaken(pool, chunk)
  return num(call('HGET', key('pool', pool), 'claimed')) > chunk.pushed
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
  local chunk = { units = units, checks = 0, urgent = urgent }
  push_message(j, j.cseq, chunk)
  write_chunk(j, j.cseq, chunk)
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
