-- Stores the result of a unit. ARGV: ref, fence, HTTP status, body, prompt tokens, completion
-- tokens, regenerated tokens, then the last progress: text, tokens, token ids, prompt ids, reset, at,
-- void tokens, partial, tokens before
local ref, fence = ARGV[3], ARGV[4]
local id, line = split_ref(ref)
local j = load_job(id)
if not j then return 0 end
if not holds(ref, fence) then
  return was_ended_by(ref, fence, 1) and 1 or 0
end
if not add_progress(j, ref, ARGV[10], num(ARGV[11]), ARGV[12], ARGV[13], ARGV[14] == '1',
  num(ARGV[15]), num(ARGV[16]), ARGV[17] == '1', num(ARGV[18])) then
  return -1
end
stop_unit(j, ref)
call('HSET', key('out', id), line or 0, ARGV[5] .. ' 1\n' .. ARGV[6])
add_usage(j, num(ARGV[7]), num(ARGV[8]), num(ARGV[9]))
add(j, 'nok', 1)
count('requests', j.pool .. '|succeeded', 1)
rate_add(j.pool, j.cost)
if line then call('HSET', key('fin', id), line, fence) end
forget_unit(j, ref)
if line then
  tell_line(j, line, 1)
  end_batch(j)
else
  set_state(j, 'Succeeded', 'Succeeded')
end
dispatch(j.pool)
return 1
