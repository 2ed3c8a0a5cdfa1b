-- The fair backlog of a pool.
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
