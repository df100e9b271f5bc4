"""One client of the simulated OpenD: frames in, frames out, and the ways to send badly on purpose."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import cast

import structlog

from codec.opend.cipher import Undecryptable
from codec.opend.protocol import FRAME_BYTES_MAX, HEADER, HEADER_BYTES, MAGIC, BodyFormat
from ticktape.simulate.faults import MID_FRAME_CLOSE, SPLIT, Faults, cut_inside_a_frame, odd_piece_bytes
from ticktape.simulate.opend_calls import Answer, Calls, Client
from ticktape.simulate.tick_store import Spans

WRITE_BUFFER_BYTES_MAX = 4 << 20
"""More than this waiting for a client stops the market until it has caught up."""

SPLIT_PAUSE_S = 0.002

_log = structlog.get_logger(__name__)


class Connection(asyncio.Protocol):
    """Parses requests, hands them to `Calls`, writes answers and pushes.

    Attributes
    ----------
    client : who it is to `Calls`
    is_congested : whether too much is waiting to be sent
    is_stalled : whether nothing is sent, and everything waits
    closed : done once the connection is gone
    """

    def __init__(
        self,
        calls: Calls,
        faults: Faults,
        *,
        push_cached: Callable[[Connection, Spans], None],
        joined: Callable[[Connection], None],
        left: Callable[[Connection], None],
        by_front: bool = False,
    ) -> None:
        self._calls, self._faults = calls, faults
        self._by_front = by_front
        self._push_cached, self._joined, self._left = push_cached, joined, left
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self._is_paused = False
        self.is_stalled = False
        self._unsent = bytearray()
        self._splitting: asyncio.Task[None] | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.client: Client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self.client = self._calls.connect(by_front=self._by_front)
        self._joined(self)
        _log.info("client connected", connection=self.client.connection)

    def connection_lost(self, error: Exception | None) -> None:
        if self._splitting is not None:
            self._splitting.cancel()
        self._calls.disconnect(self.client, self._loop.time())
        self._left(self)
        self.closed.set_result(None)
        _log.info("client gone", connection=self.client.connection, error=str(error) if error else None)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False

    @property
    def is_congested(self) -> bool:
        return self._is_paused or len(self._unsent) > WRITE_BUFFER_BYTES_MAX

    def data_received(self, data: bytes) -> None:
        self._received += data
        at = 0
        while len(self._received) - at >= HEADER_BYTES and not self._transport.is_closing():
            magic, proto_id, body_format, _, serial, body_bytes, digest, _ = HEADER.unpack_from(self._received, at)
            if magic != MAGIC or body_bytes > FRAME_BYTES_MAX:
                _log.warning("not a frame, closing", connection=self.client.connection)
                self._transport.close()
                return
            end = at + HEADER_BYTES + body_bytes
            if len(self._received) < end:
                break
            self._request(proto_id, body_format, serial, bytes(self._received[at + HEADER_BYTES : end]), digest)
            at = end
        del self._received[:at]

    def send(self, frames: bytes, body_format: BodyFormat | None = None) -> None:
        """Send whole plain protobuf frames as the client wants them, in pieces if that fault is on.

        Bodies become those of `body_format`; without it they are pushes.
        """
        wire = self.client.wire
        self._write(wire.dress(frames, wire.push_format if body_format is None else body_format))

    def _write(self, data: bytes) -> None:
        if self._transport.is_closing() or not data:
            return
        if SPLIT not in self._faults and not self.is_stalled:
            self._transport.write(data)
            return
        self._unsent += data
        self._send_unsent()

    def stall(self) -> None:
        """Send nothing more, replies neither; the link stays up."""
        self.is_stalled = True
        _log.info("stalled", connection=self.client.connection)

    def go_on(self) -> None:
        """Send what has waited since `stall`, if it was called."""
        if self.is_stalled:
            self.is_stalled = False
            self._send_unsent()

    def _send_unsent(self) -> None:
        if self.is_stalled:
            return
        if SPLIT not in self._faults:
            self._transport.write(bytes(self._unsent))
            self._unsent.clear()
        elif self._splitting is None:
            self._splitting = self._loop.create_task(self._send_split())

    def send_pushes(self, frames: bytes, elapsed_s: float) -> None:
        """Send the push frames of a step of `elapsed_s`; now and then the line breaks in the middle."""
        data = self.client.wire.dress(frames, self.client.wire.push_format)
        if data and not self.is_stalled and self._faults.strikes(MID_FRAME_CLOSE, elapsed_s):
            data = data[: cut_inside_a_frame(data, self._faults.random(MID_FRAME_CLOSE))]
            _log.info("closing inside a frame", connection=self.client.connection)
            self._transport.write(bytes(self._unsent) + data)
            self._unsent.clear()
            self._transport.close()
            return
        self._write(data)

    def close(self) -> None:
        """Send what is waiting, then close."""
        self._transport.write(bytes(self._unsent))
        self._unsent.clear()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _request(self, proto_id: int, body_format: int, serial: int, body: bytes, digest: bytes) -> None:
        try:
            plain = self.client.wire.open(proto_id, body)
            said_in = BodyFormat(body_format)
        except (Undecryptable, ValueError) as error:
            _log.warning("request ignored", proto_id=proto_id, error=str(error))
            return
        if hashlib.sha1(plain, usedforsecurity=False).digest() != digest:
            _log.warning("request ignored: wrong SHA-1, or not encrypted as it should be", proto_id=proto_id)
            return
        answer: Answer | None = self._calls.answer(self.client, proto_id, serial, plain, self._loop.time(), said_in)
        if answer is None:
            return
        self.send(answer.frame, said_in)
        if answer.first_push is not None:
            self._push_cached(self, answer.first_push)

    async def _send_split(self) -> None:
        rng = self._faults.random(SPLIT)
        while self._unsent and not self.is_stalled:
            size = odd_piece_bytes(rng)
            self._transport.write(bytes(self._unsent[:size]))
            del self._unsent[:size]
            # Without a turn of the loop between them the transport would join the pieces again.
            await asyncio.sleep(SPLIT_PAUSE_S if rng.random() < self._faults.strength[SPLIT] else 0)
        self._splitting = None
