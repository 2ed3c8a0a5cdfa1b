-- Adds to checkpoints. ARGV: per unit ref, fence, text, tokens, token ids, prompt ids, reset, at,
-- void tokens, partial
local lost, jobs = {}, {}
local function lose(ref, flag)
  lost[#lost + 1] = ref
  lost[#lost + 1] = flag
end
for i = 3, #ARGV, 10 do
  local ref = ARGV[i]
  local is_held, is_suspected = holds(ref, ARGV[i + 1])
  if not is_held then
    lose(ref, lost_flag(ref))
  else
    local id = split_ref(ref)
    jobs[id] = jobs[id] or load_job(id)
    local added = add_progress(jobs[id], ref, ARGV[i + 2], num(ARGV[i + 3]), ARGV[i + 4],
      ARGV[i + 5], ARGV[i + 6], num(ARGV[i + 7]), num(ARGV[i + 8]), ARGV[i + 9])
    if not added then lose(ref, '2') elseif is_suspected then note_advance(ref) end
  end
end
return lost
