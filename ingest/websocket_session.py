"""One WebSocket to a server, without a socket or a clock: bytes in, messages and bytes out.

The data path is ours (codec/websocket.py): every binary message that came in one frame. Whatever else
comes is rare, and goes frame by frame to the `websockets` library, which judges it and answers.

Rule 1: everything here belongs to one connection and ends with it.
Rule 2: what a length says is bounded before anything waits for that many bytes.
Rule 3: no byte that was sent or received gets into a text: messages hold secrets.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from websockets.client import ClientProtocol
from websockets.frames import CTRL_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import State as LibraryState
from websockets.uri import WebSocketURI

from codec.websocket import ALL_READ, ENDS_FULL, HEADER_BYTES_MAX, NO_ROOM, take_messages
from ingest.receive_buffer import ReceiveBuffer
from ingest.websocket_handshake import HANDSHAKE_BYTES_MAX, HandshakeFailed, head_bytes

PING_EVERY_NS = 30_000_000_000
"""So that nobody between takes the link for dead, and that one who is alive says so."""
SILENCE_NS_MAX = 90_000_000_000
"""Three pings without so much as their pong."""
SWITCHING_PROTOCOLS = 101
"""HTTP's word for: from here on it is a WebSocket."""
CONTROL_BYTES_MAX = 125
MESSAGES_MAX = 1 << 14
"""Handed over at once."""
_OPCODES = frozenset(Opcode)
_RAW_BYTES = 256 << 10
"""Read at once at first: what the processor's second cache holds beside what it becomes."""
_SPARE_BYTES = 128 << 10


class State(enum.Enum):
    CONNECTING = "the handshake is on its way"
    OPEN = "messages may be sent"
    CLOSED = "over"


