"""When to ask for what must be asked for: spread evenly, and fairly where the quota does not allow all.

Each target has its own place in its interval, so that equal intervals spread evenly and come back
into place after any delay. Polls pause while the target's market is closed. Each target is owed a poll
at the start and one after each close; some are asked for at those times only. No socket, no clock.

Rule 1: what is owed goes before what is merely due, oldest first; but of targets that are asked only then
each takes the turn of one that did not change, as nobody waits for the lines of a year.
Rule 2: where more is due than the quota allows, requests go out evenly spaced, and targets that
changed or traded since they were last asked go first, oldest first, but for every `IDLE_TURN`-th request,
which goes to the others. So of n targets of a call none waits longer than IDLE_TURN * n requests take
beyond what is owed; one that keeps changing waits for at most IDLE_TURN / (IDLE_TURN - 1) * n.
Rule 3: a request costs O(log n), a tick nothing: whether targets traded is looked at now and then.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic

from ingest.market_hours import Part
from ingest.market_watch import MarketWatch
from ingest.poll_queues import Entry, Item, Queue, Queues, Target, Wish, drop_head, head, is_due, top
from ingest.rate_limiter import Quota

IDLE_TURN = 4
LOOK_FOR_TRADES_NS = 10_000_000_000
FAILURES_MAX = 3
"""What was owed is asked so many times again when its requests fail, and then no sooner than anything else."""
_REFUSALS_DOUBLED_MAX = 6
"""A target that is refused again and again is asked ever more rarely, down to 1 in 64."""
_FAR_S = 3600.0


@dataclass(slots=True)
class _Call(Generic[Target]):
    requests: int
    spacing_ns: int
    markets: dict[int, Queues[Target]] = field(default_factory=dict)
    owed: int = 0
    paced_ns: int = 0
    """When the next request may go out, where they go out evenly spaced."""
    active_turns: int = 0
    """Requests for active targets since one for an idle one, while one waited."""
    chosen: tuple[Item[Target], Queue[Target]] | None = None
    """What `next` gave, and the queue that it heads."""
    crowded: bool = False
    """Whether open markets want more than the quota allows."""


class PollSchedule(Generic[Target]):
    """All polls of one gateway.

    Parameters
    ----------
    quotas : of each call, by its number
    watches : each market's; one that is not named is always open
    traded : a number that changes when the target's symbol trades
    """

    def __init__(
        self,
        quotas: Mapping[int, Quota],
        watches: Mapping[int, MarketWatch],
        traded: Callable[[Target], int],
    ) -> None:
        self._watches = watches
        self._traded = traded
        self._entries: dict[Target, Entry[Target]] = {}
        self._calls: dict[int, _Call[Target]] = {
            call: _Call(quota.requests, int(quota.spacing_s * 1e9)) for call, quota in quotas.items()
        }
        self._parts: dict[int, Part] = {}
        self._numbers = itertools.count()
        self._look_ns = 0
        self._trades_ns = 0

    @property
    def parts(self) -> Mapping[int, Part]:
        """Of the day of each market that has targets, as last looked at."""
        return self._parts

    def want(self, wishes: Mapping[Target, Wish], now_ns: int) -> None:
        """Ask for these and no others; those that are new are owed a poll."""
        for target in [target for target, entry in self._entries.items() if wishes.get(target) != entry.wish]:
            self._forget(self._entries.pop(target))
        for target, wish in wishes.items():
            if target not in self._entries:
                entry = self._entries[target] = Entry(target, wish, next(self._numbers), now_ns)
                self._parts.setdefault(wish.market, Part.CLOSED)
                self._owe(entry, now_ns)
        self._look_ns = now_ns  # what is crowded may have changed
        self._measure()

    def look(self, now_ns: int, unix_s: float) -> None:
        """See which markets trade; cheap when called again soon."""
        if now_ns < self._look_ns:
            return
        seen = {market: self._watches[market].look(unix_s) for market in self._parts if market in self._watches}
        self._look_ns = now_ns + int(min((each.look_at_s - unix_s for each in seen.values()), default=_FAR_S) * 1e9)
        for market, before in self._parts.items():
            part = seen[market].part if market in seen else Part.OPEN
            if part is not before:
                self._parts[market] = part
                self._measure()
                if part is Part.OPEN:
                    self._open(market, now_ns)
        for market in (market for market, each in seen.items() if each.final):
            for entry in self._entries.values():
                if entry.wish.market == market:
                    self._owe(entry, now_ns)
        if now_ns >= self._trades_ns:
            self._trades_ns = now_ns + LOOK_FOR_TRADES_NS
            self._promote()

    def next(self, call: int, now_ns: int) -> Target | None:
        """What to ask of this call now, if anything."""
        state = self._calls[call]
        if now_ns < state.paced_ns:
            return None
        state.chosen = self._choose(state, now_ns)
        return state.chosen[0][3].target if state.chosen is not None else None

    def next_ns(self, call: int) -> int | None:
        """When `next` may have something, if nothing else happens; in the past when at once."""
        state = self._calls[call]
        dues_ns = [
            queue[0][0]
            for queues in state.markets.values()
            for queue in (top(queues.owed), top(queues.owed_at_leisure))
            if queue
        ]
        for market, queues in state.markets.items():
            if self._parts[market] is Part.OPEN:
                dues_ns += [heap[0][0] for heap in (top(queues.active), top(queues.idle)) if heap]
        return max(min(dues_ns), state.paced_ns) if dues_ns else None

    def look_ns(self) -> int:
        """When to `look` at the latest."""
        return self._look_ns

    def asked(self, target: Target, now_ns: int) -> None:
        """What `next` gave last was asked; tell `ended`, `failed` or `lost`."""
        entry = self._entries[target]
        state = self._calls[entry.wish.call]
        assert state.chosen is not None, "nothing was next"
        assert state.chosen[0][3] is entry, "not what was next"
        queue, state.chosen = state.chosen[1], None
        drop_head(queue)
        if entry.owed:
            state.owed -= 1
        if not entry.owed or entry.wish.only_at_close:
            takes_turn = entry.active and not entry.owed
            state.active_turns = state.active_turns + 1 if takes_turn and self._idle(state, now_ns) else 0
        entry.was_owed, entry.owed, entry.asked = entry.owed, False, True
        entry.traded = self._traded(target)
        if state.crowded or state.owed > state.requests:
            state.paced_ns = max(state.paced_ns, now_ns - state.spacing_ns) + state.spacing_ns

    def ended(self, target: Target, now_ns: int, *, changed: bool = False, refused: bool = False) -> None:
        """The request was answered, with something new or not, or was refused.

        A gateway refuses for good, a symbol that has no such data, or just now: what was owed is asked
        a second time, once.
        """
        if (entry := self._entries.get(target)) is None or not entry.asked:
            return
        entry.asked = False
        entry.failures = 0
        entry.refusals = min(entry.refusals + 1, _REFUSALS_DOUBLED_MAX) if refused else 0
        entry.owed = entry.owed or (entry.was_owed and entry.refusals == 1)
        entry.active = changed or self._traded(target) != entry.traded
        if entry.owed:
            entry.owed = False
            self._owe(entry, now_ns)
        elif not entry.wish.only_at_close:
            self._push(entry, entry.place_ns(now_ns + ((1 << entry.refusals) - 1) * entry.interval_ns))

    def failed(self, target: Target, now_ns: int) -> None:
        """The request came to nothing: its answer is late, or cannot be read, or there was no room for it."""
        if (entry := self._entries.get(target)) is None or not entry.asked:
            return
        if entry.was_owed and entry.failures < FAILURES_MAX:
            entry.failures += 1
            self.lost(target, now_ns)
        else:
            self.ended(target, now_ns)

    def lost(self, target: Target, now_ns: int) -> None:
        """The request got no answer and never will: the target is owed one."""
        if (entry := self._entries.get(target)) is not None and entry.asked:
            entry.asked = entry.owed = False
            self._owe(entry, now_ns)

    def _owe(self, entry: Entry[Target], now_ns: int) -> None:
        """Ask it at the next opportunity; again, if it is being asked."""
        if not entry.asked and not entry.owed:
            state = self._calls[entry.wish.call]
            entry.moves += 1
            entry.due_ns = now_ns
            queues = self._queues(entry)
            owed = queues.owed_at_leisure if entry.wish.only_at_close else queues.owed
            owed.append((now_ns, entry.number, entry.moves, entry))
            state.owed += 1
        entry.owed = True

    def _push(self, entry: Entry[Target], due_ns: int) -> None:
        entry.due_ns = due_ns
        entry.moves += 1
        queues = self._queues(entry)
        heapq.heappush(queues.active if entry.active else queues.idle, (due_ns, entry.number, entry.moves, entry))

    def _forget(self, entry: Entry[Target]) -> None:
        entry.moves += 1
        if entry.owed and not entry.asked:
            self._calls[entry.wish.call].owed -= 1
        entry.asked = False

    def _queues(self, entry: Entry[Target]) -> Queues[Target]:
        return self._calls[entry.wish.call].markets.setdefault(entry.wish.market, Queues())

    def _open_queues(self, state: _Call[Target]) -> Iterator[Queues[Target]]:
        return (queues for market, queues in state.markets.items() if self._parts[market] is Part.OPEN)

    def _choose(self, state: _Call[Target], now_ns: int) -> tuple[Item[Target], Queue[Target]] | None:
        """The item to ask now and the queue that it heads (rules 1 and 2)."""
        if owed := [queues.owed for queues in state.markets.values() if top(queues.owed)]:
            oldest = min(owed, key=head)
            return oldest[0], oldest
        heaps = [queues.active for queues in self._open_queues(state) if is_due(top(queues.active), now_ns)]
        active: Queue[Target] | None = min(heaps, key=head, default=None)
        idle = self._idle(state, now_ns)
        chosen = idle if active is None or (idle and state.active_turns >= IDLE_TURN - 1) else active
        return (chosen[0], chosen) if chosen else None

    def _idle(self, state: _Call[Target], now_ns: int) -> Queue[Target] | None:
        """The queue with the oldest of what takes the turn of idle targets."""
        waiting: list[Queue[Target]] = [
            queues.owed_at_leisure for queues in state.markets.values() if top(queues.owed_at_leisure)
        ]
        waiting += [queues.idle for queues in self._open_queues(state) if is_due(top(queues.idle), now_ns)]
        return min(waiting, key=head, default=None)

    def _measure(self) -> None:
        """Find out where open markets want more than the quota allows."""
        wanted: defaultdict[int, float] = defaultdict(float)
        for entry in self._entries.values():
            if not entry.wish.only_at_close and self._parts[entry.wish.market] is Part.OPEN:
                wanted[entry.wish.call] += 1 / entry.wish.interval_s
        for call, state in self._calls.items():
            state.crowded = wanted[call] * state.spacing_ns > 1e9

    def _open(self, market: int, now_ns: int) -> None:
        """Trading begins: what became due while it was closed spreads over the interval from here."""
        for call, state in self._calls.items():
            if state.crowded or market not in state.markets:
                continue  # evenly spaced anyhow, oldest first
            for entry in self._entries.values():
                waits = not (entry.owed or entry.asked or entry.wish.only_at_close)
                if waits and (entry.wish.call, entry.wish.market) == (call, market) and entry.due_ns < now_ns:
                    self._push(entry, entry.place_ns(now_ns))

    def _promote(self) -> None:
        """Idle targets whose symbols have traded since they were asked go among the active ones."""
        for state in self._calls.values():
            for queues in self._open_queues(state) if state.crowded else ():
                for _, _, moves, entry in tuple(queues.idle):
                    if moves == entry.moves and self._traded(entry.target) != entry.traded:
                        entry.active = True
                        self._push(entry, entry.due_ns)
