"""Rooms in time: clock, slots, commits, recovery. It is given the games and knows none of them."""
