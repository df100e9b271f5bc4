"""Capital-flow lines to records: fresh rows, split by partition, as Arrow IPC streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import arrow_type, text_array
from codec.arrow_arrays import constant_word, enum_array, nullable_array, plain_array, word_array
from codec.flow_columns import FLOW_BLOCK_ROWS, FLOW_SYMBOL_ID, PERIOD_CODE, FlowBuffer
from codec.grouping import Grouper
from codec.markets import parse_symbol
from codec.records import Record
from codec.symbols import SymbolTable
from codec.tables import CAPITAL_FLOW, PERIOD, EnumKind, Kind

_NO_PERIOD = 0
"""What polls bring is live, of whatever period: no row has the code that would make it backfill."""


class FlowEncoder:
    """Encodes the flow lines of one source.

    `gateways` are the names that the buffer's gateway ids stand for; it may grow at its end.
    """

    def __init__(self, source: str, symbols: SymbolTable, gateways: Sequence[str]) -> None:
        self._source = text_array([source])
        self._gateways = gateways
        self._grouper = Grouper(symbols)

    def encode(self, flows: FlowBuffer, fresh: NDArray[np.bool_], fresh_rows: int) -> list[Record]:
        """Records of the fresh rows of `flows`, one for each partition that has any.

        Parameters
        ----------
        fresh : (flows.rows,) bool, of which `fresh_rows` are True: as a FlowVerdict gives them
        """
        if fresh_rows == 0:
            return []
        groups = self._grouper.group(
            flows.narrow[FLOW_SYMBOL_ID], flows.small[PERIOD_CODE], _NO_PERIOD, fresh, fresh_rows
        )
        columns = {
            name: groups.ordered(getattr(flows, block)[row])
            for name, (block, row) in FLOW_BLOCK_ROWS.items()
            if name != "symbol"
        }
        arrays: dict[str, pa.Array[Any]] = {"source": constant_word(self._source, fresh_rows)}
        for name, values in columns.items():
            column = CAPITAL_FLOW[name]
            if isinstance(column.kind, EnumKind):
                arrays[name] = enum_array(column.kind, values)
            elif name == "gateway":
                arrays[name] = word_array(text_array(self._gateways), values.astype(np.int32))
            elif column.nullable:
                arrays[name] = nullable_array(arrow_type(column.kind), values, ~np.isnan(values))
            else:
                arrays[name] = plain_array(arrow_type(column.kind), values)
        return self._grouper.records(CAPITAL_FLOW, groups, arrays, columns["ts_event"], columns["ts_recv"])


def flows_of_batch(batch: pa.RecordBatch, symbols: SymbolTable) -> FlowBuffer:
    """The rows of a `capital_flow` record read back, all but their gateway, in their order."""
    flows = FlowBuffer(batch.num_rows)
    flows.rows = batch.num_rows
    for name, (block, row) in FLOW_BLOCK_ROWS.items():
        kind, column = CAPITAL_FLOW[name].kind, batch.column(name)
        if kind in (Kind.TIME_US, Kind.TIME_NS):
            column = column.view(pa.int64())
        elif kind is Kind.DATE:
            column = column.view(pa.int32())
        elif kind is Kind.FLOAT64:
            column = column.fill_null(np.nan)
        elif name in ("symbol", "period"):
            assert isinstance(column, pa.DictionaryArray)
            words = map(str, column.dictionary.to_pylist())
            ids = [PERIOD.code(word) if name == "period" else symbols.id_of(*parse_symbol(word)) for word in words]
            getattr(flows, block)[row] = np.array(ids, np.int32)[column.indices.to_numpy()]
            continue
        else:
            continue
        getattr(flows, block)[row] = column.to_numpy(zero_copy_only=False)
    return flows
