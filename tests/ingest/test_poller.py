"""What may go out of what is due: quotas, answers that are late or lost, and frequency errors."""

from __future__ import annotations

import bisect
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.opend.protocol import ProtoId
from ingest.opend.poll_plan import PollConfig, poll_wishes, possible_periods
from ingest.opend.poller import BACKOFF_S_MAX, IN_FLIGHT_MAX, LATE_NS, QUOTAS, Poller, PollTarget, is_frequency_error
from ingest.poll_schedule import PollSchedule
from ingest.quotas import Clocks, QuotaBook

SECOND = 10**9
LOGIN = 10_000_001
FLOW, ARK = ProtoId.GET_CAPITAL_FLOW, ProtoId.GET_ARK_STOCK_DYNAMIC


class Polling:
    """A poller with a session, in simulated time."""

    def __init__(self, symbols: int = 30, feeds: tuple[str, ...] = ("capital_flow",)) -> None:
        names = tuple(f"HK.{code:05}" for code in range(1, symbols + 1))
        wishes = poll_wishes([PollConfig(feed, names, 60.0) for feed in feeds], by_calendar=False)
        self.book = QuotaBook(QUOTAS)
        schedule = PollSchedule[PollTarget]({call: of[0] for call, of in QUOTAS.items()}, {}, lambda target: 0)
        self.poller = Poller(schedule, random.Random(1))
        self.poller.want(wishes, 0)
        self.now_ns = 0
        self.serial = 0
        self.sent: list[PollTarget] = []

    def connect(self) -> None:
        self.quotas = self.book.of(LOGIN, 1.0, self.now_ns)
        self.poller.connected(self.quotas, self.now_ns)
        self.grant()

    def grant(self) -> None:
        self.book.pledge(Clocks(self.now_ns, self.now_ns, "boot"))
        self.book.grant()
        self.poller.granted()

    def send(self) -> list[tuple[int, PollTarget]]:
        """All that may go out now."""
        sent = []
        while (target := self.poller.next_target(self.now_ns, self.now_ns / SECOND)) is not None:
            self.serial += 1
            self.poller.sent(target, self.serial, self.now_ns)
            sent.append((self.serial, target))
        self.sent += [target for _, target in sent]
        return sent

    def run(self, seconds: float) -> None:
        """Every request is answered at once."""
        stop_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < stop_ns:
            for serial, target in self.send():
                assert self.poller.replied(serial, self.now_ns) == target
                self.poller.ended(target, self.now_ns)
                self.grant()
            deadline_ns = self.poller.deadline_ns()
            assert deadline_ns is not None
            self.now_ns = max(self.now_ns + 1, min(deadline_ns, stop_ns))


def test_a_few_requests_at_a_time_and_within_the_quota() -> None:
    polling = Polling()
    polling.connect()
    assert len(polling.send()) == IN_FLIGHT_MAX
    assert polling.poller.deadline_ns() is None
    for serial in range(1, 5):
        polling.poller.replied(serial, 0)
    polling.run(29.9)
    assert len(polling.sent) == 30


def test_nothing_goes_out_without_a_grant_or_a_session() -> None:
    polling = Polling()
    assert polling.send() == []
    polling.poller.connected(polling.book.of(LOGIN, 1.0, 0), 0)
    assert polling.send() == []
    polling.grant()
    assert len(polling.send()) == IN_FLIGHT_MAX


def test_what_was_on_its_way_when_the_session_ended_is_asked_again_and_counts_until_the_next() -> None:
    polling = Polling()
    polling.connect()
    lost = {target for _, target in polling.send()}
    polling.poller.disconnected(0)
    assert polling.quotas.calls[FLOW].limiter.in_flight == IN_FLIGHT_MAX
    polling.now_ns = 60 * SECOND
    polling.connect()
    limiter = polling.quotas.calls[FLOW].limiter
    assert limiter.in_flight == 0
    assert limiter.ended_ns(polling.now_ns) == [polling.now_ns] * IN_FLIGHT_MAX
    polling.run(60)
    assert lost <= set(polling.sent[IN_FLIGHT_MAX:])


def test_a_late_answer_keeps_its_place_in_the_window() -> None:
    polling = Polling(symbols=1)
    polling.connect()
    [(serial, _)] = polling.send()
    limiter = polling.quotas.calls[FLOW].limiter
    polling.poller.failed(serial, 12 * SECOND, timed_out=True)
    assert limiter.in_flight == 1
    polling.now_ns = 12 * SECOND + LATE_NS
    polling.send()
    assert limiter.ended_ns(polling.now_ns) == [polling.now_ns]


def test_a_frequency_error_waits_ever_longer_for_its_call_alone() -> None:
    polling = Polling(symbols=1, feeds=("capital_flow", "ark_dynamic"))
    polling.connect()
    [flow, ark] = [target for _, target in polling.send()]
    assert (flow.proto_id, ark.proto_id) == (FLOW, ARK)
    ceilings_s = [5, 10, 20, 40, 80, 120, 120]
    for serial, ceiling_s in enumerate(ceilings_s, start=1):
        polling.poller.replied(serial if serial == 1 else polling.serial, polling.now_ns)
        delay_s = polling.poller.too_frequent(flow, polling.now_ns)
        assert ceiling_s / 2 <= delay_s <= ceiling_s
        assert flow not in [target for _, target in polling.send()]
        if serial == 1:
            polling.poller.replied(2, polling.now_ns)
            polling.poller.ended(ark, polling.now_ns)
        polling.now_ns += int(delay_s * SECOND) + 1
        polling.grant()
        sent = {target: number for number, target in polling.send()}
        assert flow in sent, "owed as soon as the wait is over"
        for target, number in sent.items():
            if target is not flow:
                polling.poller.replied(number, polling.now_ns)
                polling.poller.ended(target, polling.now_ns)
        polling.serial = sent[flow]
    assert ceilings_s[-1] == BACKOFF_S_MAX


