-- Taking a whole job out: withdrawn, ended from outside, removed.

-- Lets the workers beat at once that run these units, so that they learn of it and stop them. Only a
-- hint, which may be lost: the next beat tells them all the same.
local function wake_workers(refs)
  local told = {}
  for _, ref in ipairs(refs) do
    local owner = call('HGET', (unit_key(ref)), 'uown')
    if owner and not told[owner] then
      told[owner] = true
      redis.pcall('PUBLISH', P .. 'wake:' .. owner, '')
    end
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
    if j.nrun > 0 then
      wake_workers({ j.id })
      stop_unit(j, j.id)
    end
    if not keep then forget_unit(j, j.id) end
  else
    local running = {}
    for i, line in ipairs(call('SMEMBERS', key('runs', j.id))) do running[i] = j.id .. ':' .. line end
    wake_workers(running)
    for _, ref in ipairs(running) do
      local _, line = split_ref(ref)
      stop_unit(j, ref)
      call('ZADD', key('redo', j.id), AT_ONCE, line)
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
  each_reason_index(j, call('HGET', j.key, 'reason') or '', 'ZREM')
  each_index(j, j.st, 'ZREM')
  count('depth', depth_field(j, j.st), -1)
  call('ZREM', P .. 'gc', j.id)
  if j.idem ~= '' and call('HGET', key('idem', j.idem), 'id') == j.id then
    call('DEL', key('idem', j.idem))
  end
  call('DEL', j.key, key('ev', j.id), key('in', j.id), key('out', j.id), key('txt', j.id),
    key('fin', j.id), key('redo', j.id), key('runs', j.id))
end
