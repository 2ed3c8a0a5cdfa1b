-- Which workers are alive, and how many slots each adds to its pool.

-- *running* is how many units it holds: what is known of a worker that comes back.
local function set_worker(worker, pool, slots, lease_ms, running)
  local old = call('HGET', P .. 'wslots', worker)
  local had = old and num(string.match(old, '^(%d+) ')) or 0
  if slots > 0 then
    call('ZADD', P .. 'workers', NOW + lease_ms, worker)
    if had ~= slots or not old then
      call('HSET', P .. 'wslots', worker, slots .. ' ' .. pool)
      call('HSETNX', P .. 'wrun', worker, running)
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
