-- Changes class and weight, or the TTL. ARGV: id, class ('' as is), weight, ttl in s ('' as is)
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if ARGV[6] ~= '' then
  j.ttl = num(ARGV[6])
  call('HSET', j.key, 'ttl', j.ttl)
  if TERMINAL[j.st] then retire(j) end
end
if ARGV[4] ~= '' and ARGV[4] ~= j.cls and not TERMINAL[j.st] then
  count('depth', depth_field(j, j.st), -1)
  local old = num(call('HGET', j.key, 'cwt'))
  j.wt = math.max(1, j.wt / math.max(1, old) * num(ARGV[5]))
  j.cls = ARGV[4]
  call('HSET', j.key, 'cls', j.cls, 'cwt', ARGV[5], 'wt', j.wt)
  count('depth', depth_field(j, j.st), 1)
  if call('ZREM', key('backlog', j.pool), j.id) == 1 then
    enqueue(j)
    dispatch(j.pool)
  end
  tell_owner(j)
end
return j.st
