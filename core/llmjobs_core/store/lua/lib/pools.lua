-- A pool's numbers, the counters behind the metrics, and the measured rate.

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
  local age = math.max(0, NOW - num(r[3]))  -- the clock may have gone back
  local decay = math.exp(-age / RATE_MS)
  local from = r[4]
  if not from or age > 5 * RATE_MS then from, decay = NOW, 0 end
  call('HSET', k, 'rcost', text(num(r[1]) * decay + cost), 'runits', text(num(r[2]) * decay + 1),
    'rts', NOW, 'rfrom', from)
end
