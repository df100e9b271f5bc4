"""What real senders would have written in one trading hour: frames made from a seed, for all peers alike.

500 symbols, Hong Kong and New York. Which fields are present follows the vendor's samples: times of
Hong Kong without, of New York with milliseconds; a push has recvTime and pushDataType, a pull reply has
recvTime 0 and none; replies carry an empty retMsg and errCode 0. Symbols trade at random, each with its
own price, and time goes on evenly.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.longport.protocol import Command
from codec.markets import HK, US
from codec.opend.protocol import HEADER_BYTES, ProtoId, pack_frame
from protos.longport.capital_flow_pb2 import CapitalFlowIntradayResponse
from protos.longport.trade_pb2 import PushTrade
from protos.opend import capital_flow_pb2, ticker_pb2
from tests.codec import wire
from tests.codec.longport import packing

SYMBOLS = 500
_US_SHARE = 0.4
_HOUR_S = 3600
_DAY = datetime.date(2026, 11, 20)
_OPENS_S = {
    HK: int(datetime.datetime(2026, 11, 20, 9, 30, tzinfo=ZoneInfo("Asia/Hong_Kong")).timestamp()),
    US: int(datetime.datetime(2026, 11, 20, 9, 30, tzinfo=ZoneInfo("America/New_York")).timestamp()),
}
_REALTIME = 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """Frames one behind the other.

    Attributes
    ----------
    data : (n + PAD_BYTES,) uint8, of which `size_bytes` are frames
    starts : (frames,) int64, where each begins
    ticks : (frames,) int64, how many ticks or lines each holds
    asked : codes of Hong Kong that reply `i` answers for, in turn, where replies name no symbol
    """

    data: NDArray[np.uint8]
    size_bytes: int
    starts: NDArray[np.int64]
    ticks: NDArray[np.int64]
    asked: tuple[str, ...] = ()

    @property
    def tick_count(self) -> int:
        return int(self.ticks.sum())

    def frames(self, count: int) -> list[bytes]:
        """The first `count` frames, each with its header."""
        ends = [*self.starts[1:].tolist(), self.size_bytes]
        raw = self.data.tobytes()
        return [raw[begin:end] for begin, end in zip(self.starts[:count].tolist(), ends, strict=False)]

    def bodies(self, count: int, header_bytes: int = HEADER_BYTES) -> list[bytes]:
        """The first `count` bodies, cut out for peers that read no frames."""
        return [frame[header_bytes:] for frame in self.frames(count)]

    def first(self, count: int) -> Corpus:
        """The first `count` frames alone."""
        return corpus_of(self.frames(count), self.ticks[:count].tolist(), self.asked)


def corpus_of(frames: list[bytes], ticks: list[int], asked: tuple[str, ...] = ()) -> Corpus:
    """`frames` joined and padded; `ticks[i]` is what frame `i` holds."""
    data = np.frombuffer(bytearray(b"".join(frames) + bytes(PAD_BYTES)), np.uint8)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    return Corpus(data, int(sizes.sum()), np.cumsum(sizes) - sizes, np.array(ticks, np.int64), asked)


@dataclass(slots=True)
class _Symbol:
    market: int
    code: str
    name: str
    price: float
    counter: int = 0

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo("Asia/Hong_Kong" if self.market == HK else "America/New_York")


class Sender:
    """Writes what an OpenD would send. The same seed writes the same bytes."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._symbols = [self._symbol(number) for number in range(SYMBOLS)]
        self._minutes: dict[tuple[int, int], str] = {}

    def _symbol(self, number: int) -> _Symbol:
        rng = self._rng
        if number < SYMBOLS * _US_SHARE:
            code = "".join(chr(65 + number // 26**place % 26) for place in range(2)) + "XYZ"[: rng.randint(0, 3)]
            return _Symbol(US, code, f"{code} INC", round(rng.uniform(5, 600), 2))
        name = "".join(rng.choices("中建银行腾讯控股有限公司", k=rng.randint(2, 6)))
        return _Symbol(HK, f"{number * 17 % 9999:05d}", name, round(rng.uniform(2, 600), 2))

    def pushes(self, ticks_each: int, bytes_min: int) -> Corpus:
        """3011 frames of `ticks_each` ticks of one symbol each."""
        return self._corpus(ticks_each, bytes_min, pulled=False)

    def pulls(self, ticks_each: int, bytes_min: int) -> Corpus:
        """3010 replies of `ticks_each` ticks."""
        return self._corpus(ticks_each, bytes_min, pulled=True)

    def _corpus(self, ticks_each: int, bytes_min: int, *, pulled: bool) -> Corpus:
        frames: list[bytes] = []
        sizes = 0
        guess = max(1, bytes_min // (85 * ticks_each + 60))
        while sizes < bytes_min:
            at_s = len(frames) / guess * _HOUR_S % _HOUR_S
            frames.append(self._frame(len(frames), ticks_each, at_s, pulled=pulled))
            sizes += len(frames[-1])
        return corpus_of(frames, [ticks_each] * len(frames))

    def _frame(self, number: int, ticks_each: int, at_s: float, *, pulled: bool) -> bytes:
        symbol = self._rng.choice(self._symbols)
        response = ticker_pb2.GetTickerResponse() if pulled else ticker_pb2.UpdateTickerResponse()
        response.retType = 0
        if pulled:
            response.retMsg, response.errCode = "", 0
        s2c = response.s2c
        s2c.security.market, s2c.security.code, s2c.name = symbol.market, symbol.code, symbol.name
        spread_s = 1800.0 if ticks_each >= 1000 else 2.0
        for index in range(ticks_each):
            self._add_tick(s2c, symbol, at_s + spread_s * index / ticks_each, pulled=pulled)
        return pack_frame(ProtoId.GET_TICKER if pulled else ProtoId.UPDATE_TICKER, number, response.SerializeToString())

    def _add_tick(
        self, s2c: ticker_pb2.GetTickerS2C | ticker_pb2.UpdateTickerS2C, symbol: _Symbol, at_s: float, *, pulled: bool
    ) -> None:
        rng = self._rng
        unix_ms = _OPENS_S[symbol.market] * 1000 + int(at_s * 1000)
        unix_s, ms = divmod(unix_ms, 1000)
        symbol.counter += 1 if symbol.market == HK else rng.randint(1, 3)  # Hong Kong counts its ticks
        symbol.price = max(0.01, round(symbol.price + rng.choice((-0.02, -0.01, 0, 0.01, 0.02)), 2))
        volume = rng.choice((1, 1, 1, 2, 3, 5, 10, 20, 50)) * 100 if symbol.market == HK else rng.randint(1, 900)
        text = self._text(symbol, unix_s)
        tick = s2c.tickerList.add(
            time=text if symbol.market == HK else f"{text}.{ms:03d}",
            sequence=unix_s << 32 | symbol.counter,
            dir=rng.choice((1, 2, 1, 2, 3)),
            price=symbol.price,
            volume=volume,
            turnover=symbol.price * volume,
            recvTime=0.0 if pulled else unix_s + ms / 1000 + 0.0125,
            type=1 if symbol.market == HK else rng.choice((1, 1, 6, 22)),
            typeSign=32,
            timestamp=float(unix_s) if symbol.market == HK else unix_s + ms / 1000,
        )
        if not pulled:
            tick.pushDataType = _REALTIME

    def _text(self, symbol: _Symbol, unix_s: int) -> str:
        minute, second = divmod(unix_s, 60)
        text = self._minutes.get((symbol.market, minute))
        if text is None:
            local = datetime.datetime.fromtimestamp(minute * 60, symbol.zone)
            text = self._minutes[symbol.market, minute] = f"{local:%Y-%m-%d %H:%M}"
        return f"{text}:{second:02d}"


def with_repeats(corpus: Corpus, seed: int) -> Corpus:
    """The same frames, one in twenty of them sent again a little later."""
    rng = random.Random(seed)
    frames, ticks = [], []
    for place, (frame, held) in enumerate(zip(corpus.frames(len(corpus.starts)), corpus.ticks.tolist(), strict=True)):
        frames.append(frame)
        ticks.append(held)
        if place % 20 == 19:
            again = rng.randrange(len(frames) - 20, len(frames))
            frames.append(frames[again])
            ticks.append(ticks[again])
    return corpus_of(frames, ticks)


def flow_replies(seed: int, replies: int) -> Corpus:
    """3211 replies of a whole day of Hong Kong: 331 minutes, one symbol each."""
    rng = random.Random(seed)
    frames = []
    for number in range(replies):
        response = capital_flow_pb2.GetCapitalFlowResponse(retType=0, retMsg="", errCode=0)
        inflows = [0.0] * 5
        for unix_s in _day_of_minutes():
            inflows = [round(inflow + rng.uniform(-1e6, 1e6), 3) for inflow in inflows]
            text = datetime.datetime.fromtimestamp(unix_s, _HK_ZONE).strftime("%Y-%m-%d %H:%M:%S")
            response.s2c.flowItemList.add(
                inFlow=inflows[0],
                time=text,
                timestamp=float(unix_s),
                superInFlow=inflows[1],
                bigInFlow=inflows[2],
                midInFlow=inflows[3],
                smlInFlow=inflows[4],
            )
        response.s2c.lastValidTime, response.s2c.lastValidTimestamp = text, float(unix_s)
        frames.append(pack_frame(ProtoId.GET_CAPITAL_FLOW, number, response.SerializeToString()))
    return corpus_of(frames, [FLOW_LINES] * replies, _ASKED)


def longport_flow_replies(seed: int, replies: int) -> Corpus:
    """Replies to cmd 24 of a whole day: 330 minutes, amounts as decimal texts."""
    rng = random.Random(seed)
    packets = []
    for number in range(replies):
        reply = CapitalFlowIntradayResponse(symbol=f"{int(_ASKED[number % len(_ASKED)])}.HK")
        inflow = 0
        for unix_s in _day_of_minutes()[1:]:
            inflow += rng.randrange(-(10**9), 10**9)
            reply.capital_flow_lines.add(inflow=f"{inflow / 1000:.3f}", timestamp=unix_s)
        packets.append(packing.response(reply.SerializeToString(), Command.QUERY_CAPITAL_FLOW_INTRADAY, number + 1))
    return corpus_of(packets, [FLOW_LINES - 1] * replies, _ASKED)


def longport_pushes(seed: int, trades_each: int, bytes_min: int) -> Corpus:
    """Pushes of `trades_each` trades of one symbol each, as a TCP stream brings them."""
    rng = random.Random(seed)
    names = [f"{rng.randrange(1, 9999)}.HK" for _ in range(300)] + [
        f"{''.join(rng.choices('ABCDEFGHIJKLMNOPQRSTUVWXYZ', k=rng.randint(1, 5)))}.US" for _ in range(200)
    ]
    packets: list[bytes] = []
    size, guess = 0, bytes_min // (25 + 28 * trades_each)
    while size < bytes_min:
        name = rng.choice(names)
        opens_s = _OPENS_S[HK if name.endswith("HK") else US]
        push = PushTrade(symbol=name, sequence=1 + len(packets))
        for _ in range(trades_each):
            push.trade.add(
                price=f"{rng.uniform(1, 600):.{3 if name.endswith('HK') else 2}f}",
                volume=rng.choice((100, 200, 500, 1000)),
                timestamp=opens_s + len(packets) * _HOUR_S // guess,
                trade_type=rng.choice(("", "", "", "U", "D")),
                direction=rng.choice((0, 1, 2)),
            )
        packets.append(packing.push(push.SerializeToString()))
        size += len(packets[-1])
    return corpus_of(packets, [trades_each] * len(packets))


FLOW_LINES = 331
_ASKED = tuple(f"{code:05d}" for code in range(700, 720))
_HK_ZONE = ZoneInfo("Asia/Hong_Kong")


def _day_of_minutes() -> list[int]:
    """Unix seconds of 09:30 to 12:00 and 13:01 to 16:00, as the vendor's sample has them."""
    begin = _OPENS_S[HK]
    return [begin + 60 * minute for minute in (*range(151), *range(211, 391))]


def reversed_fields(corpus: Corpus) -> Corpus:
    """The same ticks as a later, other sender would write them: fields in reverse order, unknown ones beside them."""
    frames = []
    for number, frame in enumerate(corpus.frames(len(corpus.starts))):
        s2c = ticker_pb2.UpdateTickerResponse.FromString(frame[HEADER_BYTES:]).s2c
        security = wire.piece(2, s2c.security.code.encode()) + wire.number(1, s2c.security.market)
        header = wire.piece(100, wire.number(1, 0))  # QotHeader, as the vendor's SDK sends in requests
        later = _LATER_HK if s2c.security.market == HK else _LATER_US
        ticks = b"".join(wire.piece(2, later + b"".join(reversed([*_fields(tick)]))) for tick in s2c.tickerList)
        body = wire.piece(4, header + wire.piece(3, s2c.name.encode()) + ticks + wire.piece(1, security))
        frames.append(pack_frame(ProtoId.UPDATE_TICKER, number, body + wire.number(1, 0)))
    return corpus_of(frames, corpus.ticks.tolist())


_LATER_HK = wire.number(101, 7) + wire.double(13, 1.5)
_LATER_US = wire.piece(102, b"later") + wire.tag(103, wire.FIXED32) + bytes(4)
"""Fields that no version we know of has."""


def _fields(tick: ticker_pb2.Ticker) -> Iterator[bytes]:
    yield wire.piece(1, tick.time.encode())
    yield wire.number(2, tick.sequence)
    yield wire.number(3, tick.dir)
    yield wire.double(4, tick.price)
    yield wire.number(5, tick.volume)
    yield wire.double(6, tick.turnover)
    yield wire.double(7, tick.recvTime)
    yield wire.number(8, tick.type)
    yield wire.number(9, tick.typeSign)
    yield wire.number(10, tick.pushDataType)
    yield wire.double(11, tick.timestamp)
