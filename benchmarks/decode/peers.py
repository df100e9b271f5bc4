"""What else reads these bytes: ptars, protobuf (upb), the vendor's SDK. Each on the bodies, cut out beforehand.

Where a peer hands over less than ours, less is compared: ptars knows nothing of times and markets, the
SDK drops three fields. Where it can be made to hand over the same (upb with numpy), it is.
"""

from __future__ import annotations

import datetime
import itertools
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa

from benchmarks.decode.columns import Columns, Reader
from benchmarks.decode.ours import RECV_NS
from codec.arrow import arrow_schema, ipc_stream
from codec.columns import BLOCK_ROWS, TickBuffer
from codec.markets import US, symbol_name
from codec.tables import TICKS
from protos.longport.capital_flow_pb2 import CapitalFlowIntradayResponse
from protos.longport.trade_pb2 import PushTrade
from protos.opend import capital_flow_pb2, ticker_pb2

_DIRECTIONS = ("unknown", "buy", "sell", "neutral")
_DELIVERIES = ("realtime", "realtime", "by_disconnect", "cache")
_SESSIONS = np.array(["overnight", "pre", "regular", "post"], object)
_SESSION_BEGINS_S = np.array([0, 4 * 3600, 9 * 3600 + 1800, 16 * 3600])
_RECORD_ROWS = 1000


