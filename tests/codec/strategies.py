"""OpenD tick messages as Hypothesis draws them: as real senders write them, and as protobuf allows."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from codec.markets import MARKET_TIMES
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from protos.opend.ticker_pb2 import Ticker, UpdateTickerResponse
from tests.codec import wire
from tests.codec.oracle import EPOCH, HK, SH, SZ, US

TEXT_MARKETS = (HK, US, SH, SZ)
OTHER_MARKETS = (2, 31, 41, 51, 61, 71, 81, 91, 101)
UNLISTED_MARKETS = (0, 3, 127, 128, 300, -1, 2**31 - 1, -(2**31))

_CODE_CHARACTERS = "".join(map(chr, range(0x21, 0x7F)))

# Instants at which clocks were or will be changed, to the second, and a day in between.
_CHANGES = [
    datetime.datetime(*when, tzinfo=datetime.UTC)
    for when in (
        (2024, 3, 10, 7),
        (2024, 11, 3, 6),
        (2026, 3, 8, 7),
        (2026, 11, 1, 6),
        (1991, 4, 13, 18),
        (1991, 9, 14, 17),
        (2006, 4, 2, 7),
        (2026, 11, 20, 1),
    )
]
_UTC_S_FIRST, _UTC_S_LAST = 631_195_200, 4_102_398_000
"""1990-01-01 12:00 to 2099-12-31 11:00: within the years that texts may name, on any market's clocks."""

codes = st.one_of(
    st.sampled_from(["00700", "700", "AAPL", "600519", ".DJI", "BRK.B", "AAPL261120C00190000"]),
    st.text(_CODE_CHARACTERS, min_size=1, max_size=64),
)
bad_codes = st.sampled_from([b"", b" ", b"A B", b"\x7f", b"\xff\xfe", b"0070\x00", b"X" * 65, "港".encode()])
markets = st.sampled_from(TEXT_MARKETS * 8 + OTHER_MARKETS + UNLISTED_MARKETS)

finite = st.floats(allow_nan=False, allow_infinity=False)
prices = st.one_of(st.integers(1, 10**6).map(lambda cents: cents / 100), finite)
amounts = st.one_of(st.just(0.0), prices)
int64s = st.one_of(st.integers(0, 1000), st.integers(-(2**63), 2**63 - 1), st.just(7710059860800307201))
int32s = st.one_of(st.integers(-2, 300), st.integers(-(2**31), 2**31 - 1))
nasty_doubles = st.sampled_from([float("nan"), float("inf"), float("-inf"), -1.0, 1e300, 631151999.0, 4102444800.0])


@dataclass(frozen=True)
class DrawnTick:
    """Values of a tick's fields by name; an absent key is an absent field."""

    values: dict[str, Any]

    def message(self) -> Ticker:
        return Ticker(**self.values)


def _text(local: datetime.datetime, separator: str | None) -> str:
    text = local.strftime("%Y-%m-%d %H:%M:%S")
    return text if separator is None else f"{text}{separator}{local.microsecond // 1000:03d}"


@st.composite
def instants(draw: st.DrawFn) -> datetime.datetime:
    """UTC, anywhere or within three hours of a change of clocks."""
    if draw(st.booleans()):
        near = draw(st.sampled_from(_CHANGES))
        return near + datetime.timedelta(milliseconds=draw(st.integers(-3 * 3600_000, 3 * 3600_000)))
    return EPOCH + datetime.timedelta(milliseconds=draw(st.integers(_UTC_S_FIRST * 1000, _UTC_S_LAST * 1000)))


_FROM_SECONDS: list[Callable[[float], float | None]] = [
    lambda seconds: None,
    lambda seconds: 0.0,
    lambda seconds: float(int(seconds)),
    lambda seconds: seconds,
]
_TIMESTAMPS: st.SearchStrategy[Callable[[float], float | None]] = st.one_of(
    st.sampled_from(_FROM_SECONDS),
    st.sampled_from([-3600.0, -1.001, -1.0, -0.5, 0.5, 1.0, 1.000001, 2.0, 3600.0]).map(lambda by: by.__add__),
)
"""What a sender makes of an instant: absent, zero, whole seconds, with a fraction, or off by something."""


