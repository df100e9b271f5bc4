"""What happens to the links of the simulated LongPort on purpose: silence, closing in every way, absence."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import structlog

from protos.longport.control_pb2 import Close
from ticktape.simulate.faults import STALL, Faults
from ticktape.simulate.longport_calls import Calls
from ticktape.simulate.longport_faults import (
    AWAY,
    CLOSE_PACKET,
    DISCONNECT,
    EXPIRE,
    MID_PACKET_CLOSE,
    REGRESS,
    WS_CLOSE,
)
from ticktape.simulate.longport_link import Link
from ticktape.simulate.longport_packets import Packets
from ticktape.simulate.longport_trades import Sequences
from ticktape.simulate.outages import OUTAGE_S, STALL_S, Outages

_CLOSE_CODES = (
    Close.HEARTBEAT_TIMEOUT,
    Close.SERVER_ERROR,
    Close.SERVER_SHUTDOWN,
    Close.UNPACK_ERROR,
    Close.AUTH_ERROR,
    Close.SESSION_EXPIRED,
)
"""All but ConnectDuplicate, which tells a client to stay away."""
_WS_CODES = (1000, 1001, 1011, 1012, 1013, int(Close.SERVER_SHUTDOWN))
"""The last is none of RFC 6455's: the vendor's Go client reads Close.Code there."""

_log = structlog.get_logger(__name__)


class Trouble:
    """Strikes links, in time.

    Parameters
    ----------
    links : those that there are, whenever it strikes
    """

    def __init__(self, faults: Faults, links: Collection[Link], calls: Calls, sequences: Sequences) -> None:
        self._faults, self._links, self._calls, self._sequences = faults, links, calls, sequences
        self._stalls = Outages(faults, (STALL,), STALL_S)
        self._absences = Outages(faults, (AWAY,), OUTAGE_S)

    @property
    def is_away(self) -> bool:
        """Whether the gateway takes nobody."""
        return self._absences.now is not None

    def strike(self, now_s: float, elapsed_s: float) -> None:
        """What comes so often a second, once a step of `elapsed_s` that ends at `now_s`."""
        anybody = bool(self._calls.book.held.any())
        for turn in self._stalls.step(now_s, elapsed_s, anybody=anybody):
            _log.info("stall", begins=turn.begins)
            for link in tuple(self._links):
                link.outlet.stall() if turn.begins else link.outlet.go_on()
        for turn in self._absences.step(now_s, elapsed_s, anybody=anybody):
            _log.info("away", begins=turn.begins)
            for link in tuple(self._links) if turn.begins else ():
                link.outlet.abort()
        pushed = np.flatnonzero(self._calls.book.pushed).tolist()
        if pushed and self._faults.strikes(REGRESS, elapsed_s):
            self._sequences.restart(self._faults.random(REGRESS).choice(pushed))
        if self._links and self._faults.strikes(EXPIRE, elapsed_s):
            self._calls.account.expire()
        self._close(elapsed_s)

    def _close(self, elapsed_s: float) -> None:
        """Links that are closed, in one way or another."""
        link = self._struck(DISCONNECT, elapsed_s)
        if link is not None:
            link.outlet.abort()
        link = self._struck(CLOSE_PACKET, elapsed_s)
        if link is not None:
            link.close(self._faults.random(CLOSE_PACKET).choice(_CLOSE_CODES), "on purpose")
        link = self._struck(WS_CLOSE, elapsed_s)
        if link is not None:
            link.close_frame(self._faults.random(WS_CLOSE).choice(_WS_CODES))

    def break_off(self, packets: Packets, elapsed_s: float) -> None:
        """Now and then a line breaks inside one of the packets of a step."""
        if (link := self._struck(MID_PACKET_CLOSE, elapsed_s)) is not None:
            wanted = packets.of(self._calls.book.wanted_by(link.client.connection))
            if len(wanted) and not link.outlet.is_stalled:
                link.break_off(wanted, self._faults.random(MID_PACKET_CLOSE).randrange(1 << 16))

    def _struck(self, fault: str, elapsed_s: float) -> Link | None:
        """The link that a fault strikes, if it comes now; only those that are pushed something."""
        links = sorted(
            (link for link in self._links if self._calls.book.wanted_by(link.client.connection).any()),
            key=lambda link: link.client.connection,
        )
        return self._faults.random(fault).choice(links) if links and self._faults.strikes(fault, elapsed_s) else None
