"""`ticktape schema`: what tables, views and topics should be, and what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import typer

from codec.arrow import arrow_schema
from codec.tables import TABLES, VIEWS
from sinks import ddl, schema, topics
from sinks.clickhouse import ClickHouse
from sinks.kafka import KafkaConfig
from sinks.record_log import RecordLogMismatch
from sinks.topics import WantedTopic
from ticktape.exits import Exit
from ticktape.settings import Settings
from ticktape.settings.supported import refuse_unsupported_stores
from ticktape.wiring import clickhouse_config, kafka_config


def show_schema(settings: Settings) -> None:
    """Print all of it, as it should be."""
    config = clickhouse_config(settings)
    typer.echo("-- ClickHouse")
    typer.echo(f"{ddl.create_database(config.database)};\n")
    for table in TABLES:
        typer.echo(f"{ddl.create_table(config.database, table, config.window_blocks, synced=config.synced)};\n")
    for view in VIEWS:
        typer.echo(f"{ddl.create_view(config.database, view)};\n")
    kafka = kafka_config(settings)
    if kafka is not None:
        typer.echo("-- Kafka")
        for topic in topics.wanted_topics(kafka):
            typer.echo(f"-- {_create_topic(kafka, topic)}")
        typer.echo()
    typer.echo("-- Arrow schemas of the records")
    for table in TABLES:
        typer.echo(f"-- {table.schema_name}")
        for field in arrow_schema(table):
            typer.echo(f"--   {field.name}: {field.type}{'' if field.nullable else ' not null'}")


def apply_schema(settings: Settings, *, dry_run: bool) -> None:
    """Make what is missing; with `dry_run`, print the statements that would.

    Raises
    ------
    SchemaMismatch, RecordLogMismatch
        Something is there and does not fit; what could be made was made.
    ClickHouseError, KafkaUnavailable
    """
    refuse_unsupported_stores(settings)
    clickhouse = ClickHouse(clickhouse_config(settings))
    try:
        for statement in schema.plan(clickhouse) if dry_run else schema.apply(clickhouse):
            typer.echo(f"{statement};\n")
    finally:
        clickhouse.close()
    kafka = kafka_config(settings)
    if kafka is not None:
        asyncio.run(_apply_topics(kafka, dry_run=dry_run))


async def _apply_topics(kafka: KafkaConfig, *, dry_run: bool) -> None:
    plan = topics.plan(kafka, await topics.describe(kafka))
    for topic in plan.missing:
        typer.echo(f"-- {_create_topic(kafka, topic)}")
    if not dry_run:
        await topics.create(kafka, plan.missing)
    if plan.misfits:
        raise RecordLogMismatch("\n".join(str(misfit) for misfit in plan.misfits))


def diff_schema(settings: Settings) -> Exit:
    """Print what is other than it should be, with what mends it.

    Returns
    -------
    MISFIT when something is there and does not fit; FAILED when something is only missing; else DONE
    """
    refuse_unsupported_stores(settings)
    differences = [*_table_differences(settings), *_topic_differences(settings)]
    for _, text in differences:
        typer.echo(text)
    if not differences:
        typer.echo("everything is as it should be")
    return max((code for code, _ in differences), default=Exit.DONE)


def _table_differences(settings: Settings) -> Iterator[tuple[Exit, str]]:
    clickhouse = ClickHouse(clickhouse_config(settings))
    try:
        for problem in schema.diff(clickhouse):
            code = Exit.FAILED if problem.remedy is schema.Remedy.AT_START else Exit.MISFIT
            yield code, f"table {problem.table}: {problem.what}; mend it with:\n{problem.statement};\n"
    finally:
        clickhouse.close()


def _topic_differences(settings: Settings) -> Iterator[tuple[Exit, str]]:
    kafka = kafka_config(settings)
    if kafka is None:
        return
    plan = topics.plan(kafka, asyncio.run(topics.describe(kafka)))
    for topic in plan.missing:
        yield Exit.FAILED, f"topic {topic.name}: does not exist; mend it with:\n{_create_topic(kafka, topic)}\n"
    for difference in plan.differences:
        yield Exit.FAILED if difference.fits else Exit.MISFIT, f"{difference}\n"


def _create_topic(kafka: KafkaConfig, topic: WantedTopic) -> str:
    """The command of Kafka's own tools that makes `topic`."""
    settings = " ".join(f"--config {key}={value}" for key, value in topic.settings.items())
    return (
        f"kafka-topics.sh --bootstrap-server {kafka.bootstrap_servers} --create --topic {topic.name} "
        f"--partitions {topic.partitions} --replication-factor {topic.replication_factor} {settings}"
    )