class Ptars(Reader):
    """ptars: bodies to one nested record batch, in Rust."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        import ptars

        self._bodies = list(bodies)
        pool = ptars.HandlerPool([ticker_pb2.DESCRIPTOR])
        self._handler = pool.get_for_message(ticker_pb2.UpdateTickerResponse.DESCRIPTOR)

    def read(self) -> None:
        self._handler.list_to_record_batch(self._bodies)

    def columns(self) -> Columns:
        ticks = self._handler.list_to_record_batch(self._bodies).column("s2c").field("tickerList").flatten()
        sent = {"sequence": "sequence", "price": "price", "turnover": "turnover"}
        columns = {name: ticks.field(field).to_numpy(zero_copy_only=False) for name, field in sent.items()}
        columns["direction"] = np.array(_DIRECTIONS, object)[ticks.field("dir").to_numpy(zero_copy_only=False)]
        columns["volume"] = ticks.field("volume").to_numpy(zero_copy_only=False).astype(np.float64)
        return columns


class Upb(Reader):
    """protobuf's generated classes (upb), a loop over the fields, and numpy for what is done by column."""

    def __init__(self, bodies: Sequence[bytes], *, pulled: bool = False) -> None:
        self._bodies, self._pulled = bodies, pulled
        self._parse = ticker_pb2.UpdateTickerResponse.FromString  # 3010 has the same shape
        self._names: dict[tuple[int, str], str] = {}

    def read(self) -> None:
        self.columns()

    def columns(self) -> Columns:
        """Everything that the contract's `ticks` have."""
        parse, names = self._parse, self._names
        symbols: list[str] = []
        markets: list[int] = []
        rows: list[tuple[Any, ...]] = []
        for body in self._bodies:
            s2c = parse(body).s2c
            security = s2c.security
            key = (security.market, security.code)
            name = names.get(key) or names.setdefault(key, symbol_name(*key))
            ticks = s2c.tickerList
            symbols += [name] * len(ticks)
            markets += [key[0]] * len(ticks)
            rows += [
                (
                    tick.time,
                    tick.sequence,
                    tick.dir,
                    tick.price,
                    tick.volume,
                    tick.turnover,
                    tick.recvTime,
                    tick.type,
                    tick.typeSign,
                    tick.pushDataType,
                    tick.timestamp,
                )
                for tick in ticks
            ]
        texts, sequences, directions, prices, volumes, turnovers, received, types, signs, pushes, stamps = zip(
            *rows, strict=True
        )
        local_ms = np.array(texts, "M8[ms]").astype(np.int64)
        market = np.array(markets)
        stamp = np.array(stamps)
        count = len(rows)
        of_day_s = local_ms // 1000 % 86_400
        session = _SESSIONS[np.searchsorted(_SESSION_BEGINS_S, of_day_s, side="right") - 1]
        return {
            "symbol": np.array(symbols, object),
            "trade_date": (local_ms // 86_400_000).astype(np.int32),
            "ts_event": np.rint(stamp * 1e6).astype(np.int64),
            "sequence": np.array(sequences, np.int64),
            "ordinal": np.zeros(count, np.uint32),
            "price": np.array(prices),
            "volume": np.array(volumes, np.float64),
            "turnover": np.array(turnovers),
            "direction": np.array(_DIRECTIONS, object)[np.array(directions)],
            "trade_type": np.array(types, np.uint8),
            "condition": np.array([chr(sign) if sign > 32 else "" for sign in signs], object),
            "session": np.where(market == US, session, "regular"),
            "delivery": np.full(count, "pull", object)
            if self._pulled
            else np.array(_DELIVERIES, object)[np.array(pushes)],
            "ts_gateway": np.rint(np.array(received) * 1e6).astype(np.int64),
            "ts_recv": np.full(count, RECV_NS),
            "gateway": np.zeros(count, np.uint8),
        }


class UpbFresh(Upb):
    """The same through a dictionary of keys, which begins empty: only what is fresh."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        super().__init__(bodies)
        self._seen: dict[tuple[str, int], tuple[float, float, str, int]] = {}

    def prepare(self) -> None:
        self._seen = {}

    def columns(self) -> Columns:
        columns, seen = super().columns(), self._seen
        keys = zip(columns["symbol"].tolist(), columns["sequence"].tolist(), strict=True)
        payloads = zip(
            columns["price"].tolist(),
            columns["volume"].tolist(),
            columns["direction"].tolist(),
            (columns["ts_event"] // 1_000_000).tolist(),
            strict=True,
        )
        # No two ticks of these frames share a key with different payloads: a payload that is there is a repeat.
        fresh = np.array(
            [seen.setdefault(key, payload) is payload for key, payload in zip(keys, payloads, strict=True)]
        )
        return {name: values[fresh] for name, values in columns.items()}


class UpbRecords(UpbFresh):
    """Lists to pyarrow: records of 1000 rows, as an engineer without kernels would make them."""

    def read(self) -> None:
        for _ in self.records():
            pass

    def records(self) -> Iterator[bytes]:
        columns = self.columns()
        schema = arrow_schema(TICKS)
        values = {name: column.tolist() for name, column in columns.items()}
        count = len(values["sequence"])
        values["source"], values["gateway"] = ["futu"] * count, ["opend-1"] * count
        for begin in range(0, count, _RECORD_ROWS):
            arrays = [pa.array(values[field.name][begin : begin + _RECORD_ROWS], field.type) for field in schema]
            record = ipc_stream(pa.RecordBatch.from_arrays(arrays, schema=schema))
            google_crc32c.value(record)
            yield record


class UpbLongport(Reader):
    """LongPort's pushes: the generated class, a loop, float() of the price."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies

    def read(self) -> None:
        self.columns()

    def columns(self) -> Columns:
        symbols: list[str] = []
        sequences: list[int] = []
        ordinals: list[int] = []
        rows: list[tuple[Any, ...]] = []
        for body in self._bodies:
            push = PushTrade.FromString(body)
            trades = push.trade
            symbols += [push.symbol] * len(trades)
            sequences += [push.sequence] * len(trades)
            ordinals += range(len(trades))
            rows += [(t.price, t.volume, t.timestamp, t.trade_type, t.direction) for t in trades]
        prices, volumes, stamps, conditions, directions = zip(*rows, strict=True)
        price, volume = np.array([float(text) for text in prices]), np.array(volumes, np.float64)
        return {
            "symbol": np.array([_RENAMED.get(text) or _rename(text) for text in symbols], object),
            "sequence": np.array(sequences, np.int64),
            "ordinal": np.array(ordinals, np.int32),
            "ts_event": np.array(stamps, np.int64) * 1_000_000,
            "price": price,
            "volume": volume,
            "turnover": price * volume,
            "direction": np.array(("neutral", "sell", "buy"), object)[np.array(directions)],
            "condition": np.array(conditions, object),
        }


_RENAMED: dict[str, str] = {}


def _rename(text: str) -> str:
    code, market = text.rsplit(".", 1)
    return _RENAMED.setdefault(text, f"{market}.{code.zfill(5) if market == 'HK' else code}")


class UpbFlows(Reader):
    """3211: the generated class and a loop."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies

    def read(self) -> None:
        self.columns()

    def columns(self) -> Columns:
        rows: list[tuple[Any, ...]] = []
        for body in self._bodies:
            rows += [
                (i.time, i.timestamp, i.inFlow, i.superInFlow, i.bigInFlow, i.midInFlow, i.smlInFlow)
                for i in capital_flow_pb2.GetCapitalFlowResponse.FromString(body).s2c.flowItemList
            ]
        texts, stamps, net, super_, large, medium, small = zip(*rows, strict=True)
        return {
            "trade_date": np.array(texts, "M8[s]").astype("M8[D]").astype(np.int32),
            "ts_event": np.rint(np.array(stamps) * 1e6).astype(np.int64),
            "net_inflow": np.array(net),
            "super_net_inflow": np.array(super_),
            "large_net_inflow": np.array(large),
            "medium_net_inflow": np.array(medium),
            "small_net_inflow": np.array(small),
        }


class UpbLongportFlows(Reader):
    """cmd 24: the generated class, a loop, float() of the amount."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies

    def read(self) -> None:
        self.columns()

    def columns(self) -> Columns:
        inflows: list[str] = []
        stamps: list[int] = []
        symbols: list[str] = []
        for body in self._bodies:
            reply = CapitalFlowIntradayResponse.FromString(body)
            lines = reply.capital_flow_lines
            inflows += [line.inflow for line in lines]
            stamps += [line.timestamp for line in lines]
            symbols += [_RENAMED.get(reply.symbol) or _rename(reply.symbol)] * len(lines)
        return {
            "symbol": np.array(symbols, object),
            "ts_event": np.array(stamps, np.int64) * 1_000_000,
            "net_inflow": np.array([float(text) for text in inflows]),
        }


class Futu(Reader):
    """The vendor's SDK: a parsed body to the DataFrame that its user gets."""

    def __init__(self, bodies: Sequence[bytes], *, pulled: bool) -> None:
        # Importing it makes a folder for its logs below HOME.
        with _scratch_home():
            from futu import TickerHandlerBase
            from futu.common.utils import binary2pb
            from futu.quote.quote_query import TickerQuery
        self._bodies, self._pulled = bodies, pulled
        self._handler, self._binary2pb, self._query = TickerHandlerBase(), binary2pb, TickerQuery

    def read(self) -> None:
        for body in self._bodies:
            self._frame(body)

    def _frame(self, body: bytes) -> Any:
        if not self._pulled:
            return self._handler.on_recv_rsp(self._binary2pb(body, 3011, 0))[1]
        import pandas as pd

        return pd.DataFrame(self._query.unpack_rsp(self._binary2pb(body, 3010, 0))[2])

    def columns(self) -> Columns:
        import pandas as pd

        frame = pd.concat([self._frame(body) for body in self._bodies])
        return {
            "sequence": frame["sequence"].to_numpy().astype(np.int64),
            "price": frame["price"].to_numpy(),
            "volume": frame["volume"].to_numpy().astype(np.float64),
            "turnover": frame["turnover"].to_numpy(),
        }


def _scratch_home() -> Any:
    """A context in which HOME is a folder of its own, kept until the program ends."""
    from unittest.mock import patch

    return patch.dict(os.environ, {"HOME": _SCRATCH.name})


_SCRATCH = tempfile.TemporaryDirectory(prefix="ticktape-bench-home-")


class OneFrame:
    """upb on one frame of one tick: the same columns of one row as ours, each value stored where ours is."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._parse = ticker_pb2.UpdateTickerResponse.FromString
        self._days: dict[str, int] = {}
        self._ids: defaultdict[tuple[int, str], int] = defaultdict(itertools.count().__next__)
        self.ticks = TickBuffer(1)
        self.ticks.rows = 1
        self._columns = {name: self.ticks.column(name) for name in BLOCK_ROWS}

    def read(self) -> None:
        columns = self._columns
        s2c = self._parse(self._body).s2c
        security, tick = s2c.security, s2c.tickerList[0]
        text, stamp, received, sign = tick.time, tick.timestamp, tick.recvTime, tick.typeSign
        day = self._days.get(text[:10])
        if day is None:
            date = datetime.date.fromisoformat(text[:10])
            day = self._days[text[:10]] = (date - datetime.date(1970, 1, 1)).days
        columns["symbol"][0] = self._ids[security.market, security.code]
        columns["trade_date"][0] = day
        columns["ts_event"][0] = round(stamp * 1e6)
        columns["sequence"][0] = tick.sequence
        columns["price"][0] = tick.price
        columns["volume"][0] = tick.volume
        columns["turnover"][0] = tick.turnover
        columns["direction"][0] = tick.dir
        columns["trade_type"][0] = tick.type
        columns["condition"][0] = sign if sign > 32 else 0
        columns["session"][0] = 1 if security.market != US or "09:30" <= text[11:16] < "16:00" else 3
        columns["delivery"][0] = tick.pushDataType or 1
        columns["ts_gateway"][0] = round(received * 1e6)
        columns["ts_recv"][0] = RECV_NS
        columns["gateway"][0] = 0
