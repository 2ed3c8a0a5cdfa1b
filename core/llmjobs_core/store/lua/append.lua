-- Writes lines of a pending batch. ARGV: id, first line number, cost of these lines, lines...
local j = load_job(ARGV[3])
if not j then return refuse('NOTFOUND', ARGV[3]) end
if j.st ~= 'Pending' then return refuse('CONFLICT', 'the batch is ' .. j.st .. ' and takes no lines') end
local start = num(ARGV[4])
if start > j.total then return refuse('CONFLICT', 'lines ' .. j.total .. ' to ' .. start .. ' are missing') end
for i = 6, #ARGV do call('HSET', key('in', j.id), start + i - 6, ARGV[i]) end
local total = start + #ARGV - 5
if total > j.total then
  call('HINCRBY', j.key, 'csum', num(ARGV[5]))
  call('HSET', j.key, 'total', total)
else
  total = j.total
end
await_input(j)
return total