@st.composite
def times(draw: st.DrawFn, market: int) -> tuple[str, float | None]:
    """A tick's text and timestamp, None for an absent one."""
    utc = draw(instants())
    zone = MARKET_TIMES[market].zone if market in MARKET_TIMES else "UTC"
    local = utc.astimezone(ZoneInfo(zone))
    if draw(st.integers(0, 9)) == 0:  # an hour that clocks skip comes from no instant
        local = local.replace(hour=draw(st.integers(0, 23)))
    text = _text(local, draw(st.sampled_from([None, ".", ":"])))
    seconds = (utc - EPOCH).total_seconds()
    timestamp = draw(_TIMESTAMPS)(seconds)
    return text, timestamp


_DIRECTIONS = st.one_of(st.integers(0, 3), int32s)
_OPTIONAL_VALUES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "recvTime": st.one_of(st.just(0.0), st.floats(1e9, 3e9)),
        "type": st.one_of(st.integers(0, 31), int32s),
        "typeSign": st.one_of(st.sampled_from([0, 32, 85, 68, 88]), int32s),
        "pushDataType": st.one_of(st.integers(0, 3), int32s),
        "hpVolume": amounts,
    },
)


@st.composite
def ticks(draw: st.DrawFn, market: int) -> DrawnTick:
    """As real senders write them: required fields, and optional ones as versions and markets differ."""
    text, timestamp = draw(times(market))
    price, volume = draw(prices), draw(int64s)
    values: dict[str, Any] = {
        "time": text,
        "sequence": draw(int64s),
        "dir": draw(_DIRECTIONS),
        "price": price,
        "volume": volume,
        "turnover": draw(amounts),
    }
    values |= draw(_OPTIONAL_VALUES)
    if timestamp is not None:
        values["timestamp"] = timestamp
    return DrawnTick(values)


_BAD_TEXTS = st.one_of(
    st.sampled_from(
        [
            *("", "2026-11-20", "2026-11-20 09:30", "2026-11-20T09:30:00", "2026-11-20 09:30:0:"),
            *("2026-11-20 09:30:60", "2026-11-20 24:00:00", "2026-02-29 09:30:00", "2026-13-01 09:30:00"),
            *("2026-00-10 09:30:00", "2026-11-20 09:30:00.12", "2026-11-20 09:30:00,123", "2026-11-20 09:30:00.1234"),
            *("1989-12-31 23:59:59", "2100-01-01 00:00:00", "0000-00-00 00:00:00", "\0" * 16 + ":00"),
            *("2026-11-20 0/:30:00", "2026-11-20 09:3::00", "２026-11-20 09:30"),
        ]
    ),
    st.text(max_size=24),
    st.text("0123456789-: .", min_size=19, max_size=23),
)


_EARLIER_VALUES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "time": st.text(max_size=24),
        "sequence": int64s,
        "dir": int32s,
        "price": st.floats(),
        "volume": int64s,
        "recvTime": st.floats(),
        "typeSign": int32s,
        "pushDataType": int32s,
        "timestamp": st.floats(),
        "hpVolume": st.floats(),
    },
)
"""Values that a later field of the same number replaces."""


@st.composite
def spoilt_ticks(draw: st.DrawFn, market: int) -> DrawnTick:
    """A tick that most likely is refused, for any of the reasons."""
    values = dict(draw(ticks(market)).values)
    required = ["time", "sequence", "dir", "price", "volume", "turnover"]
    match draw(st.integers(0, 3)):
        case 0:
            del values[draw(st.sampled_from(required))]
        case 1:
            values["time"] = draw(_BAD_TEXTS)
        case 2:
            values[draw(st.sampled_from(["price", "turnover", "hpVolume", "timestamp", "recvTime"]))] = draw(
                nasty_doubles
            )
        case _:
            values.pop("timestamp", None)
    return DrawnTick(values)


@st.composite
def _any_tick(draw: st.DrawFn, market: int) -> DrawnTick:
    return draw(spoilt_ticks(market) if draw(st.integers(0, 5)) == 0 else ticks(market))


