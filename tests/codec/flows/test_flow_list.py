"""The capital-flow list: each line of the page's two tables, and the vendor's sample."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.arrow import batch_of_rows, rows_of_batch
from codec.clock import MarketClock
from codec.flow_list import (
    ENTRIES_MAX,
    NESTING_MAX,
    DeadBatch,
    FlowList,
    FlowListDecoder,
    ListRefused,
    Reaction,
)
from codec.flow_list_entry import NUMBERS, Notice
from codec.tables import CAPITAL_FLOW_SUMMARY
from tests.codec import strategies as drawn
from tests.codec.examples import examples

CLOCK = MarketClock()
EVENT_US = 1_710_900_000_000_000
RECV_NS = EVENT_US * 1000 + 86_400_000_000_000
"""A day later: what New York's clocks show as the sample's time has passed."""
SYMBOL = "HK.00700"
SAMPLE_VALUES = {
    "main": (1000000, 0.5),
    "retail": (500000, 0.3),
    "super": (2000000, 0.7),
    "large": (1500000, 0.6),
    "medium": (800000, 0.4),
    "small": (300000, 0.2),
}
ENTRY: dict[str, Any] = {"code": SYMBOL, "update_time": "2024-03-20 10:00:00"}
for _size, (_amount, _ratio) in SAMPLE_VALUES.items():
    ENTRY |= {f"{_size}_net_inflow": _amount, f"{_size}_net_inflow_ratio": _ratio}
ROW = {
    "source": "flow-list",
    "symbol": SYMBOL,
    "trade_date": 19802,
    "ts_event": EVENT_US,
    "ts_recv": RECV_NS,
    "gateway": "flows",
} | {name: float(ENTRY[name]) for name in NUMBERS}


def answer(*entries: object, **top: object) -> bytes:
    whole = {"ret_code": 0, "ret_msg": "SUCCESS", "data": {"capital_flow_list": list(entries)}} | top
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


class Reader:
    def __init__(self) -> None:
        self.decoder = FlowListDecoder(CLOCK, source="flow-list", gateway="flows")

    def read(self, body: bytes, asked: tuple[str, ...] = (SYMBOL,)) -> FlowList | ListRefused | DeadBatch:
        return self.decoder.decode(body, asked, RECV_NS)

    @property
    def notices(self) -> dict[Notice, int]:
        return {notice: count for notice, count in self.decoder.notices.items() if count}


def rows(body: bytes, *notices: Notice) -> list[dict[str, object]]:
    """The rows of an answer without dead ones, which is noticed for `notices`, once each."""
    reader = Reader()
    outcome = reader.read(body)
    assert isinstance(outcome, FlowList)
    assert outcome.dead == []
    assert reader.notices == dict.fromkeys(notices, 1)
    return outcome.rows


def row(change: dict[str, Any], *notices: Notice) -> dict[str, object]:
    """What becomes of the sample's entry with `change`; the value `...` takes a key out."""
    entry = {name: value for name, value in (ENTRY | change).items() if value is not ...}
    (found,) = rows(answer(entry), *notices)
    return found


def dead(entry: object) -> str:
    """The detail of a dead entry, which costs its neighbours nothing."""
    reader = Reader()
    outcome = reader.read(answer(ENTRY, entry, ENTRY | {"update_time": "2024-03-20 10:01:00"}))
    assert isinstance(outcome, FlowList)
    assert [found["ts_event"] for found in outcome.rows] == [EVENT_US, EVENT_US + 60_000_000]
    (letter,) = outcome.dead
    assert letter.detail.startswith("entry 1: ")
    assert letter.payload == json.dumps(entry, separators=(",", ":")).encode()
    return letter.detail


def dead_batch(body: bytes) -> str:
    outcome = Reader().read(body)
    assert isinstance(outcome, DeadBatch)
    assert outcome.reason == "undecodable"
    return outcome.detail


# --- the sample


def test_the_sample() -> None:
    assert rows(answer(ENTRY)) == [ROW]
    assert rows_of_batch(CAPITAL_FLOW_SUMMARY, batch_of_rows(CAPITAL_FLOW_SUMMARY, [ROW])) == [ROW]


