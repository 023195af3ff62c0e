-- Leases of one node become another's; those that did already are counted, as this may be a repeat.
-- ARGV: cluster, node, its heir, shards (packed), lease in ms. Answers those passed, packed.

local node, heir = ARGV[2], ARGV[3]
local shards, end_ms = cmsgpack.unpack(ARGV[4]), now_ms + ARGV[5]

local passed = {}
for at, owner in ipairs(owners_of(shards)) do
    if owner == node or owner == heir then
        passed[#passed + 1] = shards[at]
    end
end
give(passed, heir, end_ms)
return packed(passed)
