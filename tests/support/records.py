"""Records for tests of the hops that never look inside one."""

from __future__ import annotations

import random
from collections.abc import Sequence

import google_crc32c

from codec.records import Record, RecordKind

START_NS = 1_760_000_000_000_000_000


def make_record(
    value: bytes = b"value",
    *,
    table: str = "ticks",
    partition: int = 0,
    rows: int = 1,
    kind: RecordKind = RecordKind.LIVE,
    recv_ns: int = START_NS,
    gap_ids: tuple[str, ...] = (),
) -> Record:
    """A record around any bytes: nothing before the writer decodes them."""
    return Record(
        table=table,
        kind=kind,
        partition=partition,
        rows=rows,
        first_ts_ns=recv_ns - 2_000_000,
        last_ts_ns=recv_ns - 1_000_000,
        recv_ns=recv_ns,
        crc32c=google_crc32c.value(value),
        value=value,
        gap_ids=gap_ids,
    )


def random_records(count: int, *, seed: int, value_bytes: Sequence[int] = (0, 1, 60, 300, 2000)) -> list[Record]:
    """`count` records of mixed tables, partitions and sizes; the same seed gives the same ones."""
    rng = random.Random(seed)
    return [
        make_record(
            rng.randbytes(rng.choice(value_bytes)),
            table=rng.choice(("ticks", "capital_flow", "gaps")),
            partition=rng.randrange(12),
            rows=rng.randrange(1, 1000),
            kind=rng.choice(tuple(RecordKind)),
            recv_ns=START_NS + number * 1_000_000,
            gap_ids=("a gap", "another") if rng.random() < 0.1 else (),
        )
        for number in range(count)
    ]