def test_the_sample_is_the_pages() -> None:
    text = (Path(__file__).parents[3] / "docs/protocols/capital-flow-list.md").read_text(encoding="utf-8")
    table = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    printed = {cells[1].strip(): (cells[2].strip(), cells[3].strip()) for cells in table if len(cells) > 4}
    assert {size: (int(printed[size][0]), float(printed[size][1])) for size in SAMPLE_VALUES} == SAMPLE_VALUES


def test_keys_in_any_order() -> None:
    for seed in range(20):
        keys = list(ENTRY)
        random.Random(seed).shuffle(keys)
        assert rows(answer({name: ENTRY[name] for name in keys})) == [ROW]


def test_the_sample_cut_at_every_byte() -> None:
    body = answer(ENTRY)
    for end in range(len(body)):
        dead_batch(body[:end])


def test_a_thousand_entries_of_which_every_tenth_is_bad() -> None:
    entries: list[object] = [ENTRY | {"code": f"HK.{number:05d}"} for number in range(1000)]
    entries[::10] = [None] * 100
    outcome = Reader().read(answer(*entries))
    assert isinstance(outcome, FlowList)
    assert (len(outcome.rows), len(outcome.dead)) == (900, 100)


# --- the whole answer


_BAD_CODES: tuple[object, ...] = (
    *(None, True, False, "zero", "", "1e3", 0.5, [], {}),
    *(float("nan"), float("inf")),
)
_BAD_DATA: tuple[object, ...] = (
    *(..., None, "no data", [], [ENTRY], 5),
    *({}, {"capital_flow_list": None}, {"capital_flow_list": {}}),
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad gateway</body></html>",
        b"\xff\xfe{}",
        answer(ENTRY) + b"x",
        answer(ENTRY) + answer(ENTRY),
        b"[]",
        b"null",
        b'"text"',
        answer(ENTRY, ret_code=...),
        *(answer(ENTRY, ret_code=code) for code in _BAD_CODES),
        *(answer(data=data) for data in _BAD_DATA),
        b'{"ret_code": 0, "ret_msg": "\x01", "data": {"capital_flow_list": []}}',
    ],
)
def test_dead_batches(body: bytes) -> None:
    dead_batch(body)


def test_what_is_accepted_of_a_whole_answer() -> None:
    assert rows(answer(ENTRY) + b" \r\n\t") == [ROW]
    assert rows(b"\xef\xbb\xbf" + answer(ENTRY)) == [ROW]
    assert rows(answer(), Notice.MISSING) == []
    for code in ("0", 0.0, -0.0, "-0"):
        assert rows(answer(ENTRY, ret_code=code)) == [ROW]
    for message in (..., None, 5, "anything"):
        assert rows(answer(ENTRY, ret_msg=message)) == [ROW]


def test_a_text_in_place_of_data_is_kept_as_the_message() -> None:
    assert dead_batch(answer(data="quote connection lost")).endswith("quote connection lost")
    dead_batch(answer(data="\ud800 half a character")).encode()


