"""What becomes of what a gateway says of itself: one line in the log with the remedy, and ledger entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from codec.markets import symbol_name
from ingest.ledger import CAUSE_GATEWAY_RESTART, CAUSE_QUOTE_RIGHT_LOST, CAUSE_REFUSED
from ingest.opend.gateway_state import (
    GatewayState,
    LoginBack,
    LoginLost,
    Noticed,
    QuotaMoved,
    Restarted,
    RightsChanged,
    StateChange,
)
from ingest.opend.requests import Security
from ingest.opend.rights import Kind, kind_of
from ingest.opend.subscriptions import QUOTA

OpenGap = Callable[[Security, str], None]


class Conditions:
    """Tells of one gateway's state, once for each change.

    Parameters
    ----------
    log : bound to the gateway
    open_gap : writes a hole of a symbol into the ledger, for a cause
    """

    def __init__(self, state: GatewayState, log: Any, open_gap: OpenGap) -> None:
        self._state = state
        self._log = log
        self._open_gap = open_gap
        self._refused_logged: set[tuple[Security, str]] = set()
        self._quota_logged = 0

    def changed(
        self,
        change: StateChange,
        *,
        wanted: Collection[Security],
        confirmed: Collection[Security],
        confirmed_before: Collection[Security],
    ) -> None:
        """One change; `confirmed_before` is what the last connection had."""
        match change:
            case LoginLost():
                self._log.error(f"no ticks come: {change.ailment.sentence}", remedy=change.ailment.remedy)
                self._open_gaps(wanted, change.cause)
            case LoginBack():
                if not change.first:
                    self._log.info("logged in to quotes again; going on")
            case RightsChanged():
                self._rights(change, confirmed)
            case Restarted():
                self._log.warning("the gateway was restarted", why=change.why)
                self._open_gaps(confirmed_before, CAUSE_GATEWAY_RESTART)
            case Noticed():
                self._log.warning(change.ailment.sentence, remedy=change.ailment.remedy)
            case QuotaMoved():
                pass  # symbols that wait for units are told of as they come in

    def refused(self, news: Sequence[tuple[Security, str]]) -> None:
        """Symbols that are not subscribed to: each is said once, those beyond the quota together."""
        beyond = [security for security, text in news if text == QUOTA]
        if beyond and len(beyond) != self._quota_logged:
            self._log.error(
                "symbols refused: the login has no subscription unit for them; the others go on",
                symbols=len(beyond),
                first=symbol_name(*beyond[0]),
                remedy="take symbols away, lower subscription_quota_reserve, or share them with another login's OpenD",
            )
        self._quota_logged = len(beyond)
        for security, text in news:
            if text != QUOTA and (security, text) not in self._refused_logged:
                self._refused_logged.add((security, text))
                symbol = symbol_name(*security)
                self._log.error("symbol refused; the others go on", symbol=symbol, reason=text)
            self._open_gap(security, CAUSE_REFUSED)

    def without_right(self, confirmed: Collection[Security]) -> frozenset[Kind]:
        """The kinds of subscribed symbols whose quote right is lost."""
        lost = self._state.rights.without_ticks
        return frozenset(kind for security in confirmed if (kind := kind_of(security)) in lost) if lost else lost

    def _rights(self, change: RightsChanged, confirmed: Collection[Security]) -> None:
        hit = [security for security in confirmed if kind_of(security) in change.lost]
        if hit:
            self._log.error(
                f"the quote right is lost for {_words(change.lost)}: no ticks of them come",
                symbols=len(hit),
                remedy="another terminal of the account may have taken it: close that, or renew the right",
            )
            self._open_gaps(hit, CAUSE_QUOTE_RIGHT_LOST)
        if change.back:
            self._log.info(f"the quote right is there for {_words(change.back)}")

    def _open_gaps(self, securities: Collection[Security], cause: str) -> None:
        for security in sorted(securities):
            self._open_gap(security, cause)


def _words(kinds: frozenset[Kind]) -> str:
    return ", ".join(sorted(kind.value for kind in kinds))
