-- Scripts about rooms go on with this. A room has a line, the moment at which it lapses, and if a
-- seat is free its place in the order: a text that ends with the room and sorts as lists show it.

local SWEPT_MAX = 1000  -- Of what has lapsed, with each call; readers skip the rest.
local ROOM_CHARS = 16

local function forget_place(room)
    local place = redis.call('HGET', PLACES, room)
    if place then
        redis.call('ZREM', ORDER, place)
    end
end

local function forget(room)
    forget_place(room)
    redis.call('HDEL', PLACES, room)
    redis.call('HDEL', LINES, room)
    redis.call('ZREM', LINE_ENDS, room)
end

for _, room in ipairs(lapsed(LINE_ENDS, LIFE_MS_MAX, SWEPT_MAX)) do
    forget(room)
end

-- The lines of those rooms that have not lapsed, in their order.
local function live_lines(rooms)
    if #rooms == 0 then
        return {}
    end
    local ends = redis.call('ZMSCORE', LINE_ENDS, unpack(rooms))
    local lines = redis.call('HMGET', LINES, unpack(rooms))
    local live = {}
    for at, end_ms in ipairs(ends) do
        local left_ms = (tonumber(end_ms) or 0) - now_ms
        if lines[at] and left_ms > 0 and left_ms <= LIFE_MS_MAX then
            live[#live + 1] = lines[at]
        end
    end
    return live
end
