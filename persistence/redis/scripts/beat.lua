-- A node announces itself, renews its leases, and takes those of its shards that nobody has.
-- ARGV: cluster, name, instance, record, shards (packed), lease in ms, known stamp. Answers all
-- there is.

local name, instance, record = ARGV[2], ARGV[3], ARGV[4]
local shards, end_ms = cmsgpack.unpack(ARGV[5]), now_ms + ARGV[6]

local living = redis.call('HGET', INSTANCES, name)
if living and living ~= instance then
    return {err = 'NAMETAKEN another live node has this name'}
end

redis.call('HSET', NODES, name, record)
redis.call('HSET', INSTANCES, name, instance)
redis.call('ZADD', NODE_ENDS, end_ms, name)
local drained = redis.call('HGET', DRAINS, name)
if drained and drained ~= instance then
    redis.call('HDEL', DRAINS, name)
    redis.call('ZREM', DRAIN_ENDS, name)
end

give(shards, function(owner) return not owner or owner == name end, name, end_ms)
return view(ARGV[7])
