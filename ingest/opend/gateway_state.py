"""What an OpenD says of itself: its login, its rights, its clock and the state of each market.

Told by GetGlobalState (1002), GetUserInfo (1005) and Notify (1003); each says what changed, with the
remedy where somebody must do something (docs/protocols/opend.md 2.3 to 2.6). It outlives a
connection: what the next one is told is compared with what the last one was. No socket, no clock.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from codec.markets import HK, HK_FUTURE, SH, SZ, US
from ingest.ledger import CAUSE_GATEWAY_LOST_BACKEND, CAUSE_NOT_LOGGED_IN
from ingest.opend.remedies import EVENTS, PROGRAM_READY, PROGRAM_STATES, STARTING, Ailment
from ingest.opend.rights import Kind, Rights
from protos.opend import global_state_pb2, notify_pb2

_UNLISTED = Ailment("it is in a state that we don't know", "look at the OpenD's own window or log")
_NO_BACKEND = Ailment(
    "it has lost its link to the quote servers",
    "it connects again by itself; if it does not, look at the network of its machine",
)

_MARKET_FIELDS = {
    HK: "marketHK",
    HK_FUTURE: "marketHKFuture",
    US: "marketUS",
    SH: "marketSH",
    SZ: "marketSZ",
    31: "marketSG",
    41: "marketJP",
    61: "marketMY",
}
"""Fields of GetGlobalState by QotMarket number."""

_CLOSED_STATES = frozenset({6, 17, 26})
"""QotMarketState: Closed, FutureDayClose, FutureClose."""

_CLOCK_BACK_S = 5
"""The gateway's clock may be set right by as much while it runs."""

KEPT_NS = 55_000_000_000
"""For so long after a connection ended the gateway surely keeps its subscriptions."""


class _Notice(enum.IntEnum):
    """NotifyType."""

    GTW_EVENT = 1
    PROGRAM_STATUS = 2
    CONN_STATUS = 3
    QOT_RIGHT = 4
    API_QUOTA = 6
    USED_QUOTA = 7


@dataclass(frozen=True, slots=True)
class LoginLost:
    """The gateway cannot send ticks; `cause` is the ledger's word for it."""

    cause: str
    ailment: Ailment


@dataclass(frozen=True, slots=True)
class LoginBack:
    """The gateway is logged in to quotes again, or for the first time that we know."""

    first: bool


@dataclass(frozen=True, slots=True)
class RightsChanged:
    """Of these kinds the login has no ticks any more, or has them again."""

    lost: frozenset[Kind]
    back: frozenset[Kind]


@dataclass(frozen=True, slots=True)
class Restarted:
    """The gateway is another process than before: it has forgotten what we subscribed to."""

    why: str


