"""The WebSocket's session: any chunking, any mix of frames, and the library's own parser as the oracle."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from ingest.receive_buffer import ReceiveBuffer
from ingest.websocket_handshake import HANDSHAKE_BYTES_MAX
from ingest.websocket_session import (
    PING_EVERY_NS,
    SILENCE_NS_MAX,
    State,
    WebSocketSession,
)
from tests.websocket.talk import NOW_NS, URI, answer_to, by_library, by_session, feed, frame, frames_of_client, opened

MESSAGE_BYTES_MAX = 300

payloads = st.one_of(
    st.binary(max_size=20),
    st.integers(0, MESSAGE_BYTES_MAX + 20).map(bytes),
    st.sampled_from((125, 126, 127)).map(bytes),
)
messages = st.builds(frame, payloads, long=st.sampled_from((0, 0, 0, 2, 8)))
controls = st.builds(
    frame, st.binary(max_size=125), st.sampled_from((Opcode.PING, Opcode.PONG)), long=st.sampled_from((0, 0, 2))
)


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in pieces, with control frames between them."""
    pieces = draw(st.lists(st.binary(max_size=120), min_size=2, max_size=5))
    out = b""
    for index, piece in enumerate(pieces):
        opcode = Opcode.CONT if index else Opcode.BINARY
        out += frame(piece, opcode, fin=index == len(pieces) - 1) + draw(st.one_of(st.just(b""), controls))
    return out


odd_frames = st.one_of(
    st.builds(
        frame, st.binary(max_size=130), st.integers(0, 15), fin=st.booleans(), reserved=st.sampled_from((0, 0, 4))
    ),
    st.builds(frame, st.binary(max_size=10), mask=st.just(b"mask")),
    st.builds(
        frame, st.sampled_from((b"", b"\x03", b"\x03\xe9bye", b"\x03\xed", b"\x03\xe8\xff")), st.just(Opcode.CLOSE)
    ),
    st.integers(0, 2**64 - 1).map(lambda size: b"\x82\x7f" + size.to_bytes(8, "big")),
    st.binary(max_size=12),
)
sound_streams = st.lists(st.one_of(messages, messages, controls, fragmented()), max_size=12).map(b"".join)
streams = st.tuples(sound_streams, odd_frames, sound_streams).map(b"".join)


def pieces_of(stream: bytes, seed: int) -> list[bytes]:
    rng, pieces = random.Random(seed), []
    while stream:
        size = rng.choice((1, 1, 2, 3, 9, 40, 400))
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


@given(
    stream=st.one_of(sound_streams, streams),
    seed=st.integers(0, 99),
    ends_max=st.sampled_from((1, 3, 100)),
    room=st.sampled_from((MESSAGE_BYTES_MAX, 2 * MESSAGE_BYTES_MAX)),
)
def test_any_stream_is_read_as_the_library_reads_it(stream: bytes, seed: int, ends_max: int, room: int) -> None:
    heard = by_session(pieces_of(stream, seed), MESSAGE_BYTES_MAX, ends_max=ends_max, room=room)
    oracle = by_library(stream, MESSAGE_BYTES_MAX)
    if heard.over and not oracle.over:
        # A header that is wrong ends it before the body is there: the library then says so behind the body.
        oracle = by_library(stream + bytes(MESSAGE_BYTES_MAX), MESSAGE_BYTES_MAX)
    assert heard.messages == oracle.messages
    assert heard.over == oracle.over
    told, expected = ([answer for answer in each.answers if answer[0] != Opcode.CLOSE] for each in (heard, oracle))
    assert told == expected


