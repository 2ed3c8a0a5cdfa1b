-- In front of every script of the store, with the other files of this folder: keys, numbers, refusals.
-- ARGV[1] is the key prefix, ARGV[2] the Celery message with placeholders.
-- Words: a unit is one request at an engine (a single job, or one line of a batch), written as
-- "job-id" or "job-id:line"; a chunk is one hand-out of a job's units by one Celery message.

local P, TEMPLATE = ARGV[1], ARGV[2]
local call = redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local CHECK_SENT_MS = 3000      -- an unclaimed chunk is looked at again after this
local AT_ONCE = 0               -- due by any clock, also by one that went back
local INPUT_MS = 900000         -- a batch that got no line for so long is given up
local HELD_OFF_MS = 500         -- a chunk whose unit had to wait for another's verdict comes again
local LOSSES_IN_A_ROW = 3       -- so many lost workers or engines without a new token are poison
local LOSSES_IN_ALL = 10        -- and so many with new tokens in between (arbitrary)
local RATE_MS = 60000           -- time constant of the measured rate
local SHARDS = 16
local BUCKETS = { 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400 }
local TERMINAL = { Succeeded = true, Failed = true, Cancelled = true, Expired = true }

local function key(kind, id) return P .. kind .. ':' .. id end
local function num(v) return tonumber(v or 0) or 0 end
local function text(v) return string.format('%.17g', v) end
local function refuse(word, message) return redis.error_reply(word .. ' ' .. message) end
