"""In no window of the gateway's more requests than its quota, whatever happens to us and to clocks."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.quotas import GRANT_REQUESTS, CallQuota, Clocks, QuotaBook, UnreadableQuotas
from ingest.rate_limiter import MARGIN_NS, Quota, RateLimiter

SECOND = 10**9
CALL, LOGIN = 3211, 10_000_001
REQUESTS, BURST = 30, 10
QUOTAS = {CALL: (Quota(REQUESTS, 30), Quota(BURST, 1))}


def worst(times_ns: Iterable[int], window_s: float) -> int:
    """The most requests in any window that holds its beginning and not its end."""
    ordered = sorted(times_ns)
    return max(
        (sum(begin <= at < begin + window_s * SECOND for at in ordered) for begin in ordered),
        default=0,
    )


class World:
    """A gateway that counts, and a process of ours that is killed and started again.

    Attributes
    ----------
    counted_ns : true time at which the gateway counted each request
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.true_ns = 1_000 * SECOND
        self.boot, self.boot_ns = "boot-0", 0
        self.wall_offset_ns = 1_795_000_000 * SECOND
        self.kept: bytes | None = None
        self.counted_ns: list[int] = []
        self.start()

    def clocks(self) -> Clocks:
        return Clocks(self.true_ns - self.boot_ns, self.true_ns + self.wall_offset_ns, self.boot)

    @property
    def now_ns(self) -> int:
        return self.true_ns - self.boot_ns

    @property
    def call(self) -> CallQuota:
        return self.book.of(LOGIN, 1.0, self.now_ns).calls[CALL]

    def start(self) -> None:
        self.on_the_way: list[int] = []
        self.saving: bytes | None = None
        self.met = False
        self.book = QuotaBook(QUOTAS)
        if self.kept is not None:
            self.book.restore(self.kept, self.clocks())

    def do(self, what: str, amount: float) -> None:
        match what:
            case "wait":
                self.true_ns += int(amount * SECOND)
            case "connect":
                self.met = True
                assert self.call
            case "send":
                self.send()
            case "answer":
                self.answer()
            case "pledge" if self.met:
                self.saving = self.book.pledge(self.clocks())
            case "saved" if self.saving is not None:
                self.kept, self.saving = self.saving, None
                self.book.grant()
            case "stop":
                self.count_all()
                while self.call.limiter.in_flight:
                    self.call.limiter.ended(self.now_ns)
                self.kept = self.book.pledge(self.clocks(), last=True)
                self.start()
            case "kill" | "kill after the write":
                if what != "kill" and self.saving is not None:
                    self.kept = self.saving
                self.true_ns += int(amount * SECOND)
                self.count_all()
                self.start()
            case "reboot":
                self.boot, self.boot_ns = f"boot-{self.true_ns}", self.true_ns - int(amount * SECOND)
                self.count_all()
                self.start()

    def send(self) -> None:
        """As many as may be."""
        while self.met:
            ready_ns = self.call.ready_ns()
            if ready_ns is None or ready_ns > self.now_ns:
                return
            self.call.sent(self.now_ns)
            self.on_the_way.append(self.true_ns)

    def answer(self) -> None:
        if self.on_the_way:
            sent_ns = self.on_the_way.pop(self.rng.randrange(len(self.on_the_way)))
            self.counted_ns.append(self.rng.choice([sent_ns, self.true_ns, self.rng.randint(sent_ns, self.true_ns)]))
            self.call.limiter.ended(self.now_ns)

    def count_all(self) -> None:
        """What is on its way reaches the gateway before anything of the next process does."""
        self.counted_ns += [self.rng.choice([sent_ns, self.true_ns]) for sent_ns in self.on_the_way]
        self.on_the_way.clear()


LIVES = ["live", "live slowly", "live, barely writing"]
DEATHS = ["stop", "kill", "kill after the write", "reboot"]


def live(world: World, how: str, seconds: float) -> None:
    """Send whatever may be sent for so long, answered at once or late, kept at once or late."""
    world.do("connect", 0)
    for _ in range(int(seconds * 5) + 1):
        if world.saving is None and world.book.wants_grants:
            world.do("pledge", 0)
        if how != "live, barely writing" or world.rng.random() < 0.1:
            world.do("saved", 0)
        world.do("send", 0)
        while world.on_the_way and (how != "live slowly" or world.rng.random() < 0.1):
            world.do("answer", 0)
            if how == "live slowly":
                break
        world.do("wait", 0.2)


