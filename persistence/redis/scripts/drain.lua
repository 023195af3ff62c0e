-- A live node is asked to drain; 0 if there is none of this name. ARGV: cluster, name.

local name = ARGV[2]
local living = redis.call('HGET', INSTANCES, name)
if not living then
    return 0
end
redis.call('HSET', DRAINS, name, living)
redis.call('ZADD', DRAIN_ENDS, now_ms + DRAIN_MS, name)
return 1
