"""Records of flow lines against the rows that went into them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from codec.arrow import arrow_schema, rows_of_batch
from codec.encode_flows import FlowEncoder, flows_of_batch
from codec.flow_columns import FLOW_BLOCK_ROWS, FlowBuffer
from codec.markets import HK
from codec.partition import partition_of
from codec.records import RecordKind
from codec.symbols import SymbolTable
from codec.tables import CAPITAL_FLOW, PERIOD
from tests.codec import strategies as drawn
from tests.codec.examples import examples

PARTITIONS = 5
SYMBOLS = 6
GATEWAYS = ["opend-1", "opend-2"]
PARTS = [column.name for column in CAPITAL_FLOW if column.nullable]
WORDS = {code: word for word, code in PERIOD.members}

instants_us = st.integers(631152000_000000, 4102444799_999999)
lines = st.fixed_dictionaries(
    {
        "symbol": st.integers(0, SYMBOLS - 1),
        "trade_date": st.integers(7305, 47481),
        "ts_event": instants_us,
        "period": st.integers(1, 4),
        "net_inflow": drawn.finite,
        **dict.fromkeys(PARTS, st.one_of(st.none(), drawn.finite)),
        "ts_recv": st.integers(0, 2**62),
        "gateway": st.integers(0, 1),
    }
)


def table() -> SymbolTable:
    symbols = SymbolTable(PARTITIONS)
    for number in range(SYMBOLS):
        symbols.id_of(HK, f"{number:05d}")
    return symbols


def buffer_of(rows: list[dict[str, Any]]) -> FlowBuffer:
    flows = FlowBuffer(max(1, len(rows)))
    flows.rows = len(rows)
    for name in FLOW_BLOCK_ROWS:
        flows.column(name)[:] = [np.nan if row[name] is None else row[name] for row in rows]
    return flows


@examples(150)
@given(judged=st.lists(st.tuples(lines, st.booleans()), max_size=30))
def test_records_hold_the_fresh_rows(judged: list[tuple[dict[str, Any], bool]]) -> None:
    symbols = table()
    flows = buffer_of([row for row, _ in judged])
    fresh = np.array([is_fresh for _, is_fresh in judged], np.bool_)
    records = FlowEncoder("futu", symbols, GATEWAYS).encode(flows, fresh, int(fresh.sum()))

    expected: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row, is_fresh in judged:
        if is_fresh:
            symbol = symbols.names[row["symbol"]]
            words = {"symbol": symbol, "period": WORDS[row["period"]], "gateway": GATEWAYS[row["gateway"]]}
            expected[partition_of(symbol, PARTITIONS)].append({"source": "futu"} | row | words)
    assert [record.partition for record in records] == sorted(expected)
    for record in records:
        rows = expected[record.partition]
        batch = pa.ipc.open_stream(record.value).read_next_batch()
        assert batch.schema == arrow_schema(CAPITAL_FLOW)
        assert rows_of_batch(CAPITAL_FLOW, batch) == rows
        assert (record.table, record.kind, record.rows) == ("capital_flow", RecordKind.LIVE, len(rows))
        assert record.first_ts_ns == min(row["ts_event"] for row in rows) * 1000
        assert record.last_ts_ns == max(row["ts_event"] for row in rows) * 1000
        assert record.recv_ns == max(row["ts_recv"] for row in rows)
        assert record.crc32c == google_crc32c.value(record.value)

        back = flows_of_batch(batch, symbols)
        kept = buffer_of([row for row, is_fresh in judged if is_fresh and symbols.names[row["symbol"]] in
                          {each["symbol"] for each in rows}])  # fmt: skip
        for name in FLOW_BLOCK_ROWS:
            if name != "gateway":
                assert back.column(name).tobytes() == kept.column(name).tobytes(), name


def test_nothing_fresh_gives_no_record() -> None:
    assert FlowEncoder("futu", table(), GATEWAYS).encode(FlowBuffer(1), np.zeros(0, np.bool_), 0) == []
