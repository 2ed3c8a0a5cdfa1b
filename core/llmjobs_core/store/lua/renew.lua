-- A worker's beat: it is alive with so many slots, and holds these units.
-- ARGV: worker, pool, slots, lease in ms, then ref and fence of each
local worker, pool, slots, lease = ARGV[3], ARGV[4], num(ARGV[5]), num(ARGV[6])
local lost, running = {}, 0
for i = 7, #ARGV, 2 do
  if holds(ARGV[i], ARGV[i + 1]) then
    call('ZADD', P .. 'leases', NOW + lease, ARGV[i])
    running = running + 1
  else
    lost[#lost + 1] = ARGV[i]
    lost[#lost + 1] = lost_flag(ARGV[i])
  end
end
if set_worker(worker, pool, slots, lease, running) > 0 then dispatch(pool) end
return lost
