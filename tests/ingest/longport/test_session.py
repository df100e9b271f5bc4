"""A LongPort session without a network: logins, heartbeats, errors, closes, and any chunking."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.longport.protocol import Command, pack_response
from ingest.longport import session as session_module
from ingest.longport.events import (
    Closed,
    DeadLetter,
    Failed,
    Polled,
    Pulled,
    Ready,
    Remedy,
    Replied,
    UnknownCommand,
)
from ingest.longport.requests import poll_request, pull_request, subscribe_request
from ingest.longport.session import LocalProtocolError, Login, Signal, State
from protos.longport import control_pb2, trade_pb2
from protos.longport.control_pb2 import Close
from tests.codec.examples import examples
from tests.codec.longport import packing
from tests.ingest.longport import wire
from tests.ingest.longport.talk import PASSWORD, S, Talk, cut, without_handshake

HK = (1, "00700")
TRANSPORTS = pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])


# The login.


def test_the_bytes_of_a_login_over_tcp() -> None:
    """As docs/protocols/longport.md 2 has them."""
    talk = Talk()
    talk.secret = PASSWORD
    outgoing = without_handshake(talk.session.take_outgoing())
    body = control_pb2.AuthRequest(token=PASSWORD).SerializeToString()
    assert outgoing == [bytes.fromhex("01 02 00000001 1388") + len(body).to_bytes(3, "big") + body]
    assert talk.session.take_outgoing() == []


def test_overnight_trades_are_asked_for_in_the_login() -> None:
    [packet] = without_handshake(Talk(overnight=True).session.take_outgoing())
    command, _, body = wire.read_request(packet)
    assert command == Command.AUTH
    assert dict(control_pb2.AuthRequest.FromString(body).metadata) == {"need_over_night_quote": "true"}


def test_a_websocket_has_no_handshake_of_ours() -> None:
    [packet] = Talk(websocket=True).session.take_outgoing()
    assert wire.read_request(packet)[0] == Command.AUTH


@TRANSPORTS
def test_a_session_goes_on(websocket: bool) -> None:
    talk = Talk(goes_on=True, websocket=websocket)
    packet = talk.session.take_outgoing()[-1]
    command, number, body = wire.read_request(packet)
    assert (command, number) == (Command.RECONNECT, 1)
    assert control_pb2.ReconnectRequest.FromString(body).session_id == "session-0"
    [ready] = talk.hear(wire.accepted(1, "session-2", command=Command.RECONNECT, expires=1_700_086_400_000))
    assert isinstance(ready, Ready)
    assert (ready.ticket.session_id, ready.ticket.expires_ms) == ("session-2", 1_700_086_400_000)
    assert (ready.limit, ready.online) == (10, 1)
    assert talk.session.state is State.READY


@pytest.mark.parametrize(
    ("expires", "unix_ms", "good"),
    [
        (0, 2_000_000_000_000, True),  # not said
        (86_400_000, 2_000_000_000_000, True),  # a duration, perhaps: not known
        (2_000_000_020_000, 2_000_000_000_000, True),
        (2_000_000_009_000, 2_000_000_000_000, False),
    ],
)
def test_when_a_session_expires(expires: int, unix_ms: int, good: bool) -> None:
    [ready] = Talk().hear(wire.accepted(expires=expires))
    assert isinstance(ready, Ready)
    assert ready.ticket.is_good(unix_ms) is good


@pytest.mark.parametrize(("goes_on", "command"), [(False, Command.AUTH), (True, Command.RECONNECT)])
def test_a_refused_login_wants_a_new_password_and_says_no_secret(goes_on: bool, command: int) -> None:
    talk = Talk(goes_on=goes_on)
    [closed] = talk.hear(wire.error(command, 1, 6, 403, f"connections limitation is hit by {talk.secret}"))
    assert isinstance(closed, Closed)
    assert closed.remedy is Remedy.NEW_PASSWORD
    assert "status 6: connections limitation is hit by *** (403)" in closed.reason
    assert talk.secret not in repr(closed)
    assert talk.session.state is State.CLOSED


@pytest.mark.parametrize("body", [b"\xff\xff", b"", control_pb2.AuthResponse(limit=1).SerializeToString()])
def test_a_login_whose_answer_cannot_be_used(body: bytes) -> None:
    letter, closed = Talk().hear(packing.response(body, Command.AUTH, 1))
    assert isinstance(letter, DeadLetter)
    assert isinstance(closed, Closed)
    assert len(letter.payload) == 10  # the header, since the body may hold the session
    assert closed.remedy is Remedy.NEW_PASSWORD


def test_a_login_without_an_answer() -> None:
    talk = Talk()
    assert talk.session.deadline_ns() == 5 * S
    assert talk.tick(5 * S - 1) == []
    [closed] = talk.tick(5 * S)
    assert isinstance(closed, Closed)
    assert "not answered within 5 s" in closed.reason


def test_secrets_never_show() -> None:
    login = Login("the-password", goes_on=False)
    [ready] = Talk().hear(wire.accepted(1, "the-session"))
    assert "the-password" not in repr(login)
    assert "the-session" not in repr(ready)


# Heartbeats and silence.


def test_heartbeats_over_tcp() -> None:
    talk = Talk().let_in()
    assert talk.session.deadline_ns() == 20 * S
    assert talk.tick(20 * S) == []
    [packet] = talk.session.take_outgoing()
    command, number, body = wire.read_request(packet)
    heartbeat = control_pb2.Heartbeat.FromString(body)
    assert (command, heartbeat.timestamp, heartbeat.heartbeat_id) == (Command.HEARTBEAT, 1_700_000_000_000, 1)
    assert talk.hear(packing.response(body, Command.HEARTBEAT, number)) == []
    assert talk.tick(39 * S) == []
    assert talk.session.take_outgoing() == []


def test_the_gateways_heartbeats_are_echoed() -> None:
    talk = Talk().let_in()
    body = bytes.fromhex("0880d095ffbc311002")
    assert talk.hear(packing.request(body, Command.HEARTBEAT, 2)) == []
    assert talk.session.take_outgoing() == [bytes.fromhex("02 01 00000002 00 000009 0880d095ffbc31 1002")]
    assert pack_response(Command.HEARTBEAT, 2, body) == bytes.fromhex("02 01 00000002 00 000009 0880d095ffbc31 1002")
    assert talk.hear(packing.push(body, Command.HEARTBEAT)) == []


def test_any_packet_is_life_and_silence_ends_the_link() -> None:
    talk = Talk().let_in()
    talk.now_ns = 40 * S
    talk.hear(wire.push("700.HK", 1, [1]))
    talk.tick(40 * S)
    assert talk.tick(89 * S) == []
    [closed] = talk.tick(90 * S)
    assert isinstance(closed, Closed)
    assert closed.remedy is Remedy.RECONNECT
    assert closed.reason == "nothing came for 50 s"


def test_a_websockets_life_is_its_transports_business() -> None:
    talk = Talk(websocket=True).let_in()
    assert talk.session.deadline_ns() is None
    assert talk.tick(10_000 * S) == []
    assert talk.session.take_outgoing() == []


def test_what_we_do_not_read_is_not_late() -> None:
    talk = Talk().let_in()
    request = pull_request(HK)
    talk.session.request(request.command, request.message, 0)
    talk.session.hold(1 * S)
    assert talk.tick(1000 * S) == []
    talk.session.resume(1000 * S)
    assert talk.tick(1028 * S) == []
    [failed] = talk.tick(1029 * S)
    assert isinstance(failed, Failed)
    assert failed.timed_out


# Requests and pushes.


@TRANSPORTS
def test_answers_come_in_any_order_and_pushes_wait_for_none(websocket: bool) -> None:
    talk = Talk(websocket=websocket).let_in()
    requests = [pull_request(HK), subscribe_request([HK]), poll_request(Command.QUERY_CAPITAL_FLOW_INTRADAY, HK)]
    numbers = [talk.session.request(each.command, each.message, 0) for each in requests]
    assert numbers == [2, 3, 4]
    flow = packing.response(b"\x0a\x06700.HK", 24, 4)
    events = talk.hear(
        wire.push("700.HK", 7, [1, 2]),
        flow,
        packing.response(b"", Command.SUBSCRIBE, 3),
        wire.push("700.HK", 8, [3], compressed=True),
        wire.pulled(2, "700.HK", [1, 2, 3], signed=True),
        wire.push("700.HK", 9, [4], signed=True),
    )
    polled, replied, pulled = events
    assert isinstance(polled, Polled)
    assert (polled.packet.request_id, polled.packet.body.tobytes(), polled.received) == (4, b"\x0a\x06700.HK", flow)
    assert isinstance(replied, Replied)
    assert (replied.request_id, replied.command, replied.body) == (3, Command.SUBSCRIBE, b"")
    assert isinstance(pulled, Pulled)
    assert (pulled.request_id, pulled.recv_ns) == (2, 9)
    assert talk.rows == [(7, 1), (7, 2), (8, 3), (9, 4)]  # what was pulled is still to be decoded


@TRANSPORTS
@pytest.mark.parametrize("compressed", [False, True])
def test_errors_carry_the_gateways_own_words(websocket: bool, compressed: bool) -> None:
    talk = Talk(websocket=websocket).let_in()
    request = pull_request(HK)
    number = talk.session.request(request.command, request.message, 0)
    body = control_pb2.Error(code=301606, msg="slow down").SerializeToString()
    [failed] = talk.hear(packing.response(body, 17, number, 3, compressed=compressed))
    assert failed == Failed(number, 17, 3, 301606, "slow down")
    assert talk.hear(wire.error(17, number, 3, 301606)) == []  # answered already


def test_an_error_without_words() -> None:
    talk = Talk().let_in()
    request = pull_request(HK)
    number = talk.session.request(request.command, request.message, 0)
    [failed] = talk.hear(packing.response(b"\xff", 17, number, 1))
    assert isinstance(failed, Failed)
    assert (failed.status_code, failed.code, failed.timed_out) == (1, 0, False)


def test_an_answer_that_is_late_is_no_answer() -> None:
    talk = Talk().let_in()
    request = pull_request(HK)
    number = talk.session.request(request.command, request.message, 0)
    talk.now_ns = 25 * S
    talk.hear(wire.push("700.HK", 1, [1]))
    assert talk.tick(30 * S) == [Failed(number, 17, 0, 0, "not answered within 30 s", timed_out=True)]
    assert talk.hear(wire.pulled(number, "700.HK", [1])) == []
    assert talk.rows == [(1, 1)]


def test_request_numbers_wrap_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "REQUEST_ID_MAX", 3)
    talk = Talk().let_in()
    request = pull_request(HK)
    numbers = []
    for _ in range(4):
        numbers.append(talk.session.request(request.command, request.message, 0))
        talk.hear(wire.pulled(numbers[-1], "700.HK", []))
    assert numbers == [2, 3, 1, 2]


def test_nothing_is_asked_before_the_login() -> None:
    request = pull_request(HK)
    with pytest.raises(LocalProtocolError, match="login is on its way"):
        Talk().session.request(request.command, request.message, 0)


def test_too_many_requests_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PENDING_MAX", 2)
    talk = Talk().let_in()
    request = pull_request(HK)
    for _ in range(2):
        talk.session.request(request.command, request.message, 0)
    with pytest.raises(LocalProtocolError, match="unanswered"):
        talk.session.request(request.command, request.message, 0)


def test_a_subscription_of_many_symbols_is_compressed() -> None:
    talk = Talk().let_in()
    request = subscribe_request([(11, f"CODE{number}") for number in range(500)])
    talk.session.request(request.command, request.message, 0)
    [packet] = talk.session.take_outgoing()
    assert packet[0] == 0x21
    assert gzip.decompress(packet[11:]) == request.message.SerializeToString()


def test_commands_that_nobody_knows() -> None:
    talk = Talk().let_in()
    strange = [packing.push(b"", 101), packing.request(b"", 9), packing.response(b"", 200, 1)]
    assert talk.hear(*strange) == [UnknownCommand(101), UnknownCommand(9), UnknownCommand(200)]


# What cannot be read.


@TRANSPORTS
def test_a_push_that_does_not_decode_is_a_dead_letter_and_the_others_go_on(websocket: bool) -> None:
    talk = Talk(websocket=websocket).let_in()
    bad = packing.push(b"\xff\xff\xff", 104)
    broken_gzip = packing.push(b"abc", 104, compressed=True)[:-1] + b"\x01"
    first, second = talk.hear(wire.push("700.HK", 1, [1]), bad, broken_gzip, wire.push("700.HK", 2, [2]))
    assert isinstance(first, DeadLetter)
    assert isinstance(second, DeadLetter)
    assert (first.reason, first.payload, first.loses_ticks) == ("undecodable", bad, True)
    assert (second.reason, second.payload, second.loses_ticks) == ("bad_gzip", broken_gzip, True)
    assert talk.rows == [(1, 1), (2, 2)]
    assert talk.session.state is State.READY


def test_a_compressed_answer_that_does_not_inflate_fails_its_request() -> None:
    talk = Talk().let_in()
    request = pull_request(HK)
    number = talk.session.request(request.command, request.message, 0)
    packet = packing.response(b"abcdef", 17, number, compressed=True)
    letter, failed = talk.hear(packet[:-1] + b"\x01")
    assert isinstance(letter, DeadLetter)
    assert not letter.loses_ticks  # what was asked is asked again
    assert isinstance(failed, Failed)
    assert failed.request_id == number


def test_a_stream_that_makes_no_sense_ends_the_connection() -> None:
    talk = Talk().let_in()
    letter, closed = talk.hear(wire.push("700.HK", 1, [1]), b"\x0fnonsense", wire.push("700.HK", 2, [2]))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_packet_type"
    assert letter.payload.startswith(b"\x0fnonsense")
    assert isinstance(closed, Closed)
    assert closed.remedy is Remedy.RECONNECT
    assert talk.rows == [(1, 1)]
    assert talk.hear(wire.push("700.HK", 3, [3])) == []


def test_until_we_are_let_in_no_body_is_kept() -> None:
    letter, _ = Talk().hear(b"\x0f" + b"secret" * 10)
    assert isinstance(letter, DeadLetter)
    assert b"secret" not in letter.payload


@pytest.mark.parametrize("message", [b"\x0f", b"\x03", wire.push("700.HK", 9, [9])[:-1], b"\x03h\x00\x00\x09\x0a"])
def test_a_message_that_is_no_whole_packet_says_nothing_of_the_others(message: bytes) -> None:
    talk = Talk(websocket=True).let_in()
    [letter] = talk.hear(wire.push("700.HK", 1, [1]), message, wire.push("700.HK", 2, [2]), b"")
    assert isinstance(letter, DeadLetter)
    assert letter.payload == message
    assert talk.rows == [(1, 1), (2, 2)]
    assert talk.left == b""


def test_a_message_may_hold_several_packets() -> None:
    talk = Talk(websocket=True).let_in()
    assert talk.hear(wire.push("700.HK", 1, [1]) + wire.push("700.HK", 2, [2]), wire.push("700.HK", 3, [3])) == []
    assert talk.rows == [(1, 1), (2, 2), (3, 3)]


def test_a_bad_trade_leaves_its_neighbours() -> None:
    talk = Talk().let_in()
    message = trade_pb2.PushTrade(symbol="700.HK", sequence=5, trade=[wire.trade(1), wire.trade(2), wire.trade(3)])
    message.trade[1].price = "NaN"
    [letter] = talk.hear(packing.push(message.SerializeToString()))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.loses_ticks) == ("bad_row", False)
    assert letter.symbol_id == talk.symbols.id_of(*HK)
    assert talk.rows == [(5, 1), (5, 3)]


# The end.


@TRANSPORTS
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (Close.HEARTBEAT_TIMEOUT, Remedy.RECONNECT),
        (Close.SERVER_ERROR, Remedy.RECONNECT),
        (Close.SERVER_SHUTDOWN, Remedy.RECONNECT),
        (Close.UNPACK_ERROR, Remedy.RECONNECT),
        (Close.AUTH_ERROR, Remedy.NEW_PASSWORD),
        (Close.SESSION_EXPIRED, Remedy.NEW_PASSWORD),
        (Close.CONNECT_DUPLICATE, Remedy.STAY_AWAY),
        (77, Remedy.RECONNECT),
    ],
)
def test_a_close_packet_says_how_to_go_on(websocket: bool, code: int, remedy: Remedy) -> None:
    talk = Talk(websocket=websocket).let_in()
    [closed] = talk.hear(wire.push("700.HK", 1, [1]), wire.closes(code, "because"), wire.push("700.HK", 2, [2]))
    assert isinstance(closed, Closed)
    assert closed.remedy is remedy
    assert "because" in closed.reason
    assert f"({code})" in closed.reason
    assert talk.rows[:1] == [(1, 1)]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(None, Remedy.RECONNECT), (1006, Remedy.RECONNECT), (5, Remedy.NEW_PASSWORD), (6, Remedy.STAY_AWAY)],
)
def test_a_websockets_close_code_says_it_too(code: int | None, remedy: Remedy) -> None:
    talk = Talk(websocket=True).let_in()
    assert talk.session.end("closed", code) == [Closed("closed", remedy)]
    assert talk.session.end("closed again", 5) == []
    assert talk.session.deadline_ns() is None
    assert talk.tick(S) == []


def test_a_close_that_cannot_be_read() -> None:
    [closed] = Talk().let_in().hear(packing.push(b"\xff", Command.CLOSE))
    assert isinstance(closed, Closed)
    assert closed.remedy is Remedy.RECONNECT


def test_every_state_ends_when_the_transport_does() -> None:
    assert all(Signal.END in signals for signals in session_module._TRANSITIONS.values())


# However the stream is cut.


def stream_of(draw: Any) -> list[bytes]:
    """Packets of every kind, sound and not."""
    packets = []
    for number in range(draw(st.integers(1, 12))):
        dressing = {"signed": draw(st.booleans()), "compressed": draw(st.booleans())}
        match draw(st.integers(0, 5)):
            case 0 | 1:
                numbers = range(number, number + draw(st.integers(1, 5)))
                packets.append(wire.push(draw(st.sampled_from(["700.HK", "AAPL.US"])), number, numbers, **dressing))
            case 2:
                packets.append(packing.response(b"anything", draw(st.sampled_from([6, 17, 24])), 2, **dressing))
            case 3:
                packets.append(packing.request(b"beat", Command.HEARTBEAT, number + 1, **dressing))
            case 4:
                packets.append(packing.push(b"\xff\xff", draw(st.sampled_from([104, 101])), **dressing))
            case _:
                packets.append(wire.error(17, 3, 3, 301606))
    return packets


@examples(60)
@given(data=st.data(), seed=st.integers(0, 1 << 30), websocket=st.booleans())
def test_any_chunking_gives_the_same(data: st.DataObject, seed: int, websocket: bool) -> None:
    packets = stream_of(data.draw)

    def asked(talk: Talk) -> Talk:
        talk.let_in()
        for request in (subscribe_request([HK]), pull_request(HK)):
            talk.session.request(request.command, request.message, 0)
        talk.session.take_outgoing()
        return talk

    whole, parts = asked(Talk()), asked(Talk(websocket=websocket, capacity=5))
    expected = whole.hear(*packets)
    found = parts.hear_messages(packets) if websocket else parts.hear_chunks(cut(b"".join(packets), seed))
    assert [facts(event) for event in found] == [facts(event) for event in expected]
    assert parts.rows == whole.rows
    assert parts.session.take_outgoing() == whole.session.take_outgoing()
    assert parts.left == b""


def facts(event: Any) -> Any:
    """An event without where it lay in its buffer."""
    if isinstance(event, Pulled):
        return event.request_id, event.packet.tobytes()
    if isinstance(event, Polled):
        return event.packet.request_id, event.packet.body.tobytes(), event.received
    return event
