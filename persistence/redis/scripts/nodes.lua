-- Scripts about nodes and leases go on with this: what has lapsed is gone before they look.

local function sweep(ends, life_ms_max, ...)
    local gone = lapsed(ends, life_ms_max, -1)
    in_chunks('ZREM', ends, gone)
    for _, key in ipairs({...}) do
        in_chunks('HDEL', key, gone)
    end
end
sweep(NODE_ENDS, LEASE_MS_MAX, NODES, INSTANCES)
sweep(LEASE_ENDS, LEASE_MS_MAX, LEASES)
sweep(DRAIN_ENDS, DRAIN_MS, DRAINS)

-- The owners of these shards, or false, in their order.
local function owners_of(shards)
    local owners = {}
    for first = 1, #shards, CHUNK do
        local last = math.min(first + CHUNK - 1, #shards)
        for _, owner in ipairs(redis.call('HMGET', LEASES, unpack(shards, first, last))) do
            owners[#owners + 1] = owner
        end
    end
    return owners
end

-- Gives these shards to a node until a moment.
local function give(shards, node, end_ms)
    local owners, ends = {}, {}
    for _, shard in ipairs(shards) do
        owners[#owners + 1] = shard
        owners[#owners + 1] = node
        ends[#ends + 1] = end_ms
        ends[#ends + 1] = shard
    end
    in_chunks('HSET', LEASES, owners)
    in_chunks('ZADD', LEASE_ENDS, ends)
end

-- Nothing for an empty list, because an empty table is no list to the packer.
local function packed(list)
    return next(list) and cmsgpack.pack(list) or ''
end

-- All there is: leases as lists of shards by owner, packed; nodes; nodes that are to drain.
local function view()
    local by_owner = {}
    local leases = redis.call('HGETALL', LEASES)
    for at = 1, #leases, 2 do
        local shards = by_owner[leases[at + 1]]
        if not shards then
            shards = {}
            by_owner[leases[at + 1]] = shards
        end
        shards[#shards + 1] = tonumber(leases[at])
    end
    return {packed(by_owner), redis.call('HVALS', NODES), redis.call('HKEYS', DRAINS)}
end
