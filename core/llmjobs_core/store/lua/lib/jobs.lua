-- A job's record: reading it, and its plain numbers.

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

-- Writes a new job's record at once; returns the job as load_job would, without asking for it again.
local function create_job(id, record)
  local j = { id = id, key = key('job', id) }
  local flat = {}
  for field, value in pairs(record) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  call('HSET', j.key, unpack(flat))
  for _, field in ipairs(JOB_FIELDS) do
    local value = record[field]
    if NUMBERS[field] then j[field] = num(value) else j[field] = value and tostring(value) or '' end
  end
  j.single = j.kind ~= 'batch'
  return j
end

local function add(j, field, delta)
  if delta ~= 0 then j[field] = call('HINCRBY', j.key, field, delta) end
end

local function waiting_units(j) return j.total - j.nok - j.nfail - j.ncan - j.nrun end

-- An upload that stops is given up. The input of an LLMJob is in the LLMJob, and the operator brings
-- it, however late.
local function await_input(j)
  if j.owner == '' then call('ZADD', P .. 'dl', NOW + INPUT_MS, j.id) end
end
