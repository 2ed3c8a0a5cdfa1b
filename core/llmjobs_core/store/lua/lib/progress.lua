-- What units produce: text into checkpoints and streams, tokens into usage.

-- Adds what a unit produced to its checkpoint and tells the watchers of a single job. *at* is the
-- checkpoint's size in bytes before this update, -1 for «don't check»: so a repeated update is
-- seen and skipped, and false is returned when text is missing here (Redis lost its last second).
local function add_progress(j, ref, new_text, tokens, ids, prompt_ids, reset, at, regenerated, partial)
  local ukey, _, line = unit_key(ref)
  if reset == '1' then
    local void = num(call('HGET', ukey, 'utk'))
    call('HSET', ukey, 'uvoid', regenerated)
    call('HDEL', ukey, 'upart')
    call('DEL', key('txt', ref), key('tok', ref))
    call('HSET', ukey, 'utk', 0)
    call('HINCRBY', j.key, 'tok', -void)
    if not line then publish(j, 't', 'reset') end
  elseif at >= 0 then
    local have = call('STRLEN', key('txt', ref))
    if have ~= at then return have >= at + #new_text and #new_text > 0 end
  end
  if partial == '1' then call('HSET', ukey, 'upart', 1) end
  if prompt_ids ~= '' then call('SET', key('ptk', ref), prompt_ids) end
  if ids ~= '' then call('APPEND', key('tok', ref), ids) end
  if tokens == 0 and new_text == '' then return true end
  call('HINCRBY', ukey, 'utk', tokens)
  local total = call('HINCRBY', j.key, 'tok', tokens)
  if j.first == '' then
    j.first = tostring(NOW)
    call('HSET', j.key, 'first', NOW)
    observe('time_to_first_token', j.pool, NOW - num(j.created))
  end
  if new_text ~= '' then
    call('APPEND', key('txt', ref), new_text)
    if not line then publish(j, 't', 'delta', 'text', new_text, 'tokens', total) end
  end
  tell_owner(j, 1000)
  return true
end

local function add_usage(j, prompt, completion, regenerated)
  call('HINCRBY', j.key, 'pt', prompt)
  call('HINCRBY', j.key, 'ct', completion)
  call('HINCRBY', j.key, 'rg', regenerated)
  count('tokens', j.pool .. '|prompt', prompt)
  count('tokens', j.pool .. '|completion', completion)
  count('tokens', j.pool .. '|regenerated', regenerated)
end
