-- Every script begins with this: the keys, the server's own time, and whose prefix it is.
-- ARGV[1] is the cluster's id; what each script takes besides is said at its head.

local CLUSTER, NODES, INSTANCES, NODE_ENDS, LEASES, LEASE_ENDS, DRAINS, DRAIN_ENDS,
    LINES, PLACES, LINE_ENDS, ORDER = unpack(KEYS)

local HEARD_EVERY_MS = 1000
local FORGET_MS = 86400000  -- A prefix that nobody uses any more is gone after a day.
local CHUNK = 1000          -- Lua can pass some thousands of arguments at once.

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- Says that this cluster is here; false if another one has been heard of lately.
local function claimed()
    local known = redis.call('HMGET', CLUSTER, 'id', 'heard_ms')
    local silent_ms = math.abs(now_ms - (tonumber(known[2]) or 0))
    if known[1] == ARGV[1] and silent_ms < HEARD_EVERY_MS then
        return true
    end
    if known[1] and known[1] ~= ARGV[1] then
        if silent_ms < CLAIM_MS then
            return false
        end
        redis.call('DEL', unpack(KEYS))
    end
    redis.call('HSET', CLUSTER, 'id', ARGV[1], 'heard_ms', now_ms)
    -- What was counted before a server was wiped must not be taken for what is counted since.
    redis.call('HSETNX', CLUSTER, 'era', time[1] .. '.' .. time[2])
    for _, key in ipairs(KEYS) do
        redis.call('PEXPIRE', key, FORGET_MS)
    end
    return true
end

-- Calls a command with many arguments, some at a time. Nothing at all if there are none.
local function in_chunks(command, key, arguments)
    for first = 1, #arguments, CHUNK do
        redis.call(command, key, unpack(arguments, first, math.min(first + CHUNK - 1, #arguments)))
    end
end

-- Names what has lapsed: what ended, and what was given before the clock went back.
local function lapsed(ends, life_ms_max, most)
    local found = redis.call('ZRANGEBYSCORE', ends, '-inf', now_ms, 'LIMIT', 0, most)
    local late = '(' .. string.format('%.0f', now_ms + life_ms_max)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', ends, late, '+inf', 'LIMIT', 0, most)) do
        found[#found + 1] = member
    end
    return found
end

if not claimed() then
    return {err = 'OTHERCLUSTER another cluster uses this prefix'}
end
