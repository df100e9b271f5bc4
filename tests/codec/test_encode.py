"""Records against the rows that went into them."""

from __future__ import annotations

import datetime
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.arrow import arrow_schema
from codec.encode import TickEncoder, encode_rows
from codec.markets import HK, US
from codec.partition import partition_of
from codec.records import Record, RecordKind
from codec.symbols import SymbolTable
from codec.tables import DEAD_LETTERS, GAPS, SYMBOLS, TICKS
from tests.codec import strategies as drawn
from tests.codec.examples import examples
from tests.codec.tick_rows import Tick, buffer_of, tick_of

PARTITIONS = 5
GATEWAYS = ["opend-1", "opend-2"]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def table(count: int) -> SymbolTable:
    symbols = SymbolTable(PARTITIONS)
    for number in range(count):
        symbols.id_of(US if number % 2 else HK, f"{number:05d}")
    return symbols


def columns_of(record: Record) -> dict[str, list[Any]]:
    """The record's rows as integers and words, read by Arrow alone."""
    found = pa.ipc.open_stream(record.value).read_all()
    assert found.schema == arrow_schema(TICKS)
    columns = {}
    for name, kind in (("trade_date", pa.int32()), ("ts_event", pa.int64()), ("ts_gateway", pa.int64())):
        columns[name] = found.column(name).cast(kind).to_pylist()
    columns["ts_recv"] = found.column("ts_recv").cast(pa.int64()).to_pylist()
    return {name: columns.get(name) or found.column(name).to_pylist() for name in found.column_names}


def dictionary_of(record: Record, name: str) -> list[str]:
    column = pa.ipc.open_stream(record.value).read_next_batch().column(name)
    assert isinstance(column, pa.DictionaryArray)
    return [str(word) for word in column.dictionary.to_pylist()]


def expected_columns(ticks: list[tuple[Tick, int]], source: str, symbols: SymbolTable) -> dict[str, list[Any]]:
    rows = [
        {
            "source": source,
            "symbol": symbols.names[tick.symbol_id],
            "trade_date": tick.trade_date,
            "ts_event": tick.ts_event_us,
            "sequence": tick.sequence,
            "ordinal": ordinal,
            "price": tick.price,
            "volume": tick.volume,
            "turnover": tick.turnover,
            "direction": tick.direction,
            "trade_type": tick.trade_type,
            "condition": tick.condition,
            "session": tick.session,
            "delivery": tick.delivery,
            "ts_gateway": tick.ts_gateway_us,
            "ts_recv": tick.ts_recv_ns,
            "gateway": GATEWAYS[tick.gateway_id],
        }
        for tick, ordinal in ticks
    ]
    return {column.name: [row[column.name] for row in rows] for column in TICKS}


any_ticks = st.fixed_dictionaries(
    {
        "symbol_id": st.integers(0, 7),
        "sequence": drawn.int64s,
        "price": drawn.finite,
        "volume": drawn.finite,
        "turnover": drawn.finite,
        "direction": st.sampled_from(["unknown", "buy", "sell", "neutral"]),
        "ts_event_us": st.integers(631152000_000000, 4102444799_999999),
        "trade_date": st.integers(7305, 47481),
        "condition": st.sampled_from(["", "!", "U", "~"]),
        "trade_type": st.integers(0, 255),
        "session": st.sampled_from(["unknown", "regular", "pre", "post", "overnight"]),
        "delivery": st.sampled_from(["realtime", "by_disconnect", "cache", "pull", "import"]),
        "gateway_id": st.integers(0, 1),
        "ts_gateway_us": st.one_of(st.none(), st.integers(631152000_000000, 4102444799_999999)),
        "ts_recv_ns": st.integers(0, 2**62),
    }
).map(tick_of)
judged_ticks = st.tuples(any_ticks, st.one_of(st.none(), st.integers(0, 2**32 - 1)))
"""A tick with its ordinal, None for a repeat."""


def encode(judged: Sequence[tuple[Tick, int | None]], encoder: TickEncoder) -> list[Record]:
    buffer = buffer_of([tick for tick, _ in judged])
    fresh = np.array([ordinal is not None for _, ordinal in judged], np.bool_)
    ordinals = np.array([ordinal or 0 for _, ordinal in judged], np.uint32)
    return encoder.encode(buffer, fresh, ordinals, int(fresh.sum()))


def check(judged: Sequence[tuple[Tick, int | None]], records: list[Record], symbols: SymbolTable) -> None:
    """Fresh rows by partition and kind in order of receipt, each record right in itself."""
    groups: dict[tuple[int, RecordKind], list[tuple[Tick, int]]] = defaultdict(list)
    for tick, ordinal in judged:
        if ordinal is not None:
            kind = RecordKind.BACKFILL if tick.delivery == "pull" else RecordKind.LIVE
            groups[partition_of(symbols.names[tick.symbol_id], PARTITIONS), kind].append((tick, ordinal))
    assert [(record.partition, record.kind) for record in records] == sorted(groups)
    for record in records:
        ticks = groups[record.partition, record.kind]
        assert columns_of(record) == expected_columns(ticks, "futu", symbols)
        assert (record.table, record.rows, record.gap_ids) == ("ticks", len(ticks), ())
        assert record.first_ts_ns == min(tick.ts_event_us for tick, _ in ticks) * 1000
        assert record.last_ts_ns == max(tick.ts_event_us for tick, _ in ticks) * 1000
        assert record.recv_ns == max(tick.ts_recv_ns for tick, _ in ticks)
        assert record.crc32c == google_crc32c.value(record.value)
        words = dictionary_of(record, "symbol")
        assert sorted(words) == sorted({symbols.names[tick.symbol_id] for tick, _ in ticks}), "each symbol once"
        conditions = dictionary_of(record, "condition")
        assert sorted(conditions) == sorted({*conditions, *(tick.condition for tick, _ in ticks)})


