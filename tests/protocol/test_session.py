"""The tables of what is legal when."""

from typing import get_args

import msgspec
import pytest

from protocol import codec, messages
from protocol.closes import CloseClass, CloseCode, close_class, close_name
from protocol.codec import RemoteProtocolError, encode_inbound
from protocol.messages import AnyInbound, AnyOutbound
from protocol.session import (
    ON_CLIENT_RECEIVE,
    ON_RECEIVE,
    ClientSession,
    ServerSession,
    State,
)
from tests.protocol import samples


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("message", samples.ONE_OF_EACH_INBOUND, ids=lambda one: type(one).__name__)
def test_the_server_takes_what_its_table_says_and_nothing_else(
    state: State, message: AnyInbound
) -> None:
    session = ServerSession()
    session.state = state
    expected = ON_RECEIVE[state].get(type(message))
    if expected is None:
        with pytest.raises(RemoteProtocolError) as caught:
            session.receive(encode_inbound(message))
        assert caught.value.close_code == CloseCode.PROTOCOL_ERROR
        assert session.state is state
    else:
        back = session.receive(encode_inbound(message))
        assert samples.plain_of(back) == samples.plain_of(message)
        assert session.state is expected


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "message", samples.ONE_OF_EACH_OUTBOUND, ids=lambda one: type(one).__name__
)
def test_the_client_takes_what_its_table_says_and_nothing_else(
    state: State, message: AnyOutbound
) -> None:
    session = ClientSession()
    session.state = state
    expected = ON_CLIENT_RECEIVE[state].get(type(message))
    if expected is None:
        with pytest.raises(RemoteProtocolError):
            session.receive(msgspec.msgpack.encode(message))
        assert session.state is state
    else:
        session.receive(msgspec.msgpack.encode(message))
        assert session.state is expected


def test_hello_comes_first_and_once() -> None:
    hello = encode_inbound(messages.Hello([1], "", "ann", "test"))
    session = ServerSession()
    with pytest.raises(RemoteProtocolError, match="Ping is not legal when new"):
        session.receive(encode_inbound(messages.Ping(1)))
    session.receive(hello)
    with pytest.raises(RemoteProtocolError, match="Hello is not legal when open"):
        session.receive(hello)


def test_a_client_that_speaks_no_version_of_ours_is_told_so() -> None:
    session = ServerSession()
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive(encode_inbound(messages.Hello([2, 3], "", "ann", "test")))
    assert caught.value.close_code == CloseCode.VERSION_UNSUPPORTED
    assert session.state is State.NEW


def test_nothing_is_taken_after_bye_or_close() -> None:
    for end in ("bye", "close"):
        session = ServerSession()
        session.receive(encode_inbound(messages.Hello([1, 2], "", "ann", "test")))
        if end == "bye":
            session.receive(encode_inbound(messages.Bye()))
        else:
            session.close()
        with pytest.raises(RemoteProtocolError):
            session.receive(encode_inbound(messages.Ping(1)))


def test_every_message_is_legal_somewhere() -> None:
    server = {kind for table in ON_RECEIVE.values() for kind in table}
    client = {kind for table in ON_CLIENT_RECEIVE.values() for kind in table}
    assert server == set(get_args(AnyInbound))
    assert client | {messages.Zip} == set(get_args(AnyOutbound))


def test_a_zip_counts_as_what_it_holds() -> None:
    reply = codec.reply_ok(1, [0] * 2000)
    zipped = codec.zipped(reply)
    assert zipped != reply
    session = ClientSession()
    with pytest.raises(RemoteProtocolError, match="Reply is not legal when new"):
        session.receive(zipped)
    session.receive(codec.welcome(1, "ann", "t", 0))
    assert type(session.receive(zipped)) is messages.Reply


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((4000, 4001, 4002, 4003, 4008, 4099, 1001, 1006, 1011, 1012), CloseClass.RECONNECT),
        ((4400, 4401, 4402, 4403, 4404, 4405, 4409, 4429, 4499), CloseClass.STOP),
        ((1000, 1002, 1003, 1009), CloseClass.STOP),
        ((4600, 4699), CloseClass.ELSEWHERE),
    ],
)
def test_a_close_code_says_what_to_do_next(codes: tuple[int, ...], expected: CloseClass) -> None:
    for code in codes:
        assert close_class(code) is expected


def test_every_close_code_of_ours_belongs_to_the_class_of_its_hundred() -> None:
    by_hundred = {
        40: CloseClass.RECONNECT,
        44: CloseClass.STOP,
        46: CloseClass.ELSEWHERE,
    }
    for code in CloseCode:
        if code >= 4000:
            assert close_class(code) is by_hundred[code // 100]
        assert close_name(code) == code.name
    assert close_name(4999) == ""