proto_ids = st.sampled_from([ProtoId.UPDATE_TICKER, ProtoId.UPDATE_TICKER, ProtoId.GET_TICKER])


_RETURN_TYPES = st.sampled_from([0] * 14 + [-1, 1])


@st.composite
def usual_bodies(draw: st.DrawFn, spoilt: bool = True) -> bytes:
    """A body as OpenD itself would write it."""
    market = draw(markets)
    each = _any_tick(market) if spoilt else ticks(market)
    message = UpdateTickerResponse(retType=draw(_RETURN_TYPES))
    if draw(st.booleans()):
        message.retMsg, message.errCode = "", 0
    message.s2c.security.market, message.s2c.security.code = market, draw(codes)
    message.s2c.tickerList.extend(tick.message() for tick in draw(st.lists(each, max_size=5)))
    if draw(st.booleans()):
        message.s2c.name = draw(st.text(max_size=8))
    return message.SerializePartialToString()


# --- protobuf as it may be written. Values are drawn; how they are arranged comes from one drawn seed,
# because a draw for every varint's length would be most of the time.

arrangements = st.integers(0, 2**32 - 1).map(random.Random)


def unknown_field(chance: random.Random, depth: int = 0) -> bytes:
    """A field that no message of ours has, of any wire type."""
    number = chance.choice([100, 101, 2000, 2**29 - 1])
    match chance.randrange(6):
        case 0:
            return wire.number(number, chance.choice([0, 1, -1, 2**63, 300]), chance.randint(1, 10))
        case 1:
            return wire.double(number, chance.choice([0.0, float("nan"), 1.5]))
        case 2:
            return wire.piece(number, chance.randbytes(chance.randrange(20)), chance.randint(1, 10))
        case 3:
            return wire.tag(number, wire.FIXED32) + chance.randbytes(4)
        case 4:
            return b"\xa2\x06\x02\x08\x00"  # the header that SDKs send
        case _:
            inner = [unknown_field(chance, depth + 1) for _ in range(chance.randrange(3))] if depth < 3 else []
            return wire.group(number, b"".join(inner))


def _mistyped_field(chance: random.Random) -> bytes:
    """A number that a tick has, with another wire type: an unknown field, to protobuf."""
    texts, varints, doubles = [1], [2, 3, 5, 8, 9, 10], [4, 6, 7, 11, 12]
    match chance.randrange(5):
        case 0:
            return wire.tag(chance.choice(texts + varints + doubles), wire.FIXED32) + b"\x01\x02\x03\x04"
        case 1:
            return wire.group(chance.choice(texts + varints + doubles))
        case 2:
            return wire.piece(chance.choice(varints + doubles), b"\x08\x01")
        case 3:
            return wire.double(chance.choice(texts + varints), 1.5)
        case _:
            return wire.number(chance.choice(texts + doubles), 7)


def scattered(chance: random.Random, pieces: list[bytes], extra: list[bytes]) -> list[bytes]:
    """`pieces` in their order, with each of `extra` somewhere between."""
    for each in extra:
        pieces.insert(chance.randint(0, len(pieces)), each)
    return pieces


def stretched(chance: random.Random) -> int:
    """The least length of a varint: now and then longer than it need be."""
    return chance.randint(1, 10) if chance.randrange(4) == 0 else 1


_TICK_FIELDS = Ticker.DESCRIPTOR.fields_by_name


def _written(chance: random.Random, name: str, value: Any) -> bytes:
    """One field of a tick."""
    number = _TICK_FIELDS[name].number
    if isinstance(value, float):
        return wire.double(number, value)
    if isinstance(value, str):
        return wire.piece(number, value.encode(), stretched(chance))
    return wire.number(number, value, stretched(chance))


def _general_tick(chance: random.Random, values: dict[str, Any], earlier: dict[str, Any]) -> bytes:
    """A tick with its fields in any order, some `earlier` values that `values` replace, and unknown fields."""
    pieces = [_written(chance, name, value) for name, value in values.items()]
    chance.shuffle(pieces)
    replaced = [_written(chance, name, value) for name, value in earlier.items() if name in values]
    extra = [chance.choice([unknown_field, _mistyped_field])(chance) for _ in range(chance.randrange(3))]
    return b"".join(scattered(chance, [*replaced, *pieces], extra))


