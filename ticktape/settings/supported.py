"""What this version does not run yet, said before anything starts rather than silently left out."""

from __future__ import annotations

from collections.abc import Iterator

from ticktape.settings.model import LongPortSettings, Settings
from ticktape.settings.problems import BadSettings

_NOT_YET = "is not in this version yet"


def refuse_unsupported_gateways(settings: Settings) -> None:
    """Raise BadSettings when a gateway or subscription asks for what could not work.

    For the commands that run gateways; others read the same file and need not care.
    """
    problems = list(_unsupported(settings))
    if problems:
        raise BadSettings(problems)


def _unsupported(settings: Settings) -> Iterator[str]:
    if not settings.gateway:
        yield "there is no [[gateway]]: nothing would be received"
    accounts = {gateway.name for gateway in settings.gateway if isinstance(gateway, LongPortSettings)}
    for number, subscription in enumerate(settings.subscription, start=1):
        if subscription.gateway not in accounts:
            continue
        where = f"subscription number {number}:"
        if "capital_flow" in subscription.feeds and subscription.periods != ("intraday",):
            yield f'{where} LongPort has capital_flow of the running day only: periods = ["intraday"]'


def refuse_unsupported_stores(settings: Settings) -> None:
    """Raise BadSettings when Kafka or ClickHouse are asked for what could not work."""
    problems = []
    if settings.kafka is not None and settings.kafka.row_twins:
        problems.append(f"[kafka] row_twins {_NOT_YET}: leave it empty")
    if settings.clickhouse.cluster is not None:
        problems.append(f"[clickhouse] cluster {_NOT_YET}: leave it out")
    if problems:
        raise BadSettings(problems)
