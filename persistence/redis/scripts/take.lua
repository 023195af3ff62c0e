-- Leases that nobody has, or this node, or one of the dead, become this node's.
-- ARGV: cluster, node, shards (packed), lease in ms, dead nodes... Answers those taken, packed.

local node, shards, end_ms = ARGV[2], cmsgpack.unpack(ARGV[3]), now_ms + ARGV[4]
local gone = {[node] = true}
for at = 5, #ARGV do
    gone[ARGV[at]] = true
end

return packed(give(shards, function(owner) return not owner or gone[owner] end, node, end_ms))
