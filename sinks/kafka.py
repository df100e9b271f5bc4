"""What everything that speaks Kafka here shares: configuration, names of topics, headers of records."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import google_crc32c
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from codec.errors import TicktapeError
from codec.records import Record, RecordKind
from codec.tables import TABLE_BY_NAME, Table
from sinks import kafka_closed
from sinks.record_log import UnreadableRecord

CONTENT_TYPE = b"application/vnd.apache.arrow.stream"

REQUEST_TIMEOUT_MS = 10_000
"""How long a broker may think before the connection counts as broken."""

_GAP_SEPARATOR = ","
_KIND_HEADERS = {kind: kind.name.lower().encode() for kind in RecordKind}
_KINDS = {header: kind for kind, header in _KIND_HEADERS.items()}


class KafkaUnavailable(TicktapeError):
    """No broker answers, or none that we may talk to."""

    retriable = True

    def __init__(self, bootstrap_servers: str, error: BaseException) -> None:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        super().__init__(f"Kafka at {bootstrap_servers} cannot be used: {why}")
        self.bootstrap_servers = bootstrap_servers


class KafkaMisconfigured(TicktapeError):
    """The files that Kafka's security settings name cannot be used."""


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Which Kafka, and what our topics there are like. Secrets are values here, read by whoever makes this."""

    bootstrap_servers: str
    topic_prefix: str = "ticktape"
    group_id: str = "ticktape-sink"
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    partitions: int = 12
    replication_factor: int = 1
    min_insync_replicas: int = 1
    retention_ms: int = 7 * 24 * 3600 * 1000
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def topic_of(self, table: str) -> str:
        """`capital_flow` → `ticktape.capital-flow`."""
        return f"{self.topic_prefix}.{table.replace('_', '-')}"

    def table_of(self, topic: str) -> Table:
        """The table whose records `topic` holds; KeyError when it is none of ours."""
        return TABLE_BY_NAME[topic.removeprefix(f"{self.topic_prefix}.").replace("-", "_")]

    @property
    def positions_topic(self) -> str:
        return f"{self.topic_prefix}.positions"


def client_options(config: KafkaConfig, client_id: str) -> dict[str, Any]:
    """Arguments that every aiokafka client takes: where, as whom, how patiently.

    Whoever makes a client asks here first, so this is also where aiokafka is mended (`kafka_closed`).

    Raises
    ------
    KafkaMisconfigured : a certificate or key cannot be loaded
    """
    kafka_closed.install()
    return {
        "bootstrap_servers": config.bootstrap_servers,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": config.security_protocol,
        "ssl_context": _ssl_context(config) if config.security_protocol.endswith("SSL") else None,
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.username,
        "sasl_plain_password": config.password,
    }


async def committed_positions(config: KafkaConfig, client_id: str) -> dict[TopicPartition, tuple[int, str]]:
    """Offset and metadata that the sinks' group has committed, which a consumer gives without metadata.

    Raises
    ------
    KafkaError, OSError
    """
    admin = AIOKafkaAdminClient(**client_options(config, client_id))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(config.group_id)
    finally:
        await admin.close()
    return {partition: (at.offset, at.metadata) for partition, at in offsets.items() if at.offset >= 0}


def _ssl_context(config: KafkaConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.cert_file is not None:
            context.load_cert_chain(config.cert_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(each) for each in (config.ca_file, config.cert_file, config.key_file) if each)
        raise KafkaMisconfigured(f"kafka: cannot load {files}: {error}; check ca_file, cert_file, key_file") from error
    return context


def headers_of(
    record: Record, worker: str, journal_id: str, journal_offset: int, rows_total: int
) -> list[tuple[str, bytes]]:
    """The headers of `record`; `rows_total` counts this worker's rows in its topic and partition, these included."""
    headers = [
        ("content-type", CONTENT_TYPE),
        ("ticktape-schema", TABLE_BY_NAME[record.table].schema_name.encode()),
        ("ticktape-kind", _KIND_HEADERS[record.kind]),
        ("ticktape-rows", b"%d" % record.rows),
        ("ticktape-first-ts", b"%d" % record.first_ts_ns),
        ("ticktape-last-ts", b"%d" % record.last_ts_ns),
        ("ticktape-worker", worker.encode()),
        ("ticktape-journal", journal_id.encode()),
        ("ticktape-journal-offset", b"%d" % journal_offset),
        ("ticktape-crc32c", b"%08x" % record.crc32c),
        ("ticktape-rows-total", b"%d" % rows_total),
    ]
    if record.gap_ids:
        headers.append(("ticktape-gap", _GAP_SEPARATOR.join(record.gap_ids).encode()))
    return headers


def record_of(received: ConsumerRecord[Any, bytes], table: Table) -> Record | UnreadableRecord:
    """The record that Kafka delivered from a topic of `table`, or why it is none.

    Its `recv_ns` is Kafka's timestamp, to the millisecond. Nothing inside the value is looked at:
    its checksum says that it is what the worker encoded.
    """
    value = received.value or b""

    def unreadable(reason: str, detail: str) -> UnreadableRecord:
        return UnreadableRecord(table.name, reason, detail, value, received.timestamp * 1_000_000)

    headers = dict(received.headers)
    content_type = headers.get("content-type")
    if content_type != CONTENT_TYPE:
        return unreadable("bad_content_type", f"content-type is {content_type!r}, not {CONTENT_TYPE!r}")
    if headers.get("ticktape-schema") != table.schema_name.encode():
        return unreadable(
            "bad_schema", f"ticktape-schema is {headers.get('ticktape-schema')!r}, not {table.schema_name}"
        )
    try:
        rows, crc32c = int(headers["ticktape-rows"]), int(headers["ticktape-crc32c"], 16)
        first_ts_ns, last_ts_ns = int(headers["ticktape-first-ts"]), int(headers["ticktape-last-ts"])
        kind = _KINDS[headers["ticktape-kind"]]
        gaps = headers.get("ticktape-gap", b"").decode()
    except (KeyError, ValueError) as error:
        return unreadable("bad_headers", f"a header is missing or no number: {error}")
    if google_crc32c.value(value) != crc32c:
        return unreadable("bad_crc32c", f"{len(value)} B do not have the CRC-32C {crc32c:08x} that their header names")
    return Record(
        table=table.name,
        kind=kind,
        partition=received.partition,
        rows=rows,
        first_ts_ns=first_ts_ns,
        last_ts_ns=last_ts_ns,
        recv_ns=received.timestamp * 1_000_000,
        crc32c=crc32c,
        value=value,
        gap_ids=tuple(gaps.split(_GAP_SEPARATOR)) if gaps else (),
    )
