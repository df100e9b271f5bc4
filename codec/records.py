"""The encoded record: what the journal keeps, the relay sends and the writer stores.

A record holds rows of one table and one Kafka partition as an Arrow IPC stream, and beside it
everything that its Kafka headers will say (contract.md, Kafka). It is encoded once; no later hop
decodes it before the writer.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

RECORD_BYTES_MAX = 8 << 20
"""A record's value never exceeds this; topics are created with room for it."""

GAP_IDS_MAX = 2000
"""Gaps that one record names: of 24 hex digits each they fit into its entry and its header."""


class RecordKind(enum.IntEnum):
    """How its rows came: the `ticktape-kind` header is the name in lower case."""

    LIVE = 0
    BACKFILL = 1
    REPLAY = 2


@dataclass(frozen=True, slots=True)
class Record:
    """Rows of one table and partition, encoded.

    Attributes
    ----------
    table : the contract's name: `ticks`
    partition : murmur2(symbol) mod partitions; 0 for tables without a symbol
    rows : rows in `value`, > 0
    first_ts_ns, last_ts_ns : least and greatest ts_event, unix ns (ts_recv or updated_at where
        a table has no ts_event)
    recv_ns : greatest ts_recv (or updated_at), unix ns: becomes the Kafka timestamp
    crc32c : CRC-32C of `value`
    value : Arrow IPC stream, a schema and one record batch, not compressed
    gap_ids : gaps that this record is the first after
    """

    table: str
    kind: RecordKind
    partition: int
    rows: int
    first_ts_ns: int
    last_ts_ns: int
    recv_ns: int
    crc32c: int
    value: bytes
    gap_ids: tuple[str, ...] = ()