def split(chance: random.Random, field_number: int, pieces: list[bytes]) -> list[bytes]:
    """A message as one or two sub-messages, which readers merge."""
    middle = chance.choice([0, len(pieces), chance.randint(0, len(pieces))])
    halves = [part for part in (pieces[:middle], pieces[middle:]) if part or chance.randrange(3)]
    return [wire.piece(field_number, b"".join(half), stretched(chance)) for half in halves]


_SECURITIES = st.tuples(
    markets, st.one_of(codes.map(str.encode), codes.map(str.encode), codes.map(str.encode), bad_codes)
)


@st.composite
def general_bodies(draw: st.DrawFn) -> bytes:
    """Any legal protobuf of a tick message: parts repeated, split over several sub-messages, reordered."""
    chance = draw(arrangements)
    market, code = draw(_SECURITIES)
    security = [wire.number(1, market, stretched(chance)), wire.piece(2, code, stretched(chance))]
    chance.shuffle(security)
    if chance.randrange(10) == 0:
        security.pop()
    if chance.randrange(3) == 0:
        old_market, old_code = draw(_SECURITIES)
        security = [wire.piece(2, old_code), wire.number(1, old_market), *security]

    earlier = draw(_EARLIER_VALUES)
    drawn = draw(st.lists(_any_tick(market), max_size=4))
    listed = [wire.piece(2, _general_tick(chance, tick.values, earlier), stretched(chance)) for tick in drawn]
    inner = scattered(chance, listed, [wire.piece(3, b"NAME"), *(unknown_field(chance) for _ in range(2))])
    at = chance.choice([0, len(inner), chance.randint(0, len(inner))])
    inner[at:at] = split(chance, 1, security)

    returned = [wire.number(1, 0, stretched(chance))]
    if chance.randrange(5) == 0:
        returned.insert(0, wire.number(1, -400))
    other = [wire.piece(2, b"ok"), wire.number(3, 0), *(unknown_field(chance) for _ in range(2)), *returned[:-1]]
    return b"".join([*scattered(chance, split(chance, 4, inner), other), returned[-1]][:: chance.choice([1, 1, -1])])


@st.composite
def mutated(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """A body with bits flipped, or else bytes put in, taken out, or cut off."""
    body, chance = bytearray(draw(bodies)), draw(arrangements)
    for _ in range(chance.choice([1, 1, 2])):
        at = chance.randint(0, len(body))
        match chance.randrange(12):
            case 0:
                body[at:at] = chance.randbytes(chance.randint(1, 12))
            case 1:
                del body[at : at + chance.randint(1, 12)]
            case 2:
                del body[at:]
            case _ if at < len(body):
                body[at] ^= 1 << chance.randrange(8)
    return bytes(body)


any_bodies = st.one_of(
    usual_bodies(), general_bodies(), mutated(usual_bodies()), mutated(general_bodies()), st.binary(max_size=80)
)


@st.composite
def frames(draw: st.DrawFn, bodies: st.SearchStrategy[bytes] = any_bodies) -> bytes:
    """A frame whose header is right: mostly ticks, now and then something for the session."""
    proto_id = draw(proto_ids) if draw(st.integers(0, 7)) else draw(st.sampled_from([1001, 1004, 3001, 3211, 9999]))
    body_format = BodyFormat.JSON if draw(st.integers(0, 15)) == 0 else BodyFormat.PROTOBUF
    return pack_frame(proto_id, draw(st.integers(0, 2**32 - 1)), draw(bodies), body_format)


def streams(bodies: st.SearchStrategy[bytes] = any_bodies, count_max: int = 6) -> st.SearchStrategy[bytes]:
    """Several frames behind one another."""
    joined: Callable[[list[bytes]], bytes] = b"".join
    return st.lists(frames(bodies), max_size=count_max).map(joined)
