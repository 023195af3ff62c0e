-- Leases that nobody has, or this node, or one of the dead, become this node's.
-- ARGV: cluster, node, shards (packed), lease in ms, dead nodes... Answers those taken, packed.

local node, shards, end_ms = ARGV[2], cmsgpack.unpack(ARGV[3]), now_ms + ARGV[4]
local gone = {[node] = true}
for at = 5, #ARGV do
    gone[ARGV[at]] = true
end

local taken = {}
for at, owner in ipairs(owners_of(shards)) do
    if not owner or gone[owner] then
        taken[#taken + 1] = shards[at]
    end
end
give(taken, node, end_ms)
return packed(taken)