@given(sizes=st.lists(st.sampled_from((0, 1, 125, 126, 65_535, 65_536, 70_000)), max_size=6), seed=st.integers(0, 9))
def test_lengths_in_one_two_and_eight_bytes(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    sent = [rng.randbytes(size) for size in sizes]
    stream = b"".join(map(frame, sent))
    pieces = [stream[at : at + 50_001] for at in range(0, len(stream), 50_001)]
    heard = by_session(pieces, 70_000, ends_max=4, room=1 << 17)
    assert heard.messages == sent
    assert not heard.over


def test_messages_wait_behind_what_was_not_read() -> None:
    session, into = opened(100), ReceiveBuffer(capacity=16, capacity_max=250)
    feed(session, b"".join(frame(bytes((number,)) * 100) for number in range(4)))
    assert session.read(into)
    assert (session.message_start, session.message_ends.tolist()) == (0, [100, 200])
    into.start = 150
    assert session.read(into)
    assert (session.message_start, session.message_ends.tolist()) == (50, [150, 250])
    assert into.data[: into.stop].tobytes() == b"\1" * 50 + b"\2" * 100 + b"\3" * 100
    assert not session.read(into)
    feed(session, frame(bytes(60)))
    assert not session.read(into)
    assert session.reason == BREAKS + "a message of 60 B finds no room behind what was not read"


BREAKS = "the gateway breaks the WebSocket protocol: "


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (frame(b"\x03\xe9bye\n", Opcode.CLOSE), 1001, "the gateway closed the WebSocket: 1001 (going away) bye "),
        (frame(b"\x0f\xa5", Opcode.CLOSE), 4005, "the gateway closed the WebSocket: 4005 (private use)"),
        (frame(b"", Opcode.CLOSE), 1005, "the gateway closed the WebSocket: 1005 (no status received [internal])"),
        (frame(b"x", mask=b"mask"), 1002, BREAKS + "incorrect masking"),
        (frame(b"x", reserved=4), 1002, BREAKS + "reserved bits must be 0"),
        (frame(b"x", 3), 1002, BREAKS + "invalid opcode"),
        (frame(b"x", Opcode.CONT), 1002, BREAKS + "unexpected continuation frame"),
        (frame(b"x" * 126, Opcode.PING), 1002, BREAKS + "control frame of 126 B"),
        (
            b"\x82\x7f" + (1 << 63).to_bytes(8, "big"),
            1009,
            BREAKS + "frame with 9223372036854775808 bytes exceeds limit of 1000 bytes",
        ),
        (
            frame(bytes(600), fin=False) + frame(bytes(600), Opcode.CONT),
            1009,
            BREAKS + "frame with 600 bytes after reading 600 bytes exceeds limit of 1000 bytes",
        ),
        (
            frame(b"hello", Opcode.TEXT),
            1003,
            BREAKS + "it sent text, and only binary messages mean something",
        ),
    ],
)
def test_the_end_is_told_with_its_code(sent: bytes, code: int, reason: str) -> None:
    session, into = opened(1000), ReceiveBuffer(capacity_max=1 << 20)
    feed(session, frame(b"before") + sent + frame(b"behind"))
    assert session.read(into)
    assert into.data[: into.stop].tobytes() == b"before"
    assert not session.read(into)
    assert (session.state, session.close_code, session.reason) == (State.CLOSED, code, reason)
    ((opcode, payload),) = frames_of_client(session.take_outgoing())
    assert opcode == Opcode.CLOSE
    assert code == 1005 or payload[:2] == code.to_bytes(2, "big")
    session.send(b"late")
    session.end("closed by us")
    assert session.take_outgoing() == b""
    assert session.reason == reason


def test_the_upgrade_is_asked_for_as_configured() -> None:
    session = WebSocketSession(URI, {"Accept-Language": "en"}, message_bytes_max=1000, now_ns=NOW_NS)
    line, *headers = session.take_outgoing().decode().split("\r\n")
    assert line == "GET /v2?version=1&codec=1&platform=9 HTTP/1.1"
    assert "Host: gateway:1" in headers
    assert "Accept-Language: en" in headers
    assert not [each for each in headers if each.startswith(("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"))]


