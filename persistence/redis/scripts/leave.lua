-- An instance is forgotten and its leases are free, unless another one has its name.
-- ARGV: cluster, name, instance.

local name, instance = ARGV[2], ARGV[3]
local living = redis.call('HGET', INSTANCES, name)
if living and living ~= instance then
    return 0
end

redis.call('HDEL', NODES, name)
redis.call('HDEL', INSTANCES, name)
redis.call('ZREM', NODE_ENDS, name)
redis.call('HDEL', DRAINS, name)
redis.call('ZREM', DRAIN_ENDS, name)
local freed = {}
local leases = redis.call('HGETALL', LEASES)
for at = 1, #leases, 2 do
    if leases[at + 1] == name then
        freed[#freed + 1] = leases[at]
    end
end
in_chunks('HDEL', LEASES, freed)
in_chunks('ZREM', LEASE_ENDS, freed)
note_changes(#freed)
return 1
