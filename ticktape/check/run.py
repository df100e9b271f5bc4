"""`ticktape check`: try everything that the daemons will need, and say what to do about what fails."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codec.errors import TicktapeError
from sinks import schema, topics
from sinks.clickhouse import ClickHouse
from sinks.clickhouse_errors import ClickHouseError, ClickHouseFolderLocked, ClickHouseUnavailable
from sinks.journal import JournalLocked, JournalOnNetworkFileSystem
from sinks.journal.guards import FolderLock, refuse_network_file_system
from ticktape.check.finding import Finding
from ticktape.check.flow_list import check_flow_list
from ticktape.check.longport import check_longport
from ticktape.check.opend import check_opend
from ticktape.exits import Exit, exit_of
from ticktape.settings import LongPortSettings, OpenDSettings, Settings
from ticktape.settings.fields import Address
from ticktape.settings.supported import refuse_unsupported_gateways, refuse_unsupported_stores
from ticktape.settings.units import format_bytes
from ticktape.status import NoDaemon, fetch_status
from ticktape.wiring import clickhouse_config, kafka_config

_PIPE_WIDTH = 10_000
"""Where no terminal sets a width: a long path beside it must not squeeze what is said into a few columns."""


def run_check(settings: Settings) -> Exit:
    """Try everything and print it; MISFIT when something does not fit, else FAILED on any failure."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        findings = runner.run(_findings(settings))
    _show(findings)
    failures = [finding.failed for finding in findings if finding.failed is not None]
    if Exit.MISFIT in failures:
        return Exit.MISFIT
    return Exit.FAILED if failures else Exit.DONE


async def _findings(settings: Settings) -> list[Finding]:
    findings = list(_configuration(settings))
    for gateway in settings.gateway:
        if isinstance(gateway, OpenDSettings):
            findings += await check_opend(settings, gateway)
        elif isinstance(gateway, LongPortSettings):
            findings += await check_longport(settings, gateway)
        else:
            findings += await check_flow_list(settings, gateway)
    findings += await asyncio.to_thread(lambda: list(_journal(settings)))
    findings += await _kafka(settings)
    findings += await asyncio.to_thread(lambda: list(_clickhouse(settings)))
    findings += await asyncio.to_thread(lambda: list(_addresses(settings)))
    return findings


def _configuration(settings: Settings) -> Iterator[Finding]:
    refusals: tuple[Callable[[Settings], None], ...] = (refuse_unsupported_gateways, refuse_unsupported_stores)
    for refuse in refusals:
        try:
            refuse(settings)
        except TicktapeError as error:
            for line in str(error).splitlines():
                yield Finding("configuration", line, failed=Exit.FAILED)


def _journal(settings: Settings) -> Iterator[Finding]:
    path, what = settings.journal.path, "journal"
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            what, f"{existing} cannot be written to", "give us rights there, or set journal.path", Exit.FAILED
        )
        return
    try:
        refuse_network_file_system(existing)
        held = _holder(path)
    except JournalOnNetworkFileSystem as error:
        yield Finding(what, str(error), "set journal.path to a folder on a local disk", exit_of(error))
        return
    disk = os.statvfs(existing)
    free_bytes = disk.f_bavail * disk.f_frsize
    detail = f"{path}{held}, {format_bytes(free_bytes)} free"
    if free_bytes < settings.journal.min_free_bytes:
        least = format_bytes(settings.journal.min_free_bytes)
        yield Finding(
            what, f"{detail}: counts as full below {least}", "make room, or lower min_free_bytes", Exit.FAILED
        )
        return
    yield Finding(what, detail)


def _holder(path: Path) -> str:
    """`, in use by …` when a daemon appends to the journal now."""
    if not (path / "lock").exists():
        return ""
    try:
        FolderLock(path).release()
    except JournalLocked as error:
        return f", in use by process {error.pid}" if error.pid else ", in use"
    return ""


async def _kafka(settings: Settings) -> list[Finding]:
    config = kafka_config(settings)
    if config is None:
        return []
    what = f"Kafka {config.bootstrap_servers}"
    try:
        plan = topics.plan(config, await topics.describe(config))
    except TicktapeError as error:
        return [Finding(what, str(error), "start it, or correct [kafka]", exit_of(error))]
    there = len(topics.wanted_topics(config)) - len(plan.missing)
    will = f", {len(plan.missing)} will be made at the first start" if plan.missing else ""
    findings = [Finding(what, f"answers; {there} topics{will}")]
    for each in plan.differences:
        detail = f"{each.what} is {each.found}, configured {each.wanted}"
        failed = None if each.fits else Exit.MISFIT
        findings.append(Finding(f"topic {each.topic}", detail, each.statement, failed))
    return findings


def _clickhouse(settings: Settings) -> Iterator[Finding]:
    folder, what = settings.clickhouse.folder, f"ClickHouse {settings.clickhouse.url}"
    if folder is not None and not folder.exists():
        yield Finding(what, "will be made at the first start")
        return
    store = ClickHouse(clickhouse_config(settings))
    try:
        version = store.rows("SELECT version() AS version")[0]["version"]
        problems = schema.diff(store)
    except ClickHouseFolderLocked as error:
        yield Finding(what, f"in use: {error}")
        return
    except ClickHouseError as error:
        remedy = "start it, or correct [clickhouse] url" if isinstance(error, ClickHouseUnavailable) else ""
        yield Finding(what, str(error), remedy, exit_of(error))
        return
    finally:
        store.close()
    missing = [problem for problem in problems if problem.remedy is schema.Remedy.AT_START]
    will = (
        f"; {len(missing)} tables and views will be made or given room at the next start" if missing else "; tables fit"
    )
    yield Finding(what, f"version {version}{will}")
    for problem in problems:
        if problem not in missing:
            yield Finding(f"table {problem.table}", problem.what, problem.statement, Exit.MISFIT)


def _addresses(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    for key, address in (("listen", http.listen), ("sink_listen", http.sink_listen)):
        what = f"[http] {key} {address}"
        if (why := _why_taken(address)) is None:
            yield Finding(what, "free")
            continue
        try:
            status = fetch_status(settings, address)
        except NoDaemon as error:
            yield Finding(what, str(error), "stop what listens there, or configure another port", Exit.FAILED)
            continue
        if status is None:
            yield Finding(what, why, "stop what listens there, or configure another address", Exit.FAILED)
        else:
            yield Finding(what, f"ticktape {status['role']}, process {status['pid']}, answers there")


def _why_taken(address: Address) -> str | None:
    """Why nothing can listen at `address`; None when something can."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _show(findings: list[Finding]) -> None:
    console = Console(width=None if Console().is_terminal else _PIPE_WIDTH, highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark = Text("ok", style="green") if finding.failed is None else Text("FAIL", style="bold red")
        text = Text(finding.detail)
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="yellow")
        table.add_row(mark, Text(finding.what), text)
    console.print(table)
    failed = sum(finding.failed is not None for finding in findings)
    if failed:
        console.print(f"{failed} of {len(findings)} failed", style="bold red")
    else:
        console.print("everything works", style="bold green")
