-- Units handed back by a worker that leaves. ARGV: reason, then ref and fence of each
local pools = {}
for i = 4, #ARGV, 2 do
  local ref = ARGV[i]
  if holds(ref, ARGV[i + 1]) then
    local j = load_job((split_ref(ref)))
    stop_unit(j, ref)
    requeue_unit(j, ref, ARGV[3])
    pools[j.pool] = true
  end
end
for pool in pairs(pools) do dispatch(pool) end
return 1
