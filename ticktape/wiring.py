"""From settings to what each hop is configured with."""

from __future__ import annotations

from pydantic import SecretStr

from codec.opend.protocol import SessionChoice
from ingest.gateway import GatewayConfig
from sinks.clickhouse import ClickHouseConfig
from sinks.kafka import KafkaConfig
from ticktape.settings import OpenDSettings, Settings

_TICKS = "ticks"


def clickhouse_config(settings: Settings) -> ClickHouseConfig:
    """Where the writer stores and readers ask."""
    clickhouse = settings.clickhouse
    return ClickHouseConfig(
        url=clickhouse.url,
        database=clickhouse.database,
        password=revealed(clickhouse.password) or "",
        flush_interval_s=clickhouse.flush_interval.total_seconds(),
        partitions=partition_count(settings),
    )


def partition_count(settings: Settings) -> int:
    """Partitions of each topic; a journal that is read directly has one place a table."""
    return settings.kafka.partitions if settings.kafka else 1


def kafka_config(settings: Settings) -> KafkaConfig | None:
    """The Kafka between journal and writer; None where the writer reads the journal."""
    kafka = settings.kafka
    if kafka is None:
        return None
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


def gateway_configs(settings: Settings, worker: str) -> list[GatewayConfig]:
    """The gateways that the worker of this name takes, each with all its symbols, in file order."""
    return [
        _gateway_config(settings, gateway)
        for gateway in settings.gateway
        if isinstance(gateway, OpenDSettings) and gateway.worker in (None, worker)
    ]


def _gateway_config(settings: Settings, gateway: OpenDSettings) -> GatewayConfig:
    subscriptions = [each for each in settings.subscription if each.gateway == gateway.name and _TICKS in each.feeds]
    symbols = dict.fromkeys(symbol for subscription in subscriptions for symbol in subscription.symbols)
    session = next((subscription.session for subscription in subscriptions), "all")
    port = gateway.port
    assert port is not None, "a tcp:// URL names its port"
    return GatewayConfig(
        name=gateway.name,
        source=gateway.source,
        host=gateway.host,
        port=port,
        symbols=tuple(symbols),
        us_session=SessionChoice[session.upper()],
        body_bytes_max=gateway.frame_bytes_max,
    )


def revealed(secret: SecretStr | None) -> str | None:
    """The secret itself, for the one place that sends it."""
    return secret.get_secret_value() if secret is not None else None