def test_messages_right_behind_the_handshake_are_not_lost() -> None:
    for cut in (1, 50, 10_000):
        session, into = WebSocketSession(URI, {}, message_bytes_max=1000, now_ns=0), ReceiveBuffer(capacity_max=1 << 20)
        stream = answer_to(session.take_outgoing()) + frame(b"one") + frame(b"two")
        for at in range(0, len(stream), cut):
            feed(session, stream[at : at + cut])
            session.read(into)
        assert into.data[: into.stop].tobytes() == b"onetwo"


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent", 403, "the server answers '403 Forbidden' and opens no WebSocket"),
        (b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n", 302, "the server answers '302 Found' and opens no WebSocket"),
        (b"FT\x00\x01", None, "what answers speaks no HTTP/1.1, so it is no WebSocket server"),
        (b"HTTP/1.0 200 OK\r\n", None, "what answers speaks no HTTP/1.1, so it is no WebSocket server"),
        (b"HTTP/1.1 x\r\n\r\n", None, "the server answers 'x' and opens no WebSocket"),
        (
            b"HTTP/1.1 101 Yes\r\n\r\n",
            101,
            "the answer to the handshake is no WebSocket's: missing Connection header",
        ),
        (
            b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n",
            101,
            "the answer to the handshake is no WebSocket's: invalid Sec-WebSocket-Accept header: no",
        ),
        (b"HTTP/1.1 101 Yes\r\nno header\r\n\r\n", 101, "the answer to the handshake is no WebSocket's: "),
        (b"HTTP/1.1 101 " + b"x" * HANDSHAKE_BYTES_MAX, None, "the answer to the handshake is longer than 16384 B"),
    ],
)
def test_a_handshake_that_fails_is_one_clear_line(answer: bytes, status: int | None, text: str) -> None:
    session, into = WebSocketSession(URI, {}, message_bytes_max=1000, now_ns=0), ReceiveBuffer(capacity_max=1 << 20)
    for at in range(0, len(answer), 7):
        feed(session, answer[at : at + 7])
        assert not session.read(into)
    assert session.failure is not None
    assert str(session.failure).startswith(text)
    assert "\n" not in str(session.failure)
    assert session.failure.status == status
    assert session.state is State.CLOSED


def test_an_extension_that_nobody_asked_for_is_refused() -> None:
    session = WebSocketSession(URI, {}, message_bytes_max=1000, now_ns=0)
    answer = answer_to(session.take_outgoing())
    feed(session, answer[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    assert not session.read(ReceiveBuffer(capacity_max=1 << 20))
    assert str(session.failure) == "the answer to the handshake is no WebSocket's: no extensions supported"


def test_a_ping_every_half_minute_and_an_end_after_three_without_a_word() -> None:
    session = opened()
    assert session.deadline_ns() == NOW_NS + PING_EVERY_NS
    session.tick(NOW_NS + PING_EVERY_NS - 1)
    assert session.take_outgoing() == b""
    session.tick(NOW_NS + PING_EVERY_NS)
    assert frames_of_client(session.take_outgoing()) == [(Opcode.PING, b"")]
    session.heard(NOW_NS + PING_EVERY_NS)
    session.tick(NOW_NS + 2 * PING_EVERY_NS)
    session.tick(NOW_NS + 3 * PING_EVERY_NS)
    session.tick(NOW_NS + PING_EVERY_NS + SILENCE_NS_MAX - 1)
    assert session.state is State.OPEN
    session.tick(NOW_NS + PING_EVERY_NS + SILENCE_NS_MAX)
    assert session.reason == "nothing came for 90 s, no pong either"
    assert session.deadline_ns() is None


def test_silence_by_our_own_choice_does_not_count() -> None:
    session = opened()
    session.hold()
    for number in range(1, 10):
        session.tick(NOW_NS + number * PING_EVERY_NS)
    assert session.state is State.OPEN
    session.resume(NOW_NS + 10 * PING_EVERY_NS)
    session.tick(NOW_NS + 10 * PING_EVERY_NS + SILENCE_NS_MAX - 1)
    assert session.state is State.OPEN


def test_pings_are_answered() -> None:
    session, into = opened(), ReceiveBuffer(capacity_max=1 << 20)
    feed(session, frame(b"are you there", Opcode.PING) + frame(b"nobody asked", Opcode.PONG))
    assert not session.read(into)
    assert frames_of_client(session.take_outgoing()) == [(Opcode.PONG, b"are you there")]


def test_we_say_goodbye() -> None:
    session = opened()
    session.send(b"hello")
    session.end("enough")
    assert frames_of_client(session.take_outgoing()) == [(Opcode.BINARY, b"hello"), (Opcode.CLOSE, b"\x03\xe8")]
    assert (session.state, session.reason, session.close_code) == (State.CLOSED, "enough", None)