def test_limits_of_a_whole_answer() -> None:
    decoder = FlowListDecoder(CLOCK, source="flow-list", gateway="flows", body_bytes_max=100)
    assert isinstance(decoder.decode(answer(), [], 0), FlowList)
    assert isinstance(decoder.decode(answer() + b" " * 100, [], 0), DeadBatch)
    assert "entries" in dead_batch(answer(*[0] * (ENTRIES_MAX + 1)))
    deep: object = 0
    for _ in range(NESTING_MAX - 1):
        deep = [deep]
    assert isinstance(Reader().read(answer(ENTRY, more=deep)), FlowList)
    assert "deep" in dead_batch(answer(ENTRY, more=[deep]))
    assert "deep" in dead_batch(b"[" * 3_000_000)
    assert "deep" in dead_batch(b'{"a":' * 500_000)
    assert "[" * 40 in json.dumps(rows(answer(ENTRY | {"note": "[" * 40}), Notice.UNKNOWN_KEY)) + "[" * 40
    # A string that never ends is looked at once, not once from each of its quotes.
    dead_batch(b'"' + b'\\"' * 1_000_000)


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        (1001, Reaction.PERMANENT),
        (1002, Reaction.SPLIT),
        (1016, Reaction.RETRY),
        ("1002", Reaction.SPLIT),
        (1001.0, Reaction.PERMANENT),
        (-1, Reaction.RETRY),
        (7, Reaction.RETRY),
        (10**40, Reaction.RETRY),
    ],
)
def test_the_servers_errors(code: object, reaction: Reaction) -> None:
    any_data: tuple[object, ...] = (..., None, "text", [], {"capital_flow_list": [ENTRY]})
    for data in any_data:
        outcome = Reader().read(answer(ret_code=code, ret_msg="SOME_NAME", data=data))
        assert isinstance(outcome, ListRefused)
        assert (outcome.ret_code, outcome.text, outcome.reaction) == (int(code), "SOME_NAME", reaction)  # type: ignore[call-overload]
    for message in (..., None, 5):
        outcome = Reader().read(answer(ret_code=code, ret_msg=message))
        assert isinstance(outcome, ListRefused)
        assert outcome.text == ""


def test_unknown_and_repeated_keys() -> None:
    reader = Reader()
    body = answer(
        ENTRY | {"currency": "HKD"}, data={"capital_flow_list": [ENTRY | {"currency": "HKD"}], "page": 1}, id=7
    )
    for _ in range(2):
        assert isinstance(reader.read(body), FlowList)
    assert reader.notices == {Notice.UNKNOWN_KEY: 3}, "once each"
    twice = answer(ENTRY).replace(b'"main_net_inflow": 1000000', b'"main_net_inflow": "x", "main_net_inflow": 2')
    assert rows(twice, Notice.REPEATED_KEY) == [ROW | {"main_net_inflow": 2.0}]


# --- one entry


@pytest.mark.parametrize("entry", [None, 5, "entry", [], True])
def test_an_entry_that_is_no_object(entry: object) -> None:
    dead(entry)


@pytest.mark.parametrize(
    "code",
    [
        *(None, 700, "", " ", "00700", "HK.", ".00700", ".", "XX.1", "SG.D05", "AAPL.US", "MARKET99.X"),
        *("HK.00\x01700", "HK.港", "HK.0 0", "HK.\ud800", "HK." + "1" * 65, "HK." + "1" * 5000, ["HK.00700"]),
    ],
)
def test_codes_that_name_no_symbol(code: object) -> None:
    dead(ENTRY | {"code": code})
    dead({name: value for name, value in ENTRY.items() if name != "code"})


@pytest.mark.parametrize(
    ("code", "symbol", "notices"),
    [
        ("US..DJI", "US..DJI", [Notice.NOT_ASKED_FOR, Notice.MISSING]),
        ("US.BRK.B", "US.BRK.B", [Notice.NOT_ASKED_FOR, Notice.MISSING]),
        (" HK.00700 ", SYMBOL, [Notice.CODE_SPELLING]),
        ("hk.700", SYMBOL, [Notice.CODE_SPELLING]),
        ("US.aapl", "US.aapl", [Notice.CODE_SPELLING, Notice.NOT_ASKED_FOR, Notice.MISSING]),
    ],
)
def test_spellings_of_codes(code: str, symbol: str, notices: list[Notice]) -> None:
    assert row({"code": code}, *notices)["symbol"] == symbol


@pytest.mark.parametrize(
    "time",
    [
        *(
            None,
            20240320,
            "",
            "2024-03-20",
            "10:00:00",
            "2024-03-20 10:00",
            "2024-02-30 10:00:00",
            "2024-03-20 24:00:00",
        ),
        *(
            "2024-03-20 10:00:60",
            "2024-3-20 10:00:00",
            "1970-01-01 00:00:00",
            "2100-01-02 00:00:00",
            "٢024-03-20 10:00:00",
        ),
        *(
            "2024-03-20 10:00:00+25:00",
            "2024-03-20 10:00:00+08:61",
            "2024-03-20 10:00:00 HKT",
            "2" * 5000,
            "2024-W12-3",
        ),
    ],
)
def test_times_that_cannot_be_read(time: object) -> None:
    dead(ENTRY | {"update_time": time})
    dead({name: value for name, value in ENTRY.items() if name != "update_time"})


