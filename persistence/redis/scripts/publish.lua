-- Rooms can be found for a while; others no longer.
-- ARGV: cluster, life in ms, number of rooms that are gone, those; then for each room that can be
-- found: room, line, place ("" if no seat is free).

local end_ms, gone = now_ms + ARGV[2], tonumber(ARGV[3])
for at = 4, 3 + gone do
    forget(ARGV[at])
end
for at = 4 + gone, #ARGV, 3 do
    local room, line, place = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if redis.call('HGET', PLACES, room) ~= place then
        forget_place(room)
        redis.call('HSET', PLACES, room, place)
        if place ~= '' then
            redis.call('ZADD', ORDER, 0, place)
        end
    end
    redis.call('HSET', LINES, room, line)
    redis.call('ZADD', LINE_ENDS, end_ms, room)
end
return #ARGV