class WebSocketSession:
    """From the handshake to the close of one WebSocket.

    Parameters
    ----------
    uri : of the server, with path and query as they are to be asked for (`uri_of`)
    headers : of the handshake, beside those that it needs
    message_bytes_max : a longer message ends the connection

    Attributes
    ----------
    raw : where the socket writes
    message_start, message_ends : where, in the buffer last given to `read`, its messages begin, and each ends
    opened : whether the handshake has succeeded
    reason : why it is over, in one line; None before
    close_code : the server's own, or the one that we closed with because of what it sent
    failure : what to raise when the handshake failed
    """

    def __init__(self, uri: WebSocketURI, headers: Mapping[str, str], *, message_bytes_max: int, now_ns: int) -> None:
        self.state = State.CONNECTING
        self.opened = False
        self.raw = ReceiveBuffer(
            capacity=_RAW_BYTES, capacity_max=_RAW_BYTES + message_bytes_max + HEADER_BYTES_MAX + _SPARE_BYTES
        )
        self.message_start = 0
        self.message_ends: NDArray[np.int64] = np.zeros(0, np.int64)
        self.reason: str | None = None
        self.close_code: int | None = None
        self.failure: HandshakeFailed | None = None
        self._ends = np.zeros(MESSAGES_MAX, np.int64)
        self._message_bytes_max = message_bytes_max
        self._fragments: bytearray | None = None
        self._assembled: bytearray | None = None
        self._outgoing: list[bytes] = []
        self._heard_ns = now_ns
        self._ping_due_ns = now_ns + PING_EVERY_NS
        self._held = False
        self._library = ClientProtocol(uri, max_size=message_bytes_max)
        self._library.debug = False  # rule 3: it would log every frame
        request = self._library.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._library.send_request(request)
        self._collect()

    def send(self, message: bytes) -> None:
        """Queue one binary message; nothing once it is over."""
        if self.state is State.OPEN:
            self._library.send_binary(message)
            self._collect()

    def take_outgoing(self) -> bytes:
        """What must be sent now, oldest first; each byte is given once."""
        outgoing = b"".join(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def heard(self, now_ns: int) -> None:
        """The socket wrote to `raw`."""
        self._heard_ns = now_ns

    def hold(self) -> None:
        """Nothing will be read until `resume`, by our own choice: silence does not count."""
        self._held = True

    def resume(self, now_ns: int) -> None:
        """Undo `hold`."""
        self._held, self._heard_ns = False, now_ns

    def deadline_ns(self) -> int | None:
        """When `tick` must next be called, or None when there is nothing to wait for."""
        if self.state is not State.OPEN:
            return None
        return self._ping_due_ns if self._held else min(self._ping_due_ns, self._heard_ns + SILENCE_NS_MAX)

    def tick(self, now_ns: int) -> None:
        """Do what is due: a ping, or the end of a silent link."""
        if self.state is not State.OPEN:
            return
        if not self._held and now_ns - self._heard_ns >= SILENCE_NS_MAX:
            self._end(f"nothing came for {(now_ns - self._heard_ns) / 1e9:.0f} s, no pong either", None)
        elif now_ns >= self._ping_due_ns:
            self._library.send_ping(b"")
            self._collect()
            self._ping_due_ns = now_ns + PING_EVERY_NS

    def end(self, reason: str) -> None:
        """Say goodbye, when there is anybody to say it to. A reason that there is already stays."""
        if self.state is State.OPEN:
            self._library.send_close(CloseCode.NORMAL_CLOSURE)
            self._collect()
        self._end(reason, None)

    def read(self, into: ReceiveBuffer) -> bool:
        """Lay messages of `raw` behind what waits in `into`; whether there are any, and so perhaps more.

        What comes between them is answered. A message that does not fit waits until `into` was read.
        """
        if self.state is State.CONNECTING and not self._read_handshake():
            return False
        into.free()
        self.message_start, count = into.stop, 0
        while self.state is State.OPEN:
            if self._assembled is not None:
                if not self._lay_assembled(into, count):
                    break
                count += 1
                continue
            if self._fragments is None:
                status, count = self._take(into, count)
                if status == ALL_READ or (count > 0 and status in (ENDS_FULL, NO_ROOM)):
                    break
                if status == NO_ROOM:
                    if not self._make_room(into, self._next_bytes()):
                        break
                    continue
            if not self._read_frame():
                break
        self.message_ends = self._ends[:count]
        return count > 0

    def _take(self, into: ReceiveBuffer, count: int) -> tuple[int, int]:
        raw = self.raw
        status, raw.start, into.stop, count = take_messages(
            raw.data,
            raw.start,
            raw.stop,
            self._message_bytes_max,
            into.data,
            into.stop,
            into.capacity,
            self._ends,
            count,
        )
        return status, count

    def _lay_assembled(self, into: ReceiveBuffer, count: int) -> bool:
        """Lay a message that came in fragments; False when it has to wait."""
        assert self._assembled is not None
        size = len(self._assembled)
        if count == len(self._ends) or (count > 0 and size > into.capacity - into.stop):
            return False
        if count == 0 and not self._make_room(into, size):
            return False
        into.data[into.stop : into.stop + size] = np.frombuffer(self._assembled, np.uint8)
        into.filled(size)
        self._ends[count] = into.stop
        self._assembled = None
        return True

    def _make_room(self, into: ReceiveBuffer, size: int) -> bool:
        """Room for a message before any other of this call; positions in `into` may change."""
        if len(into.free(size)) < size:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message of {size} B finds no room behind what was not read")
            return False
        self.message_start = into.stop
        return True

    def _next_bytes(self) -> int:
        """The length of the message that the whole frame at the beginning of `raw` holds."""
        header_bytes, size = self._frame_size()
        assert header_bytes is not None
        return size

    def _frame_size(self) -> tuple[int | None, int]:
        """Bytes of the header at the beginning of `raw`, its mask left aside, and of what follows.

        None and 0 when the header is not whole.
        """
        raw = self.raw
        have = raw.stop - raw.start
        if have < 2:
            return None, 0
        size = int(raw.data[raw.start + 1]) & 0x7F
        header_bytes = 2 + {126: 2, 127: 8}.get(size, 0)
        if have < header_bytes:
            return None, 0
        if header_bytes > 2:
            size = int.from_bytes(raw.data[raw.start + 2 : raw.start + header_bytes].tobytes(), "big")
        return header_bytes, size

    def _read_frame(self) -> bool:
        """Have the library read the frame at the beginning of `raw`; False when more bytes are needed."""
        raw = self.raw
        header_bytes, size = self._frame_size()
        if header_bytes is None:
            return False
        opcode, masked = int(raw.data[raw.start]) & 0x0F, int(raw.data[raw.start + 1]) & 0x80
        if opcode in CTRL_OPCODES and size > CONTROL_BYTES_MAX:
            self._fail(CloseCode.PROTOCOL_ERROR, f"control frame of {size} B")
            return False
        frame_bytes = header_bytes + size
        if masked or opcode not in _OPCODES or size > self._message_bytes_max - len(self._fragments or b""):
            frame_bytes = header_bytes  # it is refused by that
        if raw.stop - raw.start < frame_bytes:
            return False
        self._library.receive_data(raw.data[raw.start : raw.start + frame_bytes].tobytes())
        raw.start += frame_bytes
        for event in self._library.events_received():
            assert isinstance(event, Frame)
            self._handle(event)
        self._collect()
        if self.state is State.OPEN and self._library.state is not LibraryState.OPEN:
            self._closed_by_library()
        return self.state is State.OPEN

    def _handle(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT:
                self._fail(CloseCode.UNSUPPORTED_DATA, "it sent text, and only binary messages mean something")
            case Opcode.BINARY | Opcode.CONT:
                gathered = self._fragments if self._fragments is not None else bytearray()
                gathered += frame.data
                self._fragments, self._assembled = (None, gathered) if frame.fin else (gathered, None)
            case _:
                pass  # the library answers pings, and closes; a pong has been heard

    def _closed_by_library(self) -> None:
        error, close = self._library.parser_exc, self._library.close_rcvd
        if error is not None:
            sent = self._library.close_sent
            self._end(f"the gateway breaks the WebSocket protocol: {error}", sent.code if sent else None)
        else:
            assert close is not None, "what else closes it"
            text = "".join(each if each.isprintable() else " " for each in str(close))
            self._end(f"the gateway closed the WebSocket: {text}", close.code)

    def _fail(self, code: CloseCode, text: str) -> None:
        self._library.fail(code)
        self._collect()
        self._end(f"the gateway breaks the WebSocket protocol: {text}", code)

    def _end(self, reason: str, code: int | None) -> None:
        if self.state is not State.CLOSED:
            self.state, self.reason, self.close_code = State.CLOSED, reason, code

    def _collect(self) -> None:
        """Take over what the library wants to be sent; when it wants the end, that is ours to make."""
        self._outgoing += filter(None, self._library.data_to_send())

    def _read_handshake(self) -> bool:
        """Read the server's answer once its head is whole; whether the WebSocket is open."""
        raw = self.raw
        received = raw.data[raw.start : min(raw.stop, raw.start + HANDSHAKE_BYTES_MAX)].tobytes()
        try:
            if (size := head_bytes(received)) is None:
                return False
            self._library.receive_data(received[:size])
            self._library.events_received()
            if (error := self._library.handshake_exc) is not None:
                text = f"the answer to the handshake is no WebSocket's: {error.__cause__ or error}"
                raise HandshakeFailed(text, SWITCHING_PROTOCOLS)
        except HandshakeFailed as error:
            self.failure = error
            self._end(str(error), None)
            return False
        raw.start += size
        self.state, self.opened = State.OPEN, True
        return True
