-- Adds to checkpoints. ARGV: the updates, packed, and all their ids in one string. An update has ref,
-- fence, text, tokens, bytes of ids, bytes of prompt ids, reset, at, void tokens, partial, tokens before.
local updates, all_ids, from = cmsgpack.unpack(ARGV[3]), ARGV[4], 1
local lost, jobs = {}, {}
local function lose(ref, flag)
  lost[#lost + 1] = ref
  lost[#lost + 1] = flag
end
local function take_ids(size)
  from = from + size
  return string.sub(all_ids, from - size, from - 1)
end
for _, u in ipairs(updates) do
  local ref = u[1]
  local ids, prompt_ids = take_ids(u[5]), take_ids(u[6])
  local is_held, is_suspected = holds(ref, u[2])
  if not is_held then
    lose(ref, lost_flag(ref))
  else
    local id = split_ref(ref)
    jobs[id] = jobs[id] or load_producer(id)
    local added = add_progress(jobs[id], ref, u[3], u[4], ids, prompt_ids, u[7], u[8], u[9], u[10],
      u[11])
    if not added then lose(ref, '2') elseif is_suspected then note_advance(ref) end
  end
end
tell_shards()
return lost