def test_a_calm_minute_ends_the_growth() -> None:
    polling = Polling(symbols=1)
    polling.connect()
    for at_s in (0, 130, 400):
        polling.now_ns = at_s * SECOND
        polling.grant()
        [(serial, target)] = polling.send()
        polling.poller.replied(serial, polling.now_ns)
        assert polling.poller.too_frequent(target, polling.now_ns) <= 5


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("获取资金流向频率太高，请求失败，每30秒最多30次。", True),
        ("Request too frequent, please try again later", True),
        ("too frequent: at most 30 requests in 30 seconds", True),
        ("unknown stock HK.00000", False),
        ("", False),
    ],
)
def test_what_a_frequency_error_says(text: str, is_one: bool) -> None:
    assert is_frequency_error(text) is is_one


def test_lines_of_days_are_asked_at_the_close_only() -> None:
    config = PollConfig("capital_flow", ("HK.00700",), 60.0, ("intraday", "day", "month"))
    at_close = [wish.only_at_close for wish in poll_wishes([config], by_calendar=True).values()]
    assert at_close == [False, True, True]
    assert not any(wish.only_at_close for wish in poll_wishes([config], by_calendar=False).values())


def test_the_period_that_is_possible_is_told() -> None:
    names = tuple(f"HK.{code:05}" for code in range(1, 501))
    wishes = poll_wishes([PollConfig("capital_flow", names, 60.0, ("intraday", "day"))], by_calendar=True)
    [possible] = possible_periods(wishes, 1.0, by_calendar=True)
    assert possible.period_s == 500
    targets = "500 targets every 500 s rather than 60 s, 500 after each close, within 500 s"
    assert str(possible) == f"capital_flow: {targets} (30 requests in 30 s)"
    [possible] = possible_periods(wishes, 0.5, by_calendar=True)
    assert possible.period_s == 1000


def test_markets_that_do_not_trade_together_do_not_share_the_period() -> None:
    names = tuple(f"{market}.{code:05}" for market in ("HK", "US") for code in range(1, 101))
    wishes = poll_wishes([PollConfig("capital_flow", names, 60.0)], by_calendar=True)
    assert possible_periods(wishes, 1.0, by_calendar=True)[0].period_s == 100
    assert possible_periods(wishes, 1.0, by_calendar=False)[0].period_s == 200


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0, 0.3), st.floats(0, 0.05), st.sampled_from([0.01, 1.0, 8.0]))
def test_the_gateway_never_counts_too_many(seed: int, unanswered: float, broken: float, slow_s: float) -> None:
    """Whenever it counts: between the request and its answer, or later when there is none, as one that hangs does,
    but before it answers a new connection."""
    rng = random.Random(seed)
    polling = Polling(symbols=90, feeds=("capital_flow", "ark_dynamic"))
    poller = polling.poller
    counted_s: dict[ProtoId, list[float]] = {FLOW: [], ARK: []}
    late: list[tuple[ProtoId, float]] = []
    waiting: dict[int, tuple[PollTarget, float, float | None]] = {}
    polling.connect()
    for step in range(1, 1000):  # not quite two minutes
        now_s = step * 0.1
        polling.now_ns = int(now_s * SECOND)
        for serial, (target, sent_s, answer_s) in list(waiting.items()):
            if answer_s is not None and answer_s <= now_s:
                counted_s[target.proto_id].append(rng.choice([sent_s, now_s, rng.uniform(sent_s, now_s)]))
                poller.replied(serial, polling.now_ns)
                poller.ended(target, polling.now_ns, changed=rng.random() < 0.5)
                del waiting[serial]
            elif answer_s is None and now_s - sent_s >= 12:
                late.append((target.proto_id, rng.choice([sent_s, now_s, now_s + rng.uniform(0, LATE_NS / SECOND)])))
                poller.failed(serial, polling.now_ns, timed_out=True)
                del waiting[serial]
        if rng.random() < broken:
            poller.disconnected(polling.now_ns)
            for target, sent_s, _ in waiting.values():
                counted_s[target.proto_id].append(rng.choice([sent_s, now_s]))
            waiting.clear()
            late = [(call, min(at_s, now_s)) for call, at_s in late]
            polling.connect()
        if polling.book.wants_grants:
            polling.grant()
        for serial, target in polling.send():
            answered = rng.random() >= unanswered
            waiting[serial] = target, now_s, now_s + rng.uniform(0, slow_s) if answered else None
    for call, counted in counted_s.items():
        ordered = sorted([*counted, *(at_s for of, at_s in late if of is call)])
        for quota in QUOTAS[call]:
            windows = [bisect.bisect_left(ordered, at + quota.window_s) - i for i, at in enumerate(ordered)]
            assert max(windows, default=0) <= quota.requests
