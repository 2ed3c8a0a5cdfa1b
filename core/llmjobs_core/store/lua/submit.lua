-- Stores a job and queues it; the same idempotency key gives the same job.
-- ARGV: id, idempotency key with its namespace ('' none), fingerprint, labels, body, and the rest of
-- the record as MessagePack (as 60 arguments of its own it would cost its sender three times as much)
local id, idem, fingerprint, labels, body = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local known = idem ~= '' and call('HMGET', key('idem', idem), 'id', 'fp') or {}
local seen = known[1] or (call('EXISTS', key('job', id)) == 1 and id)
if seen then
  local st = call('HGET', key('job', seen), 'st')
  if st then
    if known[2] and known[2] ~= fingerprint then
      return refuse('MISMATCH', 'the idempotency key belongs to another request')
    end
    return { seen, 0, st }
  end
end

local record = cmsgpack.unpack(ARGV[8])
if body ~= '' then record.body = body end
record.created, record.lab, record.idem = NOW, labels, idem
if call('HGET', key('pool', record.pool), 'acc') ~= '1' then
  return refuse('NOPOOL', 'pool ' .. record.pool .. ' is not there or takes no new jobs')
end
if idem ~= '' then call('HSET', key('idem', idem), 'id', id, 'fp', fingerprint) end

local st = 'Pending'
if record.kind ~= 'batch' then st = record.sus == 1 and 'Suspended' or 'Queued' end
record.st = st
record.reason = ({ Pending = 'AwaitingInput', Suspended = 'Suspended', Queued = 'Submitted' })[st]
if st == 'Queued' then record.queued = NOW end
local j = create_job(id, record)
for _, ns in ipairs({ j.ns, '*' }) do
  call('ZADD', key('ix', ns), 0, id)
  for label in string.gmatch(labels, '[^\n]+') do
    call('ZADD', key('ix', ns .. '|' .. label), 0, id)
  end
end
each_index(j, j.st, 'ZADD')
count('depth', depth_field(j, j.st), 1)
count('submitted', j.pool .. '|' .. j.cls, 1)
if j.st == 'Pending' then
  await_input(j)
elseif j.st == 'Queued' then
  call('ZADD', key('age', j.pool), NOW, id)
  if j.qd ~= '' then call('ZADD', P .. 'dl', NOW + num(j.qd) * 1000, id) end
  pool_waiting(j, 1)
  enqueue(j)
end
-- The store lost it once: what its watchers have seen does not count any more.
if record.again then publish(j, 't', 'reset') end
tell_owner(j)
if j.st == 'Queued' then dispatch(j.pool) end
return { id, 1, j.st }