@examples(150)
@given(batches=st.lists(st.lists(judged_ticks, max_size=20), min_size=1, max_size=3))
def test_records_hold_the_fresh_rows(batches: list[list[tuple[Tick, int | None]]]) -> None:
    symbols = table(8)
    encoder = TickEncoder("futu", symbols, GATEWAYS)
    for judged in batches:
        check(judged, encode(judged, encoder), symbols)


def test_thousands_of_rows_of_hundreds_of_symbols() -> None:
    chance, symbols = random.Random(1), table(300)
    judged: list[tuple[Tick, int | None]] = [
        (Tick(chance.randrange(300), at, delivery=chance.choice(["realtime", "pull"])), chance.choice([None, 0, 0, 1]))
        for at in range(5000)
    ]
    check(judged, encode(judged, TickEncoder("futu", symbols, GATEWAYS)), symbols)


def test_nothing_fresh_gives_no_record() -> None:
    encoder = TickEncoder("futu", table(1), GATEWAYS)
    assert encode([], encoder) == []
    assert encode([(Tick(0, 1), None)], encoder) == []


def test_symbols_and_gateways_that_come_later_are_known() -> None:
    symbols, gateways = table(1), GATEWAYS[:1]
    encoder = TickEncoder("futu", symbols, gateways)
    first = [(Tick(0, 1), 0)]
    check(first, encode(first, encoder), symbols)
    new = symbols.id_of(US, "NEW")
    gateways.append(GATEWAYS[1])
    second = [(Tick(new, 1, gateway_id=1), 0)]
    check(second, encode(second, encoder), symbols)


def test_the_same_rows_give_the_same_bytes() -> None:
    """Whatever else the table of symbols holds."""
    judged: list[tuple[Tick, int | None]] = [(Tick(id_ % 3, id_), 0) for id_ in range(50)]
    first, second = (
        [record.value for record in encode(judged, TickEncoder("futu", table(count), GATEWAYS))] for count in (3, 8)
    )
    assert first == second


GAP = {
    "gap_id": "a1",
    "source": "futu",
    "symbol": "HK.00700",
    "gateway": "opend-1",
    "feed": "ticks",
    "cause": "reconnect",
    "from_ts": None,
    "to_ts": 1_795_138_200_000_000,
    "from_sequence": None,
    "to_sequence": -5,
    "filled": 0,
    "missing": None,
    "certainty": "certain",
    "state": "open",
    "opened_at": 1_795_138_200_123_456_788,
    "updated_at": 1_795_138_200_123_456_789,
}


def test_rows_of_small_tables_by_symbol() -> None:
    rows = [GAP | {"symbol": symbol, "gap_id": symbol} for symbol in ("HK.00700", "US.AAPL", "US.MSFT", "HK.00700")]
    rows[3] |= {"updated_at": GAP["updated_at"] + 1}  # type: ignore[operator]
    records = encode_rows(GAPS, rows, 12)
    partitions = [partition_of(str(row["symbol"]), 12) for row in rows]
    assert [record.partition for record in records] == sorted(set(partitions))
    for record in records:
        members = [row for row, partition in zip(rows, partitions, strict=True) if partition == record.partition]
        found = pa.ipc.open_stream(record.value).read_all()
        assert found.schema == arrow_schema(GAPS)
        assert found.column("gap_id").to_pylist() == [row["gap_id"] for row in members]
        assert found.column("to_ts").cast(pa.int64()).to_pylist() == [row["to_ts"] for row in members]
        assert found.column("from_ts").null_count == len(members)
        updated = [row["updated_at"] for row in members]
        assert (record.first_ts_ns, record.last_ts_ns, record.recv_ns) == (min(updated), max(updated), max(updated))  # type: ignore[type-var]
        assert record.crc32c == google_crc32c.value(record.value)
        assert (record.table, record.kind, record.rows) == ("gaps", RecordKind.LIVE, len(members))


def test_rows_without_a_symbol_go_to_partition_0() -> None:
    letter = {
        "gateway": "opend-1",
        "feed": "ticks",
        "reason": "bad_sha1",
        "detail": "…",
        "payload": b"FT\x00\xff",
        "payload_bytes": 4,
        "ts_recv": 7,
    }
    (record,) = encode_rows(DEAD_LETTERS, [letter, letter | {"ts_recv": 5}], 12, RecordKind.BACKFILL)
    assert (record.partition, record.rows, record.kind) == (0, 2, RecordKind.BACKFILL)
    assert (record.first_ts_ns, record.last_ts_ns, record.recv_ns) == (5, 7, 7)
    assert pa.ipc.open_stream(record.value).read_all().column("payload").to_pylist() == [letter["payload"]] * 2


def test_no_rows_give_no_record_and_a_row_without_a_time_is_an_error() -> None:
    assert encode_rows(GAPS, [], 12) == []
    with pytest.raises(ValueError, match="time of ours"):
        encode_rows(SYMBOLS, [{"source": "futu", "symbol": "US.AAPL"}], 12)
