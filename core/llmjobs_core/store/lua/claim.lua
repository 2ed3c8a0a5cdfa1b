-- Gives a worker units of a chunk, each with a lease and a fence.
-- ARGV: id, chunk number, worker, token of this call, most units, lease in ms
local id, number, worker, token = ARGV[3], num(ARGV[4]), ARGV[5], ARGV[6]
local limit, lease = num(ARGV[7]), num(ARGV[8])
local j = load_job(id)
if not j then return {} end

local function describe(ref)
  local ukey, _, line = unit_key(ref)
  local job = call('HMGET', j.key, 'model', 'ep', 'body')
  local u = call('HMGET', ukey, 'ufence', 'uatt', 'utry', 'utk', 'uvoid', 'upart')
  return { ref, u[1], j.pool, job[1], job[2], line and '' or job[3], j.rec, u[2], u[3] or '0', j.bl,
    j.cls, line and call('HGET', key('in', id), line) or '', call('GET', key('txt', ref)) or '',
    call('GET', key('tok', ref)) or '', u[4] or '0', call('GET', key('ptk', ref)) or '',
    u[5] or '0', u[6] or '0' }
end

local again = call('GET', key('claim', token))
if again then
  local reply = {}
  for ref, fence in string.gmatch(again, '(%S+) (%d+)') do
    if holds(ref, fence) then reply[#reply + 1] = describe(ref) end
  end
  return reply
end

local chunk = read_chunk(j, number)
if not chunk or (j.st ~= 'Queued' and j.st ~= 'Running') then return {} end

local refs, held_off = {}, 0
local most = math.min(limit, chunk.units)
local function take(ref)
  if not may_run_at(worker, ref) then
    held_off = held_off + 1
    return false
  end
  refs[#refs + 1] = ref
  return true
end
if j.single then
  if j.nrun == 0 and most > 0 then take(id) end
else
  local redo = call('ZRANGEBYSCORE', key('redo', id), '-inf', NOW, 'LIMIT', 0, most + 8)
  for _, line in ipairs(redo) do
    if #refs == most then break end
    if take(id .. ':' .. line) then call('ZREM', key('redo', id), line) end
  end
  local fresh = math.min(most - #refs, j.total - j.next)
  for i = j.next, j.next + fresh - 1 do refs[#refs + 1] = id .. ':' .. i end
  add(j, 'next', fresh)
end

note_claimed(j.pool, chunk)
-- A chunk that finds fewer units than it may take has outlived them.
local left = #refs + held_off < most and 0 or chunk.units - #refs
reserve(j, left - chunk.units)
if left == 0 then drop_chunk(j, number)
else
  local check_ms = held_off > 0 and HELD_OFF_MS or CHECK_SENT_MS
  chunk.units, chunk.checks = left, 0
  write_chunk(j, number, chunk, check_ms)
end
if #refs == 0 then return {} end

pool_waiting(j, -#refs)
pool_add(j.pool, 'run', #refs)
add(j, 'nrun', #refs)
call('HINCRBY', j.key, 'att', #refs)
if call('HEXISTS', P .. 'wrun', worker) == 1 then call('HINCRBY', P .. 'wrun', worker, #refs) end
local memory = {}
for _, ref in ipairs(refs) do
  local ukey, _, line = unit_key(ref)
  local fence = math.max(num(call('HGET', ukey, 'ufence')) + 1, NOW)
  call('HSET', ukey, 'ufence', fence, 'urun', 1, 'uown', worker)
  call('HINCRBY', ukey, 'uatt', 1)
  call('ZADD', P .. 'leases', NOW + lease, ref)
  if line then call('SADD', key('runs', id), line) end
  memory[#memory + 1] = ref .. ' ' .. fence
end
call('SET', key('claim', token), table.concat(memory, '\n'), 'PX', 60000)

call('HDEL', j.key, 'nb')
if j.started == '' then
  call('HSET', j.key, 'started', NOW)
  observe('queue_wait', j.pool, NOW - num(j.queued))
end
if j.st == 'Queued' then
  call('ZREM', P .. 'dl', id)
  if j.ad ~= '' then
    local from = j.started == '' and NOW or num(j.started)
    call('ZADD', P .. 'dl', from + num(j.ad) * 1000, id)
  end
  call('HSET', j.key, 'worker', worker)
  set_state(j, 'Running', 'Generating')
end
local reply = {}
for i, ref in ipairs(refs) do reply[i] = describe(ref) end
return reply
