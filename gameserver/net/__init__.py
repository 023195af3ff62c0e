"""The edge: sockets, limits, outboxes, HTTP. It moves messages and decides nothing about games.

`listener` accepts and reads the head of a request; `connection` is one WebSocket; `dispatch`
hands its messages to the room host and to the services, by way of `jobs` where that has to wait;
`outbox` writes back. `limits`, `wheel`, `frames` and `counters` serve them. `pages` is HTTP on
the players' port, `admin` and `exposition` are the operator's; `server` puts all together.
"""
