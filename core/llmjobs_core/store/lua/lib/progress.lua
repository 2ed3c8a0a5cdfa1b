-- What units produce: text into checkpoints and streams, tokens into usage.

local TELL_OWNER_MS = 1000  -- most often that an owner is told of new text

-- The job of a unit that produces something. Nearly always its first token is long written and there
-- is no owner to tell now, so that a few fields will do.
local function load_producer(id)
  local k = key('job', id)
  local v = call('HMGET', k, 'first', 'owner', 'changed', 'utk', 'tok')
  local since = NOW - num(v[3])
  local is_told = (v[2] or '') == '' or (since >= 0 and since < TELL_OWNER_MS)
  if not v[1] or v[1] == '' or not is_told then return load_job(id) end
  return { id = id, key = k, first = v[1], owner = '', utk = num(v[4]), tok = num(v[5]) }
end

-- Counts new tokens of the unit and of its job; returns the job's. A single job is its own unit, and
-- where its numbers are known one command writes both.
local function count_tokens(j, ukey, tokens)
  if ukey ~= j.key or not j.tok then
    call('HINCRBY', ukey, 'utk', tokens)
    return call('HINCRBY', j.key, 'tok', tokens)
  end
  j.utk, j.tok = j.utk + tokens, j.tok + tokens
  call('HSET', j.key, 'utk', j.utk, 'tok', j.tok)
  return j.tok
end

-- Adds what a unit produced to its checkpoint and notes it for the watchers of a single job. *at* is
-- the checkpoint's size in bytes before this update and *tokens_at* its tokens, -1 for «don't check»:
-- so a repeated update is seen and skipped, and false is returned when text or tokens are missing here
-- (Redis lost its last second).
local function add_progress(j, ref, new_text, tokens, ids, prompt_ids, reset, at, regenerated, partial,
    tokens_at)
  local ukey, _, line = unit_key(ref)
  if reset then
    local void = num(call('HGET', ukey, 'utk'))
    call('HSET', ukey, 'uvoid', regenerated)
    call('HDEL', ukey, 'upart')
    call('DEL', key('txt', ref), key('tok', ref))
    call('HSET', ukey, 'utk', 0)
    call('HINCRBY', j.key, 'tok', -void)
    j.utk, j.tok = nil, nil
    if not line then note_event(j, 't', 'reset') end
  elseif at >= 0 then
    local have = call('STRLEN', key('txt', ref))
    if have ~= at then return have >= at + #new_text and #new_text > 0 end
  elseif tokens_at >= 0 and tokens > 0 then
    local have = num(call('HGET', ukey, 'utk'))
    if have ~= tokens_at then return have >= tokens_at + tokens end
  end
  if partial then call('HSET', ukey, 'upart', 1) end
  if prompt_ids ~= '' then call('SET', key('ptk', ref), prompt_ids) end
  if ids ~= '' then call('APPEND', key('tok', ref), ids) end
  if tokens == 0 and new_text == '' then return true end
  local total = count_tokens(j, ukey, tokens)
  if j.first == '' then
    j.first = tostring(NOW)
    call('HSET', j.key, 'first', NOW)
    observe('time_to_first_token', j.pool, NOW - num(j.created))
  end
  if new_text ~= '' then
    call('APPEND', key('txt', ref), new_text)
    if not line then note_event(j, 't', 'delta', 'text', new_text, 'tokens', text(total)) end
  end
  tell_owner(j, TELL_OWNER_MS)
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
