"""LongPort's messages as Hypothesis draws them: as real senders write them, and as protobuf allows."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from protos.longport.capital_flow_pb2 import CapitalFlowIntradayResponse
from protos.longport.trade_pb2 import PushTrade, SecurityTradeResponse, Trade
from tests.codec import wire
from tests.codec.longport import packing
from tests.codec.strategies import mutated

_CODE_CHARACTERS = "".join(map(chr, range(0x21, 0x7F)))
_UTC_S_FIRST, _UTC_S_LAST = 631_152_000, 4_102_444_799

_codes = st.one_of(
    st.sampled_from(["700", "00700", "AAPL", "BRK.B", ".DJI", "SH", "D05", "AAPL261120C190000"]),
    st.text(_CODE_CHARACTERS, min_size=1, max_size=64),
)
symbols = st.tuples(_codes, st.sampled_from(["HK", "HK", "US", "US", "SH", "SZ", "SG", "JP", "AU", "MY", "CA"])).map(
    ".".join
)
bad_symbols = st.one_of(
    st.sampled_from(
        ["", ".", ".HK", "HK", "700", "700.XX", "700.hk", "700.HKG", "7 0.HK", "7\t.US", "é.US", "700.HK "]
    ),
    st.text("abHKUS.", max_size=6),
    st.just("X" * 65 + ".US"),
)

prices = st.one_of(
    st.decimals(0, 10**6, places=3).map(str),
    st.decimals(-(10**9), 10**9, places=2).map(str),
    st.integers(0, 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.tuples(st.integers(0, 10**25), st.integers(0, 10**25)).map(lambda parts: f"{parts[0]}.{parts[1]}"),
)
bad_prices = st.one_of(
    st.sampled_from(["", " 1", "NaN", "inf", "--1", "1e999", "1,0", "１", "-", ".", "1_0"]),
    st.text("0123.eE+- ", max_size=9),
)

volumes = st.one_of(st.integers(0, 10**6), st.integers(-(2**63), 2**63 - 1))
timestamps = st.one_of(
    st.integers(1_700_000_000, 1_800_000_000), st.integers(_UTC_S_FIRST, _UTC_S_LAST), st.sampled_from([_UTC_S_FIRST])
)
bad_timestamps = st.sampled_from([0, 1, -1, _UTC_S_FIRST - 1, _UTC_S_LAST + 1, 1_700_000_000_000, -(2**63), 2**63 - 1])
conditions = st.one_of(
    st.sampled_from(["", "", "", "U", "*", " ", "X", "1"]),
    st.text(max_size=4),
    st.sampled_from(["@ TI", "ÄÖ", "\0", "x" * 16]),
)
long_conditions = st.sampled_from(["x" * 17, "場" * 6])
int32s = st.one_of(st.integers(0, 4), st.integers(0, 4), st.integers(-(2**31), 2**31 - 1))

trades: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "price": prices,
        "volume": volumes,
        "timestamp": timestamps,
        "trade_type": conditions,
        "direction": int32s,
        "trade_session": int32s,
    }
)


@st.composite
def spoilt_trades(draw: st.DrawFn) -> dict[str, Any]:
    """A trade that most likely is refused, for any of the reasons."""
    values = dict(draw(trades))
    match draw(st.integers(0, 3)):
        case 0:
            values["price"] = draw(bad_prices)
        case 1:
            values["timestamp"] = draw(bad_timestamps)
        case 2:
            values["trade_type"] = draw(long_conditions)
        case _:
            values |= {"price": "1e300", "volume": 2**62}
    return values


any_trades = st.integers(0, 5).flatmap(lambda number: trades if number else spoilt_trades())
sequences = st.one_of(st.integers(0, 2**60), st.integers(-(2**63), 2**63 - 1))


@st.composite
def usual_pushes(draw: st.DrawFn, each: st.SearchStrategy[dict[str, Any]] = any_trades) -> bytes:
    message = PushTrade(symbol=draw(symbols), sequence=draw(sequences))
    message.trade.extend(Trade(**values) for values in draw(st.lists(each, max_size=5)))
    return message.SerializeToString()


@st.composite
def usual_pulls(draw: st.DrawFn, each: st.SearchStrategy[dict[str, Any]] = any_trades) -> bytes:
    message = SecurityTradeResponse(symbol=draw(symbols))
    message.trades.extend(Trade(**values) for values in draw(st.lists(each, max_size=5)))
    return message.SerializeToString()


@st.composite
def usual_flows(draw: st.DrawFn, spoilt: bool = True) -> bytes:
    message = CapitalFlowIntradayResponse(symbol=draw(symbols))
    inflows = st.one_of(prices, prices, prices, bad_prices) if spoilt else prices
    stamps = st.one_of(timestamps, timestamps, timestamps, bad_timestamps) if spoilt else timestamps
    for inflow, timestamp in draw(st.lists(st.tuples(inflows, stamps), max_size=6)):
        message.capital_flow_lines.add(inflow=inflow, timestamp=timestamp)
    return message.SerializeToString()


# --- protobuf as it may be written: values are drawn, their arrangement comes from one drawn seed.

_arrangements = st.integers(0, 2**32 - 1).map(random.Random)


def _stretched(chance: random.Random) -> int:
    return chance.randint(1, 10) if chance.randrange(4) == 0 else 1


def _stray_field(chance: random.Random, depth: int = 0) -> bytes:
    """A field that no message of ours has, or one of theirs with another wire type: unknown, to protobuf."""
    number = chance.choice([1, 2, 3, 4, 5, 6, 7, 100, 2**29 - 1])
    match chance.randrange(5):
        case 0 if number in (1, 4) or number > 6:
            return wire.number(number, chance.choice([0, 1, -1, 300]), chance.randint(1, 10))
        case 1:
            return wire.double(number, 1.5)
        case 2 if number > 6:
            return wire.piece(number, chance.randbytes(chance.randrange(20)), _stretched(chance))
        case 3:
            return wire.tag(number, wire.FIXED32) + chance.randbytes(4)
        case _:
            inner = [_stray_field(chance, depth + 1) for _ in range(chance.randrange(3))] if depth < 3 else []
            return wire.group(number, b"".join(inner))


def _written(chance: random.Random, number: int, value: Any) -> bytes:
    if isinstance(value, str):
        return wire.piece(number, value.encode(), _stretched(chance))
    return wire.number(number, value, _stretched(chance))


def _arranged(chance: random.Random, values: dict[int, Any], earlier: dict[int, Any]) -> bytes:
    """Fields by number in any order, now and then with others between, and earlier values that they replace."""
    pieces = [_written(chance, number, value) for number, value in values.items()]
    chance.shuffle(pieces)
    pieces = [_written(chance, number, earlier[number]) for number in values if number in earlier] + pieces
    for _ in range(chance.randrange(3)):
        pieces.insert(chance.randint(0, len(pieces)), _stray_field(chance))
    return b"".join(pieces)


def _numbered(values: dict[str, Any]) -> dict[int, Any]:
    return {Trade.DESCRIPTOR.fields_by_name[name].number: value for name, value in values.items()}


_any_symbols = st.one_of(symbols, symbols, symbols, bad_symbols)


@st.composite
def general_bodies(draw: st.DrawFn, parts_field: int) -> bytes:
    """Any legal protobuf of PushTrade (3), or of SecurityTradeResponse (2)."""
    chance = draw(_arrangements)
    earlier = _numbered(draw(trades)) if chance.randrange(2) else {}
    parts = [
        wire.piece(parts_field, _arranged(chance, _numbered(values), earlier), _stretched(chance))
        for values in draw(st.lists(any_trades, max_size=4))
    ]
    head = [_written(chance, 1, draw(_any_symbols)) for _ in range(chance.choice([0, 1, 1, 1, 2]))]
    if parts_field == 3:
        head += [_written(chance, 2, draw(sequences)) for _ in range(chance.choice([0, 1, 1, 2]))]
    pieces = [*head, *parts, *(_stray_field(chance) for _ in range(chance.randrange(2)))]
    chance.shuffle(pieces)
    return b"".join(pieces)


@st.composite
def general_flows(draw: st.DrawFn) -> bytes:
    """Any legal protobuf of CapitalFlowIntradayResponse."""
    chance = draw(_arrangements)
    drawn = draw(st.lists(st.tuples(st.one_of(prices, bad_prices), st.one_of(timestamps, bad_timestamps)), max_size=4))
    parts = [
        wire.piece(2, _arranged(chance, dict(enumerate(line, 1)), {1: "7", 2: 1_700_000_000}), _stretched(chance))
        for line in drawn
    ]
    pieces = [_written(chance, 1, draw(_any_symbols)), *parts, *(_stray_field(chance) for _ in range(2))]
    chance.shuffle(pieces)
    return b"".join(pieces)


any_pushes = st.one_of(usual_pushes(), general_bodies(3), mutated(usual_pushes()), mutated(general_bodies(3)))
any_pulls = st.one_of(usual_pulls(), general_bodies(2), mutated(usual_pulls()), mutated(general_bodies(2)))
any_flows = st.one_of(
    usual_flows(), general_flows(), mutated(usual_flows()), mutated(general_flows()), st.binary(max_size=60)
)


@st.composite
def packets(
    draw: st.DrawFn,
    pushes: st.SearchStrategy[bytes] = any_pushes,
    pulls: st.SearchStrategy[bytes] = any_pulls,
) -> bytes:
    """A packet whose header is right: mostly trades, now and then something for the session."""
    how = {"signed": draw(st.integers(0, 7)) == 0, "compressed": draw(st.integers(0, 7)) == 0}
    request_id = draw(st.integers(0, 2**32 - 1))
    match draw(st.integers(0, 7)):
        case 0:
            command = draw(st.sampled_from([0, 1, 101, 17, 24, 255]))
            return packing.push(draw(st.binary(max_size=30)), command, **how)
        case 1:
            command = draw(st.sampled_from([1, 2, 6, 24, 25, 104]))
            return packing.response(draw(st.binary(max_size=30)), command, request_id, draw(st.integers(0, 8)), **how)
        case 2:
            return packing.request(draw(st.binary(max_size=30)), draw(st.sampled_from([1, 17, 104])), request_id, **how)
        case 3:
            return packing.response(draw(pulls), 17, request_id, draw(st.sampled_from([0, 0, 0, 3])), **how)
        case _:
            return packing.push(draw(pushes), **how)


def streams(
    pushes: st.SearchStrategy[bytes] = any_pushes, pulls: st.SearchStrategy[bytes] = any_pulls, count_max: int = 5
) -> st.SearchStrategy[bytes]:
    """Several packets behind one another."""
    joined: Callable[[list[bytes]], bytes] = b"".join
    return st.lists(packets(pushes, pulls), max_size=count_max).map(joined)
