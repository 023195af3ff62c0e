-- The last lines of those whose places begin alike, from the last on.
-- ARGV: cluster, beginning, how many at most. Answers their lines.

local EXAMINED_MAX = 5000  -- However much has lapsed at once, nobody waits for long.

local beginning, most = ARGV[2], tonumber(ARGV[3])
local page = math.max(most, 100)
local found = {}
for first = 0, EXAMINED_MAX, page do
    local places = redis.call('ZREVRANGEBYLEX', ORDER, '[' .. beginning .. '\255',
        '[' .. beginning, 'LIMIT', first, page)
    local rooms = {}
    for _, place in ipairs(places) do
        rooms[#rooms + 1] = place:sub(-ROOM_CHARS)
    end
    for _, line in ipairs(live_lines(rooms)) do
        if #found < most then
            found[#found + 1] = line
        end
    end
    if #found >= most or #places < page then
        break
    end
end
return found
