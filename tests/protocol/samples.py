"""Every kind of message, drawn at random within its bounds, and one fixed example of each."""

from typing import Any

from hypothesis import strategies as st
from msgspec import Raw

from protocol import codec, messages
from protocol.messages import INT_MAX, AnyInbound, AnyOutbound, JoinBy

ids = st.integers(1, INT_MAX)
ticks = st.integers(0, INT_MAX)
handles = st.integers(0, 300)
signed = st.integers(-INT_MAX, INT_MAX)
requests = st.integers(0, 2**31)
codes = st.integers(0, 2**31)
retries = st.integers(-1, INT_MAX)
texts = st.text(max_size=20)

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), signed, texts, st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
raws = plain.map(lambda value: Raw(codec.packed(value)))
changes = st.lists(st.tuples(ids, st.integers(0, 255), plain), max_size=6).map(
    lambda triples: [item for triple in triples for item in triple]
)

joins = st.one_of(
    st.builds(
        messages.Join,
        requests,
        st.sampled_from([JoinBy.CODE, JoinBy.ANY]),
        st.text(min_size=1, max_size=64),
        st.booleans(),
    ),
    st.builds(messages.Join, requests, st.just(JoinBy.ID), ids, st.booleans()),
)

inbound: st.SearchStrategy[AnyInbound] = st.one_of(
    st.builds(
        messages.Hello,
        st.lists(st.integers(0, 255), min_size=1, max_size=8),
        st.text(max_size=100),
        st.text(max_size=32),
        st.text(max_size=64),
    ),
    st.builds(messages.Ping, signed),
    st.builds(messages.Request, requests, st.text(max_size=32), raws),
    joins,
    st.builds(messages.Resume, requests, ids, ticks, st.booleans()),
    st.builds(messages.Leave, requests, ids),
    st.builds(messages.Command, ids, ids, raws),
    st.builds(messages.Resync, ids),
    st.builds(messages.Bye),
    st.builds(messages.Pong, signed),
)

outcomes = st.builds(messages.Outcome, ids, ticks, codes, codes, texts, texts)
sitters = st.builds(messages.Sitter, st.integers(0, 100), ids, texts)

outbound: st.SearchStrategy[AnyOutbound] = st.one_of(
    st.builds(messages.Welcome, codes, ids, texts, texts, signed, codes),
    st.builds(messages.ServerPong, signed, signed),
    st.builds(messages.Reply, requests, codes, raws),
    st.builds(
        messages.Joined,
        *(requests, ids, texts, texts, codes),
        *(st.integers(-1, 100), ticks, st.integers(0, 1), texts, handles),
    ),
    st.builds(messages.Full, ids, ticks, changes, changes),
    st.builds(messages.Delta, handles, ticks, ticks, changes),
    st.builds(
        messages.Private,
        *(handles, ticks, ticks, changes, st.lists(outcomes, max_size=3), st.booleans()),
    ),
    st.builds(messages.Deferred, ids, ids, codes, retries),
    st.builds(messages.Roster, ids, st.lists(sitters, max_size=4)),
    st.builds(messages.Left, ids, codes, texts),
    st.builds(messages.Redirect, requests, ids, texts, texts),
    st.builds(messages.Balance, signed),
    st.builds(messages.Goodbye, codes, texts, retries),
    st.builds(messages.ServerPing, signed, signed),
    st.builds(messages.Invalid, ids, ids, codes, texts, texts),
    st.builds(messages.Outcomes, ids, st.lists(outcomes, max_size=3)),
    st.builds(messages.Moved, ids, texts, texts),
    st.builds(messages.Nodes, st.lists(texts, max_size=3)),
)

ONE_OF_EACH_INBOUND: tuple[AnyInbound, ...] = (
    messages.Hello([1], "", "ann", "test"),
    messages.Ping(7),
    messages.Request(1, "list", Raw(codec.packed(["keno"]))),
    messages.Join(2, JoinBy.CODE, "ABCDEF", False),
    messages.Resume(3, 5, 100, False),
    messages.Leave(4, 5),
    messages.Command(5, 1, Raw(codec.packed([1, 2]))),
    messages.Resync(5),
    messages.Bye(),
    messages.Pong(8),
)

ONE_OF_EACH_OUTBOUND: tuple[AnyOutbound, ...] = (
    messages.Welcome(1, 9, "ann", "token", 1000, 50),
    messages.ServerPong(7, 1000),
    messages.Reply(1, 0, Raw(codec.packed([]))),
    messages.Joined(2, 5, "ABCDEF", "keno", 1, 0, 0, 0, "", 3),
    messages.Full(5, 10, [2, 1, 3], []),
    messages.Delta(3, 11, 1, [2, 1, 4]),
    messages.Private(3, 12, 2, [], [messages.Outcome(1, 12, 0, 0, "", "")], False),
    messages.Deferred(5, 2, 2, 100),
    messages.Roster(5, [messages.Sitter(0, 9, "ann")]),
    messages.Left(5, 1, "LEFT"),
    messages.Redirect(2, 5, "ws://elsewhere/ws", "ticket"),
    messages.Balance(1000),
    messages.Goodbye(4000, "GOING_AWAY", 500),
    messages.ServerPing(8, 1000),
    messages.Zip(2, b"xx"),
    messages.Invalid(5, 3, 3, "MALFORMED", "spots"),
    messages.Outcomes(5, [messages.Outcome(1, 12, 0, 0, "", "")]),
    messages.Moved(5, "ws://elsewhere/ws", "ticket"),
    messages.Nodes(["ws://elsewhere/ws"]),
)


def plain_of(message: Any) -> Any:
    """Return a message as msgpack alone would see it: nested lists of plain values."""
    if isinstance(message, Raw):
        return bytes(message)
    if hasattr(message, "__struct_fields__"):
        return [plain_of(getattr(message, field)) for field in message.__struct_fields__]
    if isinstance(message, list | tuple):
        return [plain_of(item) for item in message]
    return message
