"""How often calls are made: what OpenD allows, and what it was asked, in real time whatever the market's speed."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from codec.opend.protocol import ProtoId

QUOTAS: dict[int, tuple[int, float]] = {
    ProtoId.GET_CAPITAL_FLOW: (30, 30.0),
    ProtoId.GET_CAPITAL_DISTRIBUTION: (30, 30.0),
    ProtoId.GET_ARK_STOCK_DYNAMIC: (60, 30.0),
}
"""Requests allowed in any so many seconds, by all connections of the login together."""

_MEASURED_S = (1.0, 30.0)


@dataclass(slots=True)
class Window:
    """Requests of one call within the last `size_s`; `most` is the greatest number there ever was."""

    size_s: float
    most: int = 0
    _asked_s: deque[float] = field(default_factory=deque)

    def fits(self, requests_max: int, now_s: float) -> bool:
        """Whether one more request keeps within `requests_max`."""
        self._forget(now_s)
        return len(self._asked_s) < requests_max

    def add(self, now_s: float) -> None:
        """A request came."""
        self._forget(now_s)
        self._asked_s.append(now_s)
        self.most = max(self.most, len(self._asked_s))

    def _forget(self, now_s: float) -> None:
        while self._asked_s and self._asked_s[0] <= now_s - self.size_s:
            self._asked_s.popleft()


class Frequency:
    """The requests of one login. A refused one is measured, and takes nothing from the quota."""

    def __init__(self) -> None:
        self._allowed = {call: Window(window_s) for call, (_, window_s) in QUOTAS.items()}
        self._measured: dict[str, tuple[Window, ...]] = {}
        self.refused: Counter[str] = Counter()

    def ask(self, call: ProtoId, now_s: float) -> str | None:
        """A request came: None when it is within its quota, else what to say."""
        name = call.name.lower()
        for window in self._measured.setdefault(name, tuple(Window(size_s) for size_s in _MEASURED_S)):
            window.add(now_s)
        if call not in QUOTAS:
            return None
        requests_max, window_s = QUOTAS[call]
        allowed = self._allowed[call]
        if not allowed.fits(requests_max, now_s):
            self.refused[name] += 1
            return f"too frequent: at most {requests_max} requests in {window_s:.0f} seconds"
        allowed.add(now_s)
        return None

    def report(self) -> dict[str, dict[str, int]]:
        """The most requests in any second and any 30 seconds, and how many were refused, of each call."""
        return {
            name: {f"most_in_{window.size_s:.0f}_s": window.most for window in windows}
            | {"refused": self.refused[name]}
            for name, windows in self._measured.items()
        }
