-- A failed attempt. ARGV: ref, fence, code, message, HTTP status, body, retry in ms ('' never),
-- prompt tokens, completion tokens, regenerated tokens
local ref, fence = ARGV[3], ARGV[4]
local id, line = split_ref(ref)
local j = load_job(id)
if not j then return 0 end
local ukey = unit_key(ref)
if not holds(ref, fence) then
  if was_ended_by(ref, fence, 0) then return 1 end
  return call('HGET', ukey, 'ufence') == fence and lost_flag(ref) == '0' and 1 or 0
end
stop_unit(j, ref)
add_usage(j, num(ARGV[10]), num(ARGV[11]), num(ARGV[12]))
local u = call('HMGET', ukey, 'utry', 'utk', 'ufhigh')
local tried = num(u[1])
if num(u[2]) > num(u[3]) then
  -- It got further than ever before it failed: an hour-long answer may be cut more often than that.
  tried = 0
  call('HSET', ukey, 'utry', 0, 'ufhigh', u[2])
end
if ARGV[9] ~= '' and tried < j.bl then
  call('HINCRBY', ukey, 'utry', 1)
  call('HSET', j.key, 'ecode', ARGV[5], 'emsg', ARGV[6])
  requeue_unit(j, ref, 'Retrying', NOW + num(ARGV[9]))
else
  local reason = ARGV[9] == '' and 'RequestFailed' or 'BackoffLimitExceeded'
  fail_unit(j, ref, reason, ARGV[5], ARGV[6], ARGV[7], ARGV[8])
end
dispatch(j.pool)
return 1
