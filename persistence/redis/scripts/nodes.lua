-- Scripts about nodes and leases go on with this: what has lapsed is gone before they look.

local function sweep(ends, life_ms_max, ...)
    local gone = lapsed(ends, life_ms_max, -1)
    in_chunks('ZREM', ends, gone)
    for _, key in ipairs({...}) do
        in_chunks('HDEL', key, gone)
    end
    return #gone
end

-- Notes that so many leases have another owner, so that others read them again.
local function note_changes(count)
    if count > 0 then
        redis.call('HINCRBY', CLUSTER, 'changes', count)
    end
end

sweep(NODE_ENDS, LEASE_MS_MAX, NODES, INSTANCES)
sweep(DRAIN_ENDS, DRAIN_MS, DRAINS)
note_changes(sweep(LEASE_ENDS, LEASE_MS_MAX, LEASES))

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

-- Gives those of these shards whose owner may be followed to a node, until a moment; returns them.
local function give(shards, may_follow, node, end_ms)
    local given, owners, ends = {}, {}, {}
    for at, owner in ipairs(owners_of(shards)) do
        if may_follow(owner) then
            local shard = shards[at]
            given[#given + 1] = shard
            ends[#ends + 1] = end_ms
            ends[#ends + 1] = shard
            if owner ~= node then
                owners[#owners + 1] = shard
                owners[#owners + 1] = node
            end
        end
    end
    in_chunks('HSET', LEASES, owners)
    in_chunks('ZADD', LEASE_ENDS, ends)
    note_changes(#owners)
    return given
end

-- Nothing for an empty list, because an empty table is no list to the packer.
local function packed(list)
    return next(list) and cmsgpack.pack(list) or ''
end

-- All there is: nodes, nodes that are to drain, a stamp of the leases, and the leases as lists of
-- shards by owner, packed: nothing if their stamp is known, for they are many and change seldom.
local function view(known)
    local answer = {redis.call('HVALS', NODES), redis.call('HKEYS', DRAINS)}
    local counted = redis.call('HMGET', CLUSTER, 'era', 'changes')
    answer[3] = counted[1] .. ':' .. (counted[2] or 0)
    if answer[3] == known then
        return answer
    end
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
    answer[4] = packed(by_owner)
    return answer
end
