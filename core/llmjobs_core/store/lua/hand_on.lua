-- A worker that takes nothing now got a chunk's message: the next worker has it, not a later look.
-- ARGV: id, chunk number
local j = load_job(ARGV[3])
local number = num(ARGV[4])
local chunk = j and read_chunk(j, number)
if not chunk then return 0 end
-- In front, where it came from, and its own class next time all the same.
local urgent = chunk.urgent
chunk.urgent = true
push_message(j, number, chunk)
chunk.urgent = urgent
write_chunk(j, number, chunk)
return 1
