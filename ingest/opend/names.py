"""Names and lot sizes of the subscribed symbols: asked once for each, and every day again. No socket, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from codec.opend.protocol import ProtoId
from ingest.opend.requests import Request, Security, Ticket, wire_security
from protos.opend import static_info_pb2

SYMBOLS_MAX = 200
"""Symbols a request: an answer of some 20 kB."""
AGAIN_NS = 24 * 3600 * 1_000_000_000
LATER_NS = 60_000_000_000
"""After a request without an answer."""


class Names:
    """What of `symbols` is still to be asked of one gateway; outlives its connections."""

    def __init__(self) -> None:
        self._due_ns: dict[Security, int] = {}
        self._earliest_ns: int | None = None
        self._suspects: deque[tuple[Security, ...]] = deque()
        self._batch: tuple[Security, ...] = ()
        self._is_suspect = False
        self._serial: int | None = None

    def connection_ended(self) -> None:
        """What was on its way is asked again."""
        self._batch, self._serial = (), None

    def want(self, securities: Iterable[Security], now_ns: int) -> None:
        """These are subscribed to."""
        for security in securities:
            self._due_ns.setdefault(security, now_ns)
        self._changed()

    def forget(self, securities: Iterable[Security]) -> None:
        """These are not wanted any more."""
        for security in securities:
            self._due_ns.pop(security, None)
        self._changed()

    def next_request(self, now_ns: int) -> Request | None:
        """What to send now, one at a time; tell `sent`."""
        if self._batch:
            return None
        self._is_suspect = bool(self._suspects)
        due = self._suspects.popleft() if self._suspects else self._due(now_ns)
        self._batch = tuple(security for security in due if security in self._due_ns)
        if not self._batch:
            return self.next_request(now_ns) if self._is_suspect else None
        c2s = static_info_pb2.GetStaticInfoC2S(securityList=map(wire_security, self._batch))
        request = static_info_pb2.GetStaticInfoRequest(c2s=c2s)
        return Request(ProtoId.GET_STATIC_INFO, request, Ticket(self._batch))

    def sent(self, serial: int) -> None:
        """It went out under `serial`."""
        self._serial = serial

    def ended(self, serial: int, now_ns: int) -> bool:
        """A request was answered; whether it was one of these."""
        if serial != self._serial:
            return False
        self._put_off(AGAIN_NS, now_ns)
        return True

    def failed(self, serial: int, now_ns: int, *, says_nothing: bool) -> None:
        """A request failed. A refusal of several is no refusal of each: they are halved until one stands alone."""
        if serial != self._serial:
            return
        batch = self._batch
        if says_nothing:
            self._put_off(LATER_NS, now_ns)
        elif len(batch) > 1:
            middle = len(batch) // 2
            self._suspects.extendleft((batch[middle:], batch[:middle]))
            self._batch, self._serial = (), None
        else:
            self._put_off(AGAIN_NS, now_ns)

    def deadline_ns(self) -> int | None:
        """When `next_request` has something by time alone."""
        return None if self._batch else self._earliest_ns

    def _changed(self) -> None:
        """Asked for after every read of the socket, so it is kept."""
        self._earliest_ns = min(self._due_ns.values(), default=None)

    def _due(self, now_ns: int) -> tuple[Security, ...]:
        if self._earliest_ns is None or self._earliest_ns > now_ns:
            return ()
        due = [security for security, due_ns in self._due_ns.items() if due_ns <= now_ns]
        return tuple(due[:SYMBOLS_MAX])

    def _put_off(self, delay_ns: int, now_ns: int) -> None:
        for security in self._batch:
            if security in self._due_ns:
                self._due_ns[security] = now_ns + delay_ns
        self._batch, self._serial = (), None
        self._changed()
