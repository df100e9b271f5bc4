"""Capital-flow replies as Hypothesis draws them: as real senders write them, and as protobuf allows."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from protos.opend.capital_flow_pb2 import CapitalFlowItem, GetCapitalFlowResponse
from tests.codec import strategies as drawn
from tests.codec import wire
from tests.codec.oracle import HK

periods = st.sampled_from([1, 1, 2, 3, 4])
AMOUNTS = ("mainInFlow", "superInFlow", "bigInFlow", "midInFlow", "smlInFlow")
_FIELDS = CapitalFlowItem.DESCRIPTOR.fields_by_name

_BAD_TEXTS = (
    *("2026-11-20 09:30", "2026-11-20 24:00:00", "2026-11-20T09:30:00", "2026-11-20 00:00:60", "2026-11-2"),
    *("2026-02-29", "2026-13-01", "2026/11/20", "1989-12-31", "2100-01-01", "0000-00-00", "2026-11-200", "\0" * 10),
)
_bad_texts = st.one_of(
    st.sampled_from(_BAD_TEXTS), st.text(max_size=24), st.text("0123456789-: .", min_size=10, max_size=23)
)


@st.composite
def lines(draw: st.DrawFn, market: int) -> dict[str, Any]:
    """Values of one line's fields: minutes with a clock, days perhaps without, and each part perhaps absent."""
    text, timestamp = draw(drawn.times(market if market in drawn.TEXT_MARKETS else HK))
    values: dict[str, Any] = {"inFlow": draw(drawn.prices)}
    match draw(st.integers(0, 7)):
        case 0:
            values["time"] = text[:10]
        case 1:
            values["time"] = text[:10] + " 00:00:00"
        case 2 if timestamp:
            pass
        case _:
            values["time"] = text
    if timestamp is not None:
        values["timestamp"] = timestamp
    for name in AMOUNTS:
        if draw(st.integers(0, 3)):
            values[name] = draw(st.one_of(drawn.prices, st.sampled_from([0.0, -0.0, -1.5])))
    return values


@st.composite
def any_lines(draw: st.DrawFn, market: int) -> dict[str, Any]:
    """One in six is most likely refused, for any of the reasons."""
    values = draw(lines(market))
    if draw(st.integers(0, 5)):
        return values
    match draw(st.integers(0, 3)):
        case 0:
            del values["inFlow"]
        case 1:
            values["time"] = draw(_bad_texts)
        case 2:
            values[draw(st.sampled_from(["inFlow", "timestamp", *AMOUNTS]))] = draw(drawn.nasty_doubles)
        case _:
            values.pop("time", None)
            values.pop("timestamp", None)
    return values


@st.composite
def usual_bodies(draw: st.DrawFn, market: int, lines_max: int = 6) -> bytes:
    """A body as OpenD itself would write it."""
    message = GetCapitalFlowResponse(retType=draw(st.sampled_from([0] * 9 + [-1])))
    if draw(st.booleans()):
        message.retMsg, message.errCode = "", 0
    if draw(st.integers(0, 9)):
        message.s2c.SetInParent()
        for values in draw(st.lists(any_lines(market), max_size=lines_max)):
            message.s2c.flowItemList.add(**values)
    if draw(st.booleans()):
        message.s2c.lastValidTime = "2026-11-20 16:00:00"
    if draw(st.booleans()):
        message.s2c.lastValidTimestamp = 1795161600.0
    return message.SerializePartialToString()


def _written(chance: random.Random, name: str, value: str | float) -> bytes:
    number = _FIELDS[name].number
    if isinstance(value, str):
        return wire.piece(number, value.encode(), drawn.stretched(chance))
    return wire.double(number, value)


def _mistyped_field(chance: random.Random) -> bytes:
    """A number that a line has, with another wire type: an unknown field, to protobuf."""
    match chance.randrange(4):
        case 0:
            return wire.tag(chance.randint(1, 8), wire.FIXED32) + b"\x01\x02\x03\x04"
        case 1:
            return wire.group(chance.randint(1, 8))
        case 2:
            return wire.piece(chance.choice([1, 3, 4, 5, 6, 7, 8]), b"\x08\x01")
        case _:
            return wire.number(chance.randint(1, 8), 7)


def _general_line(chance: random.Random, values: dict[str, Any], earlier: dict[str, float]) -> bytes:
    """A line with its fields in any order, some `earlier` values that `values` replace, and unknown fields."""
    pieces = [_written(chance, name, value) for name, value in values.items()]
    chance.shuffle(pieces)
    replaced = [_written(chance, name, value) for name, value in earlier.items() if name in values]
    extra = [chance.choice([drawn.unknown_field, _mistyped_field])(chance) for _ in range(chance.randrange(3))]
    return b"".join(drawn.scattered(chance, [*replaced, *pieces], extra))


@st.composite
def general_bodies(draw: st.DrawFn, market: int) -> bytes:
    """Any legal protobuf of a reply: parts repeated, split over several sub-messages, reordered."""
    chance = draw(drawn.arrangements)
    earlier = draw(st.dictionaries(st.sampled_from(["inFlow", "timestamp", *AMOUNTS]), st.floats(), max_size=2))
    lines_drawn = draw(st.lists(any_lines(market), max_size=4))
    listed = [wire.piece(1, _general_line(chance, each, earlier), drawn.stretched(chance)) for each in lines_drawn]
    others = [wire.piece(2, b"2026-11-20"), wire.double(3, 1.0), drawn.unknown_field(chance)]
    halves = drawn.split(chance, 4, drawn.scattered(chance, listed, others))
    returned = [wire.number(1, chance.choice([0, 0, 0, 2**32]), drawn.stretched(chance))]
    if chance.randrange(5) == 0:
        returned.insert(0, wire.number(1, -400))
    outer = [wire.piece(2, b"ok"), wire.number(3, 0), drawn.unknown_field(chance), *returned[:-1]]
    return b"".join([*drawn.scattered(chance, halves, outer), returned[-1]][:: chance.choice([1, 1, -1])])


def any_bodies(market: int) -> st.SearchStrategy[bytes]:
    usual, general = usual_bodies(market), general_bodies(market)
    return st.one_of(usual, general, drawn.mutated(usual), drawn.mutated(general), st.binary(min_size=1, max_size=80))
