"""Entries: how one record lies in a segment file. Bytes in, bytes out; no files here.

An entry is a fixed header, the table's name, the gap ids, and the record's value. All integers are
little-endian. Two checksums cover every byte: the header's own, over all that follows it up to the
value, and in the header the value's, which is the one that Kafka readers will check. So the value
is summed once when it is encoded, and the same four bytes guard it on disk and on the wire.

Rule 1: an entry says its own offset, so that entries behind a damaged part are still numbered.
Rule 2: an entry says how many bytes of its append follow it, so that a reader never hands out a
part of an append that may yet fail.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import google_crc32c

from codec.records import RECORD_BYTES_MAX, Record, RecordKind

MAGIC = b"tTe\x01"
"""Starts every entry; what a reader looks for behind a damaged part. The last byte is the format's version."""

_CRC_END = 8
_BODY = struct.Struct("<IIQQqqqIIHHBB2x")
HEADER_BYTES = _CRC_END + _BODY.size
_MAGIC_AND_CRC = struct.Struct("<4sI")
assert _MAGIC_AND_CRC.size == _CRC_END

_TABLE_BYTES_MAX = (1 << 8) - 1
_GAPS_BYTES_MAX = (1 << 16) - 1
HEADER_AND_NAMES_BYTES_MAX = HEADER_BYTES + _TABLE_BYTES_MAX + _GAPS_BYTES_MAX
APPEND_BYTES_MAX = 1 << 30
"""All entries of one append; below what one writev takes, and below what the header can say."""
assert APPEND_BYTES_MAX < 0x7FFFF000

_ERA_BITS = 32
"""An offset's upper half says in which era of the journal it was given, see `journal.py`."""

_GAP_SEPARATOR = b"\0"
_KINDS = tuple(RecordKind)
assert [int(kind) for kind in _KINDS] == list(range(len(_KINDS)))


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the journal.

    Attributes
    ----------
    offset : the entry's number, dense within an era
    rows_total : rows of all entries up to and with this one, since the journal was made
    record : what was appended
    """

    offset: int
    rows_total: int
    record: Record


def era_of(offset: int) -> int:
    return offset >> _ERA_BITS


def first_of_era(era: int) -> int:
    """The least offset that is given in it."""
    return era << _ERA_BITS


class Trouble(enum.Enum):
    """Why there is no entry at a place."""

    SHORT = "the bytes end inside it"
    DAMAGED_HEADER = "what is there is no entry's header"
    DAMAGED_VALUE = "its header is whole, its value is not"


class Parsed(NamedTuple):
    """What `parse` found.

    `end` is the index behind the entry: with SHORT the least that must be there to go on, with
    DAMAGED_HEADER the index it started from. `offset` and `append_left_bytes` hold whenever the
    header is whole, else they are -1.
    """

    end: int
    offset: int
    append_left_bytes: int
    entry: Entry | None
    trouble: Trouble | None


def encode_append(records: Sequence[Record], first_offset: int, rows_before: int) -> tuple[list[bytes], int]:
    """The bytes of one append, as parts to be written in a row, and their total size.

    Raises
    ------
    ValueError : a record breaks the limits or its checksum does not fit its value: it could be
        written, but nobody could read it again
    """
    names = [_names(record) for record in records]
    sizes_bytes = [
        HEADER_BYTES + len(table) + len(gaps) + len(record.value)
        for record, (table, gaps) in zip(records, names, strict=True)
    ]
    total_bytes = left_bytes = sum(sizes_bytes)
    if total_bytes > APPEND_BYTES_MAX:
        raise ValueError(f"an append of {total_bytes} B exceeds the limit of {APPEND_BYTES_MAX} B")
    parts: list[bytes] = []
    for index, record in enumerate(records):
        table, gaps = names[index]
        left_bytes -= sizes_bytes[index]
        rows_before += record.rows
        fields = _BODY.pack(
            len(record.value), left_bytes, first_offset + index, rows_before,
            record.first_ts_ns, record.last_ts_ns, record.recv_ns,
            record.crc32c, record.rows, record.partition, len(gaps), len(table), record.kind,
        )  # fmt: skip
        body = fields + table + gaps
        parts += (_MAGIC_AND_CRC.pack(MAGIC, google_crc32c.value(body)) + body, record.value)
    return parts, total_bytes


def _names(record: Record) -> tuple[bytes, bytes]:
    table, gaps = record.table.encode(), _GAP_SEPARATOR.join(gap.encode() for gap in record.gap_ids)
    if len(table) > _TABLE_BYTES_MAX or len(gaps) > _GAPS_BYTES_MAX:
        raise ValueError(f"a record of {record.table} names {len(record.gap_ids)} gaps: too many for one entry")
    if len(record.value) > RECORD_BYTES_MAX:
        raise ValueError(f"a record of {len(record.value)} B exceeds the limit of {RECORD_BYTES_MAX} B")
    if google_crc32c.value(record.value) != record.crc32c:
        raise ValueError(f"a record of {record.table} carries a checksum that is not its value's")
    return table, gaps


def parse(chunk: memoryview, start: int) -> Parsed:
    """Read the entry that begins at index `start` of `chunk`."""
    body_at = start + _CRC_END
    if len(chunk) < body_at + _BODY.size:
        if not MAGIC.startswith(bytes(chunk[start : start + len(MAGIC)])):
            return Parsed(start, -1, -1, None, Trouble.DAMAGED_HEADER)
        return Parsed(body_at + _BODY.size, -1, -1, None, Trouble.SHORT)
    magic, crc = _MAGIC_AND_CRC.unpack_from(chunk, start)
    fields = _BODY.unpack_from(chunk, body_at)
    (value_bytes, left_bytes, offset, rows_total, first_ts_ns, last_ts_ns, recv_ns,
     value_crc, rows, partition, gaps_bytes, table_bytes, kind) = fields  # fmt: skip
    if magic != MAGIC or value_bytes > RECORD_BYTES_MAX or kind >= len(_KINDS):
        return Parsed(start, -1, -1, None, Trouble.DAMAGED_HEADER)
    gaps_at = body_at + _BODY.size + table_bytes
    value_at = gaps_at + gaps_bytes
    if len(chunk) < value_at:
        return Parsed(value_at, -1, -1, None, Trouble.SHORT)
    if google_crc32c.value(bytes(chunk[body_at:value_at])) != crc:
        return Parsed(start, -1, -1, None, Trouble.DAMAGED_HEADER)
    end = value_at + value_bytes
    if len(chunk) < end:
        return Parsed(end, offset, left_bytes, None, Trouble.SHORT)
    value = bytes(chunk[value_at:end])
    if google_crc32c.value(value) != value_crc:
        return Parsed(end, offset, left_bytes, None, Trouble.DAMAGED_VALUE)
    gaps = bytes(chunk[gaps_at:value_at])
    record = Record(
        bytes(chunk[body_at + _BODY.size : gaps_at]).decode(), _KINDS[kind], partition, rows,
        first_ts_ns, last_ts_ns, recv_ns, value_crc, value,
        tuple(gap.decode() for gap in gaps.split(_GAP_SEPARATOR)) if gaps else (),
    )  # fmt: skip
    return Parsed(end, offset, left_bytes, Entry(offset, rows_total, record), None)