lifetimes = st.lists(
    st.tuples(
        st.sampled_from(LIVES),
        st.sampled_from([0.0, 1.0, 5.0, 20.0, 29.9, 40.0]),
        st.sampled_from([-3600.0, 0.0, 0.0, 15.0, 3600.0]),
        st.sampled_from(DEATHS),
        st.sampled_from([0.0, 1.0, 10.0, 29.0]),
    ),
    min_size=2,
    max_size=5,
)


@settings(deadline=None, max_examples=200)
@given(lifetimes, st.integers(0, 1000))
def test_no_window_of_the_gateways_holds_more_than_the_quota(
    lives: list[tuple[str, float, float, str, float]], seed: int
) -> None:
    world = World(seed)
    for how, seconds, step_s, death, pause_s in lives:
        live(world, how, seconds)
        world.wall_offset_ns += int(step_s * SECOND)
        world.do(death, pause_s)
    world.count_all()
    assert worst(world.counted_ns, 30) <= REQUESTS
    assert worst(world.counted_ns, 1) <= BURST


def test_the_whole_quota_is_used() -> None:
    world = World(1)
    for _ in range(600):  # a minute
        for what in ("connect", "pledge", "saved", "send", "answer", "answer"):
            world.do(what, 0)
        world.do("wait", 0.1)
    assert len(world.counted_ns) == 2 * REQUESTS


def _with_sent(world: World, requests: int) -> World:
    for what in ("connect", "pledge", "saved"):
        world.do(what, 0)
    for _ in range(requests):
        assert world.call.ready_ns() is not None
        world.call.sent(world.now_ns)
        world.on_the_way.append(world.true_ns)
        world.do("answer", 0)
        world.do("wait", 1.1)
    return world


def test_a_clean_restart_knows_exactly_what_was_sent() -> None:
    world = _with_sent(World(1), 3)
    world.do("stop", 0)
    limiter = world.call.limiter
    assert limiter.in_flight == 0
    ages_ns = [world.now_ns - at_ns for at_ns in limiter.ended_ns(world.now_ns)]
    assert ages_ns == pytest.approx([3.3 * SECOND, 2.2 * SECOND, 1.1 * SECOND])


def test_after_a_kill_what_was_granted_counts_as_sent() -> None:
    world = _with_sent(World(1), 3)
    world.do("kill", 0)
    world.do("connect", 0)
    assert len(world.call.limiter.ended_ns(world.now_ns)) == GRANT_REQUESTS


def test_nothing_goes_out_before_it_is_written_down() -> None:
    world = World(1)
    world.do("connect", 0)
    world.do("send", 0)
    world.do("pledge", 0)
    world.do("send", 0)
    assert world.on_the_way == []
    world.do("saved", 0)
    world.do("send", 0)
    assert len(world.on_the_way) == BURST


def test_what_goes_out_while_a_block_is_written_is_taken_off_it() -> None:
    world = World(1)
    for what in ("connect", "pledge", "saved", "wait", "pledge"):
        world.do(what, 1)
    world.do("send", 0)
    world.do("saved", 0)
    assert world.call.granted == GRANT_REQUESTS - BURST


def test_gateways_of_one_login_share_its_window_and_the_least_share_counts() -> None:
    book = QuotaBook({CALL: (Quota(30, 30),)})
    one, other = book.of(LOGIN, 1.0, 0), book.of(LOGIN, 0.1, 0)
    assert one.calls[CALL] is other.calls[CALL]
    assert one.calls[CALL].limiter.quotas == (Quota(3, 30),)
    assert book.of(LOGIN, 0.5, 0).calls[CALL].limiter.quotas == (Quota(3, 30),)
    assert book.of(LOGIN + 1, 0.5, 0).calls[CALL].limiter.quotas == (Quota(15, 30),)


def test_a_share_that_shrinks_while_a_block_is_written_takes_it_back() -> None:
    book = QuotaBook({CALL: (Quota(30, 30), Quota(10, 1))})
    clocks = Clocks(0, 0, "boot")
    call = book.of(LOGIN, 1.0, 0).calls[CALL]
    book.pledge(clocks)
    book.grant()
    book.of(LOGIN, 0.1, 0)
    book.pledge(clocks)
    book.grant()
    assert call.granted == 3


@pytest.mark.parametrize(
    "kept", [b"", b"\xff", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "boot": 3, "logins": [1]}']
)
def test_what_cannot_be_read_is_said(kept: bytes) -> None:
    with pytest.raises(UnreadableQuotas):
        QuotaBook(QUOTAS).restore(kept, Clocks(0, 0, "boot"))


def test_a_request_without_an_answer_stays_in_use() -> None:
    limiter = RateLimiter(Quota(1, 30))
    limiter.sent(0)
    assert limiter.ready_ns() is None
    limiter.ended(100 * SECOND)
    assert limiter.ready_ns() == 130 * SECOND + MARGIN_NS
