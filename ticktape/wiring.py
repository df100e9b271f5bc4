"""From settings to what the stores are configured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from sinks.clickhouse import ClickHouseConfig
from ticktape.settings import Settings

if TYPE_CHECKING:
    from sinks.kafka import KafkaConfig


def clickhouse_config(settings: Settings) -> ClickHouseConfig:
    """Where the writer stores and readers ask."""
    clickhouse = settings.clickhouse
    return ClickHouseConfig(
        url=clickhouse.url,
        database=clickhouse.database,
        password=revealed(clickhouse.password) or "",
        flush_interval_s=clickhouse.flush_interval.total_seconds(),
        partitions=partition_count(settings),
        synced=clickhouse.folder is not None and settings.journal.durability == "power",
    )


def partition_count(settings: Settings) -> int:
    """Partitions of each topic; a journal that is read directly has one place a table."""
    return settings.kafka.partitions if settings.kafka else 1


def kafka_config(settings: Settings) -> KafkaConfig | None:
    """The Kafka between journal and writer; None where the writer reads the journal."""
    kafka = settings.kafka
    if kafka is None:
        return None
    from sinks.kafka import KafkaConfig  # here, for the commands that ask only ClickHouse

    return KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=kafka.topic_prefix,
        group_id=kafka.group_id,
        compression=kafka.compression,
        partitions=kafka.partitions,
        replication_factor=kafka.replication_factor,
        min_insync_replicas=kafka.min_insync_replicas,
        retention_ms=round(kafka.retention.total_seconds() * 1000),
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism or "PLAIN",
        username=kafka.username,
        password=revealed(kafka.password),
        ca_file=kafka.ca_file,
        cert_file=kafka.cert_file,
        key_file=kafka.key_file,
    )


def revealed(secret: SecretStr | None) -> str | None:
    """The secret itself, for the one place that sends it."""
    return secret.get_secret_value() if secret is not None else None
