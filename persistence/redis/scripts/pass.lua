-- Leases of one node become another's; those that did already are counted, as this may be a repeat.
-- ARGV: cluster, node, its heir, shards (packed), lease in ms. Answers those passed, packed.

local node, heir = ARGV[2], ARGV[3]
local shards, end_ms = cmsgpack.unpack(ARGV[4]), now_ms + ARGV[5]

local function may_follow(owner)
    return owner == node or owner == heir
end
return packed(give(shards, may_follow, heir, end_ms))
