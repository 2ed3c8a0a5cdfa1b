-- Which workers are alive, and how many slots each adds to its pool.

local function set_worker(worker, pool, slots, lease_ms)
  local old = call('HGET', P .. 'wslots', worker)
  local had = old and num(string.match(old, '^(%d+) ')) or 0
  if slots > 0 then
    call('ZADD', P .. 'workers', NOW + lease_ms, worker)
    if had ~= slots or not old then
      call('HSET', P .. 'wslots', worker, slots .. ' ' .. pool)
      call('HSETNX', P .. 'wrun', worker, 0)
    end
  else
    call('ZREM', P .. 'workers', worker)
    call('HDEL', P .. 'wslots', worker)
    call('HDEL', P .. 'wrun', worker)
  end
  pool_add(pool, 'slots', slots - had)
  local joined = (old and 0 or 1) * (slots > 0 and 1 or 0) - (old and slots <= 0 and 1 or 0)
  pool_add(pool, 'nw', joined)
  return slots - had
end
