-- The engine died under a unit, whose worker lives and says so. ARGV: ref, fence
local ref, fence = ARGV[3], ARGV[4]
local j = load_job((split_ref(ref)))
if not j then return 0 end
if not holds(ref, fence) then
  return call('HGET', (unit_key(ref)), 'ufence') == fence and lost_flag(ref) == '0' and 1 or 0
end
lose_unit(j, ref, 'EngineLost')
dispatch(j.pool)
return 1
