"""Names: each symbol asked for once, every day again, and a culprit alone gives up."""

from __future__ import annotations

from codec.markets import HK
from ingest.opend.names import AGAIN_NS, LATER_NS, SYMBOLS_MAX, Names
from ingest.opend.requests import Security
from protos.opend import static_info_pb2


def hk(count: int) -> list[Security]:
    return [(HK, f"{number:05}") for number in range(count)]


class Line:
    """Asks and answers; culprits are refused with whom they are named."""

    def __init__(self, *culprits: Security) -> None:
        self.names = Names()
        self.culprits = set(culprits)
        self.silent: set[Security] = set()
        self.asked: list[tuple[Security, ...]] = []
        self._serial = 0

    def run(self, now_ns: int) -> None:
        while (request := self.names.next_request(now_ns)) is not None:
            assert self.names.next_request(now_ns) is None, "one at a time"
            assert isinstance(request.message, static_info_pb2.GetStaticInfoRequest)
            named = [(each.market, each.code) for each in request.message.c2s.securityList]
            assert tuple(named) == request.ticket.securities
            self.asked.append(tuple(named))
            self._serial += 1
            self.names.sent(self._serial)
            if self.culprits.intersection(named):
                self.names.failed(self._serial, now_ns, says_nothing=False)
            else:
                assert self.names.ended(self._serial, now_ns, set(named) - self.silent)


def test_every_symbol_is_asked_for_in_batches_and_a_day_later_again() -> None:
    line = Line()
    line.names.want(hk(SYMBOLS_MAX + 5), 7)
    assert line.names.deadline_ns() == 7
    line.run(7)
    assert list(map(len, line.asked)) == [SYMBOLS_MAX, 5]
    line.names.want(hk(3), 8)
    line.run(8)
    assert len(line.asked) == 2, "they are known"
    assert line.names.deadline_ns() == 7 + AGAIN_NS
    line.run(7 + AGAIN_NS)
    assert len(line.asked) == 4


def test_a_culprit_alone_gives_up_for_the_day() -> None:
    culprit = hk(8)[5]
    line = Line(culprit)
    line.names.want(hk(8), 0)
    line.run(0)
    assert line.asked[-1] == tuple(hk(8)[6:])
    assert (culprit,) in line.asked
    assert line.names.deadline_ns() == AGAIN_NS


def test_a_request_without_an_answer_is_made_again_a_minute_later_and_a_lost_one_at_once() -> None:
    names = Names()
    names.want(hk(1), 0)
    assert names.next_request(0) is not None
    names.sent(1)
    names.failed(1, 0, says_nothing=True)
    assert names.next_request(0) is None
    assert names.deadline_ns() == LATER_NS
    assert names.next_request(LATER_NS) is not None
    names.sent(2)
    names.connection_ended()
    assert names.next_request(LATER_NS) is not None
    assert not names.ended(2, LATER_NS, ())


def test_what_is_not_wanted_any_more_is_not_asked_for() -> None:
    line = Line()
    line.names.want(hk(2), 0)
    line.names.forget(hk(1))
    line.run(0)
    assert line.asked == [tuple(hk(2)[1:])]


def test_what_is_refused_or_left_out_is_named_by_its_pull_once() -> None:
    refused, left_out, known = hk(3)
    line = Line(refused)
    line.silent = {left_out}
    line.names.want(hk(3), 0)
    line.run(0)
    assert sorted(line.names.take_nameless()) == [refused, left_out]
    assert line.names.take_nameless() == []
    assert [line.names.lacks(each) for each in hk(3)] == [True, True, False]
    line.names.told_by_pull(refused)
    assert not line.names.lacks(refused)
    line.silent = {known}
    line.run(AGAIN_NS)
    assert line.names.take_nameless() == [known], "the others are pulled already, or told"
    assert not line.names.lacks(left_out), "it was named after all"
    line.names.forget([known])
    assert not line.names.lacks(known)
