-- A clock that went back: a replica that takes over may be behind the primary it follows.
-- Fences and event ids go up all the same. What is due by the old clock would be late by as much.

local LEASE_MS = 5000  -- leases.LEASE_S

local function pull_in(name, most_ms)
  for _, member in ipairs(call('ZRANGEBYSCORE', P .. name, '(' .. NOW + most_ms, '+inf')) do
    call('ZADD', P .. name, NOW + most_ms, member)
  end
end

-- Makes lost workers and lost messages be found in their usual time. Deadlines and planned retries
-- keep the times that they were given.
local function follow_clock_back()
  pull_in('leases', LEASE_MS)
  pull_in('workers', LEASE_MS)
  pull_in('sent', CHECK_SENT_MS)
  for _, pool in ipairs(call('SMEMBERS', P .. 'pools')) do
    call('HDEL', key('pool', pool), 'claimed')
  end
end
