"""The configuration of each daemon: the same Kafka and ClickHouse, each reached over links of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.opend import symbols_of
from tests.chaos.plan import CLICKHOUSE, KAFKA, WORKERS

PREFIX = "chaos"
PARTITIONS = 3
"""Few, so that most inserts hold ticks of both markets."""
JOURNAL_BYTES_MAX = 96 << 20
DISK_BYTES = 128 << 20

_CONFIG = """
[worker]
name = "{name}"

[journal]
path = "{journal}"
max_bytes = {journal_bytes_max}
min_free_bytes = {min_free_bytes}

[kafka]
bootstrap_servers = "{kafka}"
topic_prefix = "{prefix}"
group_id = "{prefix}-sink"
partitions = {partitions}

[clickhouse]
url = "{clickhouse}"

[http]
{listen} = "127.0.0.1:{http_port}"
"""

_GATEWAY = """
[[gateway]]
name = "opend-{name}"
kind = "opend"
url = "tcp://127.0.0.1:{port}"
quota_share = 0.5

[[subscription]]
gateway = "opend-{name}"
symbols = {symbols}
"""


def write_config(path: Path, name: str, journal: Path, http_port: int, ports: Mapping[str, int]) -> None:
    """Of the daemon `name`; `ports` are those of its links, by what they lead to."""
    is_worker = name in WORKERS
    text = _CONFIG.format(
        name=name,
        journal=journal,
        journal_bytes_max=JOURNAL_BYTES_MAX,
        # One sees that there is little room left, the other runs into the end of the disk.
        min_free_bytes=8 << 20 if name == WORKERS[0] else 1,
        kafka=f"127.0.0.1:{ports[KAFKA]}",
        prefix=PREFIX,
        partitions=PARTITIONS,
        clickhouse=f"http://127.0.0.1:{ports[CLICKHOUSE]}" if CLICKHOUSE in ports else "chdb://unused",
        listen="listen" if is_worker else "sink_listen",
        http_port=http_port,
    )
    if is_worker:
        text += _GATEWAY.format(name=name, port=ports["opend"], symbols=json.dumps(symbols_of(name)))
    path.write_text(text)