@dataclass(frozen=True, slots=True)
class QuotaMoved:
    """The units of the login, or how many of them are in use, changed."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """Worth a line in the log, and no more."""

    ailment: Ailment


StateChange = LoginLost | LoginBack | RightsChanged | Restarted | QuotaMoved | Noticed


class GatewayState:
    """One gateway, over all its connections.

    Attributes
    ----------
    market_states : QotMarketState of each market by QotMarket number, as last told; empty before
    rights : as last told
    """

    def __init__(self) -> None:
        self.market_states: dict[int, int] = {}
        self.rights = Rights()
        self._quote_login: bool | None = None
        self._program: int | None = None
        self._program_text = ""
        self._event: Ailment | None = None
        self._trouble: tuple[str, Ailment] | None = None
        self._was_logged_in = False
        self._server: tuple[int, int] | None = None
        self._time_s = 0
        self._subscribed_at_end = 0
        self._ended_ns: int | None = None

    @property
    def logged_in(self) -> bool:
        """Whether the gateway says that it is logged in to quotes."""
        return self._quote_login is True and self._trouble is None

    @property
    def known(self) -> bool:
        """Whether it has said on this connection how it is."""
        return self._quote_login is not None

    @property
    def trouble(self) -> Ailment | None:
        """What keeps it from sending ticks."""
        return self._trouble[1] if self._trouble else None

    def is_closed(self, market: int) -> bool:
        """Whether the gateway says that nothing trades in a market any more today."""
        return self.market_states.get(market) in _CLOSED_STATES

    def connection_ended(self, subscribed: int, now_ns: int) -> None:
        """A working connection ended with so many subscriptions."""
        self._subscribed_at_end, self._ended_ns = subscribed, now_ns
        self._quote_login = None

    def global_state(self, told: global_state_pb2.GetGlobalStateS2C) -> list[StateChange]:
        """The answer to GetGlobalState."""
        self.market_states = {
            market: getattr(told, name) for market, name in _MARKET_FIELDS.items() if told.HasField(name)
        }
        changes = self._restarted(told)
        self._quote_login = told.qotLogined
        if told.HasField("programStatus"):
            self._program, self._program_text = told.programStatus.type, told.programStatus.strExtDesc
        else:
            self._program, self._program_text = None, ""
        if self._quote_login and self._program in (None, PROGRAM_READY):
            self._event = None  # whatever it was, it is over
        return changes + self._judged()

    def user_info(self, rights: Rights) -> list[StateChange]:
        """The rights that the answer to GetUserInfo has."""
        return self._rights_are(rights)

    def notified(self, notice: notify_pb2.NotifyS2C) -> list[StateChange]:
        """A Notify push."""
        match notice.type:
            case _Notice.GTW_EVENT if notice.HasField("event"):
                ailment = EVENTS.get(notice.event.eventType)
                if ailment is None:
                    return []
                ailment = ailment.saying(notice.event.desc)
                if not ailment.ends_login:
                    return [Noticed(ailment)]
                self._event = ailment
            case _Notice.PROGRAM_STATUS if notice.HasField("programStatus"):
                status = notice.programStatus.programStatus
                self._program, self._program_text = status.type, status.strExtDesc
            case _Notice.CONN_STATUS if notice.HasField("connectStatus"):
                self._quote_login = notice.connectStatus.qotLogined
                if self._quote_login:
                    self._event = None
            case _Notice.QOT_RIGHT if notice.HasField("qotRight"):
                return self._rights_are(Rights.of(notice.qotRight))
            case _Notice.API_QUOTA | _Notice.USED_QUOTA:
                return [QuotaMoved()]
            case _:
                return []
        return self._judged()

    def units_in_use(self, units: int, now_ns: int) -> list[StateChange]:
        """Units of the login in use, as a new connection finds them: ours would have to be among them.

        A gateway keeps the subscriptions of a connection that broke for a minute.
        """
        ended_ns, self._ended_ns = self._ended_ns, None
        if ended_ns is None or now_ns - ended_ns > KEPT_NS or units >= self._subscribed_at_end:
            return []
        return [Restarted(f"{units} of {self._subscribed_at_end} subscriptions are left")]

    def _restarted(self, told: global_state_pb2.GetGlobalStateS2C) -> list[StateChange]:
        server, before = (told.serverVer, told.serverBuildNo), self._server
        time_s, self._time_s, self._server = self._time_s, told.time, server
        if self._ended_ns is None or before is None:
            return []  # on one connection it is one process
        why = None
        if server != before:
            why = f"its version was {before[0]}.{before[1]} and is {server[0]}.{server[1]}"
        elif told.time < time_s - _CLOCK_BACK_S:
            why = f"its clock went back by {time_s - told.time} s"
        elif told.HasField("programStatus") and told.programStatus.type in STARTING:
            why = "it is starting"
        if why is None:
            return []
        self._ended_ns = None
        return [Restarted(why)]

    def _judged(self) -> list[StateChange]:
        before, self._trouble = self._trouble, self._diagnosis()
        if self._trouble is not None:
            # On its way back from something worse it has no link yet: that is no news.
            told = before is not None and self._trouble[1] == _NO_BACKEND
            return [LoginLost(*self._trouble)] if self._trouble != before and not told else []
        if self._quote_login and (before is not None or not self._was_logged_in):
            first, self._was_logged_in = not self._was_logged_in, True
            return [LoginBack(first and before is None)]
        return []

    def _diagnosis(self) -> tuple[str, Ailment] | None:
        if self._event is not None:
            return CAUSE_NOT_LOGGED_IN, self._event
        if self._program not in (None, PROGRAM_READY):
            ailment = PROGRAM_STATES.get(self._program or 0, _UNLISTED).saying(self._program_text)
            return CAUSE_NOT_LOGGED_IN, ailment
        if self._quote_login is False:
            return CAUSE_GATEWAY_LOST_BACKEND, _NO_BACKEND
        return None

    def _rights_are(self, rights: Rights) -> list[StateChange]:
        before, self.rights = self.rights.without_ticks, rights
        lost, back = rights.without_ticks - before, before - rights.without_ticks
        return [RightsChanged(lost, back)] if lost or back else []
