"""The edge: sockets, limits, outboxes, HTTP. It moves messages and decides nothing about games.

`listener` accepts and reads the head of a request; `connection` is one WebSocket; `dispatch`
hands its messages to the room host and to the services; `outbox` writes back. `limits`, `wheel`,
`frames` and `counters` serve them. `admin` is the operator's port; `server` puts all together.
"""
