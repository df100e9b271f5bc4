"""Replies to LongPort's polls: capital flow (cmd 24) and its distribution (cmd 25).

Both say which symbol they are about; whoever asked compares. A flow reply is read by a kernel into a
FlowBuffer; a distribution is one row and is read by the generated class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import UTC_S_MAX, UTC_S_MIN, MarketClock
from codec.decimal_text import call_read_decimal
from codec.flow_columns import FLOW_SYMBOL_ID, FlowBuffer
from codec.longport import notes as n
from codec.longport.decoder import REASONS, ControlPacket, Refused
from codec.longport.flows import DECODED, LINE_INDEX, LINE_REASON, NO_ROOM, decode_flow_reply, new_line_notes
from codec.longport.protocol import Command
from codec.longport.wire import SECOND_US, new_day_cache, trade_day_at
from codec.longport.wire_symbols import intern_symbol
from codec.symbols import BAD_CODE, CANONICAL, SymbolTable
from protos.longport.capital_flow_pb2 import CapitalDistributionResponse

_ORDER_SIZES = ("large", "medium", "small")


@dataclass(frozen=True, slots=True)
class FlowLines:
    """A flow reply: rows `first_row` to `first_row + rows` of the buffer, and the lines that are none."""

    symbol_id: int
    first_row: int
    rows: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class OneRow:
    """A reply that is one row of a small table, as `encode_rows` takes it."""

    symbol_id: int
    row: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NeedsRoom:
    """The reply has more lines than the buffer has room for: empty it and call again."""


class _Undecodable(Exception):
    """A reply that yields nothing, for `reason` of codec/longport/notes.py."""

    def __init__(self, reason: int, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


class ReplyDecoder:
    """Reads the replies of one gateway; not thread-safe.

    `packet` is what LongportDecoder noted of a reply whose status is 0.
    """

    def __init__(
        self, symbols: SymbolTable, clock: MarketClock, *, source: str, gateway: str, gateway_id: int = 0
    ) -> None:
        self._symbols = symbols
        self._source, self._gateway, self._gateway_id = source, gateway, gateway_id
        self._notes = new_line_notes()
        self._symbol_arrays = symbols.arrays
        self._time_arrays: tuple[Any, ...] = (
            *(clock.markets, clock.changes, clock.cached, clock.us_days, new_day_cache()),
        )

    def flow(self, packet: ControlPacket, recv_ns: int, flows: FlowBuffer) -> FlowLines | Refused | NeedsRoom:
        """Read a reply to cmd 24, appending its lines to `flows`.

        Parameters
        ----------
        recv_ns : when the packet came, unix ns
        """
        assert packet.command == Command.QUERY_CAPITAL_FLOW_INTRADAY
        assert packet.status_code == 0
        body, first_row = packet.body, flows.rows
        if body.at == body.stop:
            return _refused(packet, n.EMPTY_BODY)
        outcome, row, count, symbol = decode_flow_reply(
            body.source,
            body.at,
            body.stop,
            recv_ns,
            self._gateway_id,
            first_row,
            flows.wide,
            flows.real,
            flows.narrow,
            flows.small,
            self._notes,
            *self._symbol_arrays,
            *self._time_arrays,
        )
        self._symbols.resolve()
        if outcome == NO_ROOM:
            return NeedsRoom()
        if outcome != DECODED:
            return _refused(packet, int(outcome))
        flows.rows = int(row)
        self._symbols.canonicalize(flows.narrow[FLOW_SYMBOL_ID, first_row : flows.rows])
        symbol_id = int(self._symbols.entries[symbol, CANONICAL])
        refused = tuple(_refused_line(packet, line, symbol_id) for line in self._notes[:count].tolist())
        return FlowLines(symbol_id, first_row, flows.rows - first_row, refused)

    def distribution(self, packet: ControlPacket, recv_ns: int) -> OneRow | Refused:
        """Read a reply to cmd 25: a row of `capital_distribution`."""
        assert packet.command == Command.QUERY_CAPITAL_FLOW_DISTRIBUTION
        assert packet.status_code == 0
        if packet.body.at == packet.body.stop:
            return _refused(packet, n.EMPTY_BODY)
        try:
            reply = CapitalDistributionResponse.FromString(packet.body.tobytes())
        except DecodeError:
            return _refused(packet, n.TRUNCATED_MESSAGE)
        try:
            market, symbol_id = self._symbol(reply.symbol)
            if not UTC_S_MIN <= reply.timestamp < UTC_S_MAX:
                raise _Undecodable(n.TIMESTAMP_UNREADABLE)
            amounts = {
                f"{way}_{size}": _amount(getattr(sent, size), f"{size} of capital_{way.removesuffix('flow')}")
                for way, sent in (("inflow", reply.capital_in), ("outflow", reply.capital_out))
                for size in _ORDER_SIZES
            }
        except _Undecodable as error:
            return _refused(packet, error.reason, error.detail)
        row = {
            "source": self._source,
            "symbol": self._symbols.names[symbol_id],
            "trade_date": int(trade_day_at(reply.timestamp, market, *self._time_arrays)),
            "ts_event": reply.timestamp * SECOND_US,
            "inflow_super": None,
            "outflow_super": None,
            **amounts,
            "ts_recv": recv_ns,
            "gateway": self._gateway,
        }
        return OneRow(symbol_id, row)

    def _symbol(self, text: str) -> tuple[int, int]:
        """The market number and the id of a symbol in LongPort's spelling."""
        padded, size = _padded(text)
        market, symbol = intern_symbol(padded, 0, size, *self._symbol_arrays)
        if symbol < 0:
            raise _Undecodable(n.BAD_SYMBOL if symbol == BAD_CODE else n.TOO_MANY_SYMBOLS)
        self._symbols.resolve()
        return int(market), int(self._symbols.entries[symbol, CANONICAL])


def _padded(text: str) -> tuple[NDArray[np.uint8], int]:
    """A text as kernels read it, and its size in bytes."""
    raw = text.encode()
    return np.frombuffer(bytearray(raw + bytes(PAD_BYTES)), np.uint8), len(raw)


def _amount(text: str, name: str) -> float:
    padded, size = _padded(text)
    value = float(call_read_decimal(padded, 0, size))
    if math.isnan(value):
        raise _Undecodable(n.INFLOW_UNREADABLE, f"{name} is {text[:64]!r}: no finite decimal number")
    return value


def _refused(packet: ControlPacket, reason: int, detail: str = "") -> Refused:
    word, text = REASONS[reason]
    return Refused(packet.span, packet.command, packet.request_id, word, detail or text, None, None)


def _refused_line(packet: ControlPacket, line: list[int], symbol_id: int) -> Refused:
    word, text = REASONS[line[LINE_REASON]]
    index = line[LINE_INDEX]
    return Refused(packet.span, packet.command, packet.request_id, word, f"line {index}: {text}", index, symbol_id)
