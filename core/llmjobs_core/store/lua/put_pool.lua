-- Publishes, changes or forgets a pool. ARGV: pool, 'put' or 'drop', models, concurrency,
-- accepting, reason, message
local pool, models = ARGV[3], ARGV[5]
local k = key('pool', pool)
local ns, name = string.match(pool, '^([^/]+)/(.+)$')

local function serve(model, yes)
  local names = {}
  for other in string.gmatch(call('HGET', key('models', ns), model) or '', '[^,]+') do
    if other ~= name then names[#names + 1] = other end
  end
  if yes then names[#names + 1] = name end
  table.sort(names)
  if #names > 0 then call('HSET', key('models', ns), model, table.concat(names, ','))
  else call('HDEL', key('models', ns), model) end
end

for model in string.gmatch(call('HGET', k, 'models') or '', '[^\n]+') do serve(model, false) end
if ARGV[4] == 'drop' then
  call('SREM', P .. 'pools', pool)
  call('HDEL', k, 'models', 'conc', 'acc', 'reason', 'msg')
  return 1
end
call('SADD', P .. 'pools', pool)
call('HSET', k, 'models', models, 'conc', ARGV[6], 'acc', ARGV[7], 'reason', ARGV[8], 'msg', ARGV[9])
if ARGV[7] == '1' then
  for model in string.gmatch(models, '[^\n]+') do serve(model, true) end
  dispatch(pool)
end
return 1
