-- Adds to checkpoints. ARGV: per unit ref, fence, text, tokens, token ids, prompt ids, reset
local lost, jobs = {}, {}
for i = 3, #ARGV, 7 do
  local ref = ARGV[i]
  if holds(ref, ARGV[i + 1]) then
    local id = split_ref(ref)
    jobs[id] = jobs[id] or load_job(id)
    add_progress(jobs[id], ref, ARGV[i + 2], num(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
  else
    lost[#lost + 1] = ref
    lost[#lost + 1] = lost_flag(ref)
  end
end
return lost