@pytest.mark.parametrize(
    ("time", "event_us"),
    [
        ("2024-03-20 10:00:00.25", EVENT_US + 250_000),
        ("2024-03-20T10:00:00", EVENT_US),
        ("2024-03-20T02:00:00Z", EVENT_US),
        ("2024-03-20 10:00:00+08:00", EVENT_US),
        ("2024-03-19 22:00:00.000001-04:00", EVENT_US + 1),
        ("2024-03-20 05:00:00.123456789 +0300", EVENT_US + 123_456),
        (" 2024-03-20 10:00:00 ", EVENT_US),
    ],
)
def test_other_spellings_of_times(time: str, event_us: int) -> None:
    assert row({"update_time": time})["ts_event"] == event_us


def test_the_hours_that_clocks_skip_and_repeat() -> None:
    other = (Notice.NOT_ASKED_FOR, Notice.MISSING)

    def event(time: str, *notices: Notice) -> object:
        return row({"code": "US.AAPL", "update_time": time}, *notices, *other)["ts_event"]

    assert event("2023-03-12 01:59:59") == 1_678_604_399_000_000
    assert event("2023-03-12 02:30:00", Notice.CLOCK_CHANGE) == 1_678_606_200_000_000
    assert event("2023-11-05 01:30:00", Notice.CLOCK_CHANGE) == 1_699_162_200_000_000, "the earlier instant"
    assert event("2023-11-05 01:30:00-05:00") == 1_699_165_800_000_000


def test_the_trading_day_is_the_markets() -> None:
    other = (Notice.NOT_ASKED_FOR, Notice.MISSING)
    for time, day in (("2024-03-15 19:59:59", 19797), ("2024-03-15 20:00:00", 19800)):
        assert row({"code": "US.AAPL", "update_time": time}, *other)["trade_date"] == day


def test_a_time_ahead_of_our_clock() -> None:
    row({"update_time": "2024-03-21 10:05:00"})
    row({"update_time": "2024-03-21 10:05:01"}, Notice.IN_THE_FUTURE)


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_may_be_absent(name: str) -> None:
    assert row({name: ...})[name] is None
    assert row({name: None})[name] is None


def test_an_entry_without_any_number() -> None:
    dead(ENTRY | dict.fromkeys(NUMBERS))
    dead({"code": SYMBOL, "update_time": "2024-03-20 10:00:00"})
    dead(ENTRY | dict.fromkeys(NUMBERS, "--"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1000000", 1e6),
        ("1e6", 1e6),
        ("-0.5", -0.5),
        (" 12.50 ", 12.5),
        ("+1", 1.0),
        (".5", 0.5),
        ("-310255860.000", -310255860.0),
        ("0.1234567890123456789012345", 0.12345678901234568),
        ("9007199254740993.0", 9007199254740992.0),
    ],
)
def test_numbers_as_texts(value: str, expected: float) -> None:
    assert row({"main_net_inflow": value}, Notice.NUMBER_AS_TEXT)["main_net_inflow"] == expected


@pytest.mark.parametrize("value", ["", " ", "-", "--", "N/A"])
def test_placeholders(value: str) -> None:
    assert row({"main_net_inflow": value}, Notice.PLACEHOLDER)["main_net_inflow"] is None


@pytest.mark.parametrize(
    "value",
    [
        *("abc", "1,000", "1_000", "0x10", "NaN", "Infinity", "1e999", "1 000", "٣", "1" * 65, "++1", "1e", "."),
        *(True, False, [], [1], {}, {"value": 1}, float("nan"), float("inf"), float("-inf")),
        *(2**63, -(2**63), 2**64, 10**30, str(2**63)),
    ],
)
def test_what_is_no_number(value: object) -> None:
    for name in ("main_net_inflow", "small_net_inflow_ratio"):
        assert name in dead(ENTRY | {name: value})


