-- A worker or engine died under its units: which of them did it?
-- All of them are suspected, and all go on elsewhere. A new token clears a unit, for what kills its
-- worker every time gets no further. A unit that one more loss would convict is on the brink, and
-- a worker runs only one such unit at a time; so units that were lost together are told apart.
-- A limit: one on the brink that shows no token may be convicted for a newcomer that kills its worker.

local LOSS_WORDS = {
  LeaseLost = { 'lease_lost', 'worker %s was gone at token %s' },
  EngineLost = { 'engine_lost', 'the engine of worker %s was gone at token %s' },
}

local function is_on_brink(ref)
  local u = call('HMGET', (unit_key(ref)), 'ulost', 'ulall')
  return num(u[1]) >= LOSSES_IN_A_ROW - 1 or num(u[2]) >= LOSSES_IN_ALL - 1
end

-- Whether the unit may run at this worker now; if it is on the brink, it is its only such unit.
local function may_run_at(worker, ref)
  if not is_on_brink(ref) then return true end
  return call('HSETNX', P .. 'brink', worker, ref) == 1
end

-- A suspected unit has generated something: cleared, if it is further than it ever was.
local function note_advance(ref)
  local ukey = unit_key(ref)
  local u = call('HMGET', ukey, 'utk', 'uhigh', 'uown')
  if num(u[1]) <= num(u[2]) then return end
  call('HSET', ukey, 'ulost', 0)
  if not is_on_brink(ref) then leave_brink(u[3], ref) end
end

-- Stops a running unit whose worker or engine is gone. It goes on elsewhere, or ends as poison
-- with the last losses as evidence. Returns whether it goes on.
local function lose_unit(j, ref, cause)
  local ukey = unit_key(ref)
  local u = call('HMGET', ukey, 'uown', 'utk', 'uhigh', 'ulog')
  local code, words = unpack(LOSS_WORDS[cause])
  stop_unit(j, ref)
  local lost = call('HINCRBY', ukey, 'ulost', 1)
  local all = call('HINCRBY', ukey, 'ulall', 1)
  local entries = { string.format(words, u[1] or '?', u[2] or '0') }
  for entry in string.gmatch(u[4] or '', '[^;]+') do entries[#entries + 1] = entry end
  local log = table.concat(entries, ';', 1, math.min(#entries, LOSSES_IN_A_ROW))
  call('HSET', ukey, 'uhigh', math.max(num(u[2]), num(u[3])), 'ulog', log)
  if lost < LOSSES_IN_A_ROW and all < LOSSES_IN_ALL then
    requeue_unit(j, ref, cause)
    return true
  end
  local many = lost >= LOSSES_IN_A_ROW and lost .. ' times in a row without a new token'
    or all .. ' times in all'
  local why = 'it lost its worker or engine ' .. many .. '; last: ' .. string.gsub(log, ';', '; ')
  local body = cjson.encode({ error = { message = why, type = 'server_error', code = code } })
  fail_unit(j, ref, 'Poisoned', code, why, 0, body)
  return false
end
