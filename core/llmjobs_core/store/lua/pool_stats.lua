-- One consistent reading of a pool. ARGV: pool
local pool = ARGV[3]
local k = key('pool', pool)
if call('HEXISTS', k, 'acc') == 0 then return refuse('NOPOOL', 'there is no pool ' .. pool) end
local p = call('HMGET', k, 'models', 'conc', 'acc', 'reason', 'msg', 'q', 'sent', 'run', 'slots', 'nw',
  'qc', 'rcost', 'runits', 'rts', 'rfrom', 'active')
local cost_rate, unit_rate = '', ''
local age = math.max(0, NOW - num(p[14]))  -- the clock may have gone back
if p[14] and age < 5 * RATE_MS then
  -- A sum that decays with RATE_MS covers less than RATE_MS while it is young.
  local span = RATE_MS / 1000 * (1 - math.exp(-math.max(1000, NOW - num(p[15])) / RATE_MS))
  local decay = math.exp(-age / RATE_MS)
  cost_rate, unit_rate = text(num(p[12]) * decay / span), text(num(p[13]) * decay / span)
end
local oldest = call('ZRANGE', key('age', pool), 0, 0, 'WITHSCORES')
local active = p[16]
if num(p[6]) > 0 or num(p[8]) > 0 then active = tostring(NOW) end
return { p[1], p[2], p[3], p[4] or '', p[5] or '', call('ZCARD', key('backlog', pool)), num(p[6]),
  num(p[7]), num(p[8]), num(p[9]), num(p[10]), num(p[11]), cost_rate, unit_rate, oldest[2] or '',
  active or '', NOW }
