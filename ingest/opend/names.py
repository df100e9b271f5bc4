"""Names and lot sizes of the subscribed symbols: asked once for each, and every day again. No socket, no clock.

Of a symbol that the gateway says nothing of, its next pull tells at least the name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

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
        self._nameless: set[Security] = set()
        self._newly_nameless: list[Security] = []
        self._told_by_pull: set[Security] = set()

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
            self._nameless.discard(security)
            self._told_by_pull.discard(security)
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

    def ended(self, serial: int, now_ns: int, named: Collection[Security]) -> bool:
        """A request was answered, about these; whether it was one of ours."""
        if serial != self._serial:
            return False
        self._nameless.difference_update(named)
        self._said_nothing_of(security for security in self._batch if security not in named)
        self._put_off(AGAIN_NS, now_ns)
        return True

    def failed(self, serial: int, now_ns: int, *, says_nothing: bool) -> None:
        """A request failed. A refusal of several is no refusal of each: they are halved until one stands alone."""
        if serial != self._serial:
            return
        batch = self._batch
        if says_nothing:
            self._said_nothing_of(batch)
            self._put_off(LATER_NS, now_ns)
        elif len(batch) > 1:
            middle = len(batch) // 2
            self._suspects.extendleft((batch[middle:], batch[:middle]))
            self._batch, self._serial = (), None
        else:
            self._said_nothing_of(batch)
            self._put_off(AGAIN_NS, now_ns)

    def take_nameless(self) -> list[Security]:
        """Symbols that should be pulled for their names, each given once."""
        taken, self._newly_nameless = self._newly_nameless, []
        return taken

    def lacks(self, security: Security) -> bool:
        """Whether a pull of it should tell its name."""
        return security in self._nameless

    def told_by_pull(self, security: Security) -> None:
        """It told what it could; it is not pulled for that again."""
        self._nameless.discard(security)
        self._told_by_pull.add(security)

    def deadline_ns(self) -> int | None:
        """When `next_request` has something by time alone."""
        return None if self._batch else self._earliest_ns

    def _said_nothing_of(self, securities: Iterable[Security]) -> None:
        for security in securities:
            known = security in self._nameless or security in self._told_by_pull
            if security in self._due_ns and not known:
                self._nameless.add(security)
                self._newly_nameless.append(security)

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
