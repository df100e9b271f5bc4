"""What a server sends, byte by byte, and what the library itself makes of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State as LibraryState
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from ingest.receive_buffer import ReceiveBuffer
from ingest.websocket_handshake import uri_of
from ingest.websocket_session import State, WebSocketSession

URI = uri_of("ws://gateway:1/v2?version=1&codec=1&platform=9")
NOW_NS = 1_000_000_000


def frame(
    payload: bytes,
    opcode: int = Opcode.BINARY,
    *,
    fin: bool = True,
    reserved: int = 0,
    long: int = 0,
    mask: bytes = b"",
) -> bytes:
    """A frame, whose length takes at least `long` bytes behind the first two: 0, 2 or 8."""
    size, masked = len(payload), 0x80 if mask else 0
    head = bytes((fin << 7 | reserved << 4 | opcode,))
    if size < 126 and long == 0:
        head += bytes((masked | size,))
    elif size < 1 << 16 and long <= 2:
        head += bytes((masked | 126,)) + struct.pack(">H", size)
    else:
        head += bytes((masked | 127,)) + struct.pack(">Q", size)
    return head + mask + payload


@dataclass
class Heard:
    """What came of a stream: messages, what was answered, and whether it is over."""

    messages: list[bytes] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    over: bool = False


def by_library(stream: bytes, message_bytes_max: int) -> Heard:
    """The library's own reading. Text ends it, as with us."""
    library = ClientProtocol(
        WebSocketURI(False, "gateway", 1, "", ""), state=LibraryState.OPEN, max_size=message_bytes_max
    )
    heard, gathered, sent = Heard(), b"", b""
    for at in range(len(stream)):
        library.receive_data(stream[at : at + 1])
        for event in library.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.TEXT:
                heard.over = True
                break
            if event.opcode in (Opcode.BINARY, Opcode.CONT):
                gathered += event.data
                if event.fin:
                    heard.messages.append(gathered)
                    gathered = b""
        sent += b"".join(library.data_to_send())
        heard.over |= library.state is not LibraryState.OPEN
        if heard.over:
            break
    heard.answers = frames_of_client(sent)
    return heard


def by_session(pieces: Sequence[bytes], message_bytes_max: int, *, ends_max: int, room: int) -> Heard:
    """Our reading of a stream in pieces, by an owner that reads everything at once."""
    session, into, heard = opened(message_bytes_max), ReceiveBuffer(capacity=16, capacity_max=room), Heard()
    session._ends = session._ends[:ends_max]
    sent = b""
    for piece in pieces:
        feed(session, piece)
        while session.read(into):
            assert into.start <= session.message_start
            assert session.message_ends[-1] == into.stop
            at = session.message_start
            for end in session.message_ends.tolist():
                heard.messages.append(into.data[at:end].tobytes())
                at = end
            into.start = into.stop
        sent += session.take_outgoing()
    heard.over = session.state is State.CLOSED
    heard.answers = frames_of_client(sent)
    return heard


def opened(message_bytes_max: int = 1 << 20) -> WebSocketSession:
    """A session whose handshake is done."""
    session = WebSocketSession(URI, {}, message_bytes_max=message_bytes_max, now_ns=NOW_NS)
    feed(session, answer_to(session.take_outgoing()))
    assert not session.read(ReceiveBuffer(capacity_max=1 << 20))
    assert session.state is State.OPEN
    return session


def answer_to(request: bytes) -> bytes:
    """A server's yes."""
    server = ServerProtocol()
    server.receive_data(request)
    (asked,) = server.events_received()
    server.send_response(server.accept(asked))  # type: ignore[arg-type]
    return b"".join(server.data_to_send())


def feed(session: WebSocketSession, data: bytes) -> None:
    """As a socket does."""
    while data:
        room = session.raw.free()
        taken = min(len(room), len(data))
        assert taken > 0
        room[:taken] = data[:taken]
        session.raw.filled(taken)
        data = data[taken:]


def frames_of_client(sent: bytes) -> list[tuple[int, bytes]]:
    """(opcode, payload) of each frame that a client sent, all of them masked."""
    server = ServerProtocol(state=LibraryState.OPEN, max_size=None)
    server.receive_data(sent)
    assert server.parser_exc is None
    return [(int(event.opcode), bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)]