def test_numbers_that_overflow() -> None:
    for literal in (b"1e999", b"-1e999", b"1" + b"0" * 5000):
        body = answer(ENTRY).replace(b'"main_net_inflow": 1000000', b'"main_net_inflow": ' + literal)
        outcome = Reader().read(body)
        assert isinstance(outcome, FlowList)
        assert (outcome.rows, len(outcome.dead)) == ([], 1)


def test_integers_without_an_exact_double() -> None:
    assert row({"main_net_inflow": 2**53 - 1})["main_net_inflow"] == float(2**53 - 1)
    for value, expected in ((2**53 + 1, float(2**53)), (2**53 + 3, float(2**53 + 4)), (2**63 - 1, float(2**63))):
        assert row({"main_net_inflow": value}, Notice.INEXACT)["main_net_inflow"] == expected
        assert row({"main_net_inflow": -value}, Notice.INEXACT)["main_net_inflow"] == -expected
    row({"main_net_inflow": str(2**53 + 1)}, Notice.INEXACT, Notice.NUMBER_AS_TEXT)


def test_floats_are_not_cut_and_minus_zero_is_zero() -> None:
    assert row({"main_net_inflow": 12.5})["main_net_inflow"] == 12.5
    for zero in (-0.0, "-0"):
        notices = [Notice.NUMBER_AS_TEXT] if isinstance(zero, str) else []
        assert str(row({"main_net_inflow": zero}, *notices)["main_net_inflow"]) == "0.0"


def test_a_ratio_beyond_one() -> None:
    for ratio in (1.5, -30, 30.0):
        assert row({"main_net_inflow_ratio": ratio}, Notice.LARGE_RATIO)["main_net_inflow_ratio"] == ratio
    row({"main_net_inflow_ratio": -1})


def test_one_key_twice_in_a_list() -> None:
    later = ENTRY | {"main_net_inflow": 5}
    assert rows(answer(ENTRY, ENTRY)) == [ROW]
    assert rows(answer(ENTRY, later), Notice.REPLACED) == [ROW | {"main_net_inflow": 5.0}]
    assert rows(answer(ENTRY, later | {"code": "HK.700"}), Notice.REPLACED) == [ROW | {"main_net_inflow": 5.0}]


def test_order_is_never_assumed() -> None:
    earlier = ENTRY | {"update_time": "2024-03-19 10:00:00"}
    assert [found["ts_event"] for found in rows(answer(ENTRY, earlier))] == [EVENT_US, EVENT_US - 86_400_000_000]


def test_who_was_asked_for() -> None:
    reader = Reader()
    reader.read(answer(ENTRY), asked=("US.AAPL", "US.MSFT"))
    assert reader.notices == {Notice.NOT_ASKED_FOR: 1, Notice.MISSING: 2}


def test_a_dead_entry_is_noticed_for_nothing_else() -> None:
    reader = Reader()
    reader.read(answer(ENTRY | {"code": "hk.700", "main_net_inflow": "-", "small_net_inflow": "x"}), asked=())
    assert reader.notices == {}


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@examples(300)
@given(
    body=st.one_of(
        st.dictionaries(st.sampled_from(list(ENTRY)), json_values).map(lambda changed: answer(ENTRY | changed, ENTRY)),
        st.dictionaries(st.sampled_from(["ret_code", "ret_msg", "data"]), json_values).map(lambda top: answer(**top)),
        drawn.mutated(st.just(answer(ENTRY, ENTRY))),
        st.binary(max_size=60),
    )
)
def test_no_answer_breaks_the_decoder(body: bytes) -> None:
    outcome = Reader().read(body)
    if isinstance(outcome, FlowList):
        batch_of_rows(CAPITAL_FLOW_SUMMARY, outcome.rows)
        assert all(letter.detail.encode() and letter.payload for letter in outcome.dead)
