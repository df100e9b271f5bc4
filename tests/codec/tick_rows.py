"""Rows put into a TickBuffer by hand, for what comes after decoding."""

from __future__ import annotations

from typing import Any, NamedTuple

from codec.columns import NULL_TIME, TickBuffer
from codec.tables import DELIVERY, DIRECTION, SESSION


class Tick(NamedTuple):
    """What a buffer holds of a tick; times as integers in their columns' units."""

    symbol_id: int
    sequence: int
    price: float = 512.5
    volume: float = 100.0
    direction: str = "buy"
    ts_event_us: int = 1_795_138_200_000_000
    turnover: float = 51250.0
    trade_date: int = 20777
    condition: str = ""
    trade_type: int = 1
    session: str = "regular"
    delivery: str = "realtime"
    gateway_id: int = 0
    ts_gateway_us: int | None = None
    ts_recv_ns: int = 1_795_138_200_123_456_789

    @property
    def payload(self) -> tuple[float, float, str, int]:
        """What two ticks of one sequence must share to be the same (contract.md, Exact meanings)."""
        return self.price, self.volume, self.direction, self.ts_event_us // 1_000_000


def tick_of(values: dict[str, Any]) -> Tick:
    """A tick with `values`, the rest as usual."""
    return Tick(**values)


def buffer_of(ticks: list[Tick]) -> TickBuffer:
    buffer = TickBuffer(max(1, len(ticks)))
    buffer.rows = len(ticks)
    values: dict[str, list[Any]] = {
        "symbol": [tick.symbol_id for tick in ticks],
        "sequence": [tick.sequence for tick in ticks],
        "price": [tick.price for tick in ticks],
        "volume": [tick.volume for tick in ticks],
        "direction": [DIRECTION.code(tick.direction) for tick in ticks],
        "ts_event": [tick.ts_event_us for tick in ticks],
        "turnover": [tick.turnover for tick in ticks],
        "trade_date": [tick.trade_date for tick in ticks],
        "condition": [ord(tick.condition) if tick.condition else 0 for tick in ticks],
        "trade_type": [tick.trade_type for tick in ticks],
        "session": [SESSION.code(tick.session) for tick in ticks],
        "delivery": [DELIVERY.code(tick.delivery) for tick in ticks],
        "gateway": [tick.gateway_id for tick in ticks],
        "ts_gateway": [NULL_TIME if tick.ts_gateway_us is None else tick.ts_gateway_us for tick in ticks],
        "ts_recv": [tick.ts_recv_ns for tick in ticks],
    }
    for name, column in values.items():
        buffer.column(name)[:] = column
    return buffer
