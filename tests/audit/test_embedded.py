"""`ticktape audit` of what a real daemon stored in the embedded ClickHouse, before and after hands were at it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codec.arrow import batch_of_rows, ipc_stream
from codec.tables import GAPS
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from tests.audit.running import AUDIT_S_MAX, audited, by_hand, delete, symbols_of, unexplained
from tests.program.test_daemons import configuration
from tests.support.daemons import daemon, free_port, query_json, ticktape
from tests.support.simulator import opend_simulator
from ticktape.audit.coverage import NotCoverage, store_coverage

SYMBOLS, TICKS = 6, 20_000
HK, US = "HK.00700", "US.AAPL"


@dataclass(frozen=True)
class Day:
    """A stored day: its folder, what the market says it made, and what an audit said while the daemon ran."""

    folder: Path
    truth: dict[str, Any]
    live: tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("audit")
    options = ("--symbols", SYMBOLS, "--rate", 0, "--ticks-max", TICKS, "--faults", "duplicate=0.05")
    with opend_simulator(*options) as opend:
        port = free_port()
        config = configuration(folder, opend.port, port, free_port())
        with daemon("up", config, port) as up:
            stored = lambda: up.metric("ticktape_rows_total", hop="stored", table="ticks") >= TICKS  # noqa: E731
            up.wait_until(stored, "every tick stored")
            truth = opend.stop()
            live = audited(config)
            up.stop()
    return Day(folder, truth, live)


@pytest.fixture
def copy(day: Day, tmp_path: Path) -> Path:
    """The configuration of a copy of the day, for hands to be laid on."""
    for part in ("journal", "clickhouse"):
        shutil.copytree(day.folder / part, tmp_path / part, symlinks=True)
    return configuration(tmp_path, free_port(), free_port(), free_port())


def test_all_hops_agree_with_the_market_and_the_verdicts_are_stored(day: Day) -> None:
    code, report = day.live
    assert (code, report["unexplained"]) == (0, 0)
    made = {symbol: facts["rows"] for symbol, facts in day.truth["tables"]["ticks"]["symbols"].items()}
    symbols = symbols_of(report)
    for hop in ("journaled", "logged", "stored"):
        assert {symbol: each[hop] for symbol, each in symbols.items()} == made, hop
    assert all(each["received"] == each["journaled"] + each["repeats"] for each in symbols.values())
    # Through the daemon, which held the store.
    config = day.folder / "ticktape.toml"
    rows = query_json(
        config, "SELECT symbol, toInt64(rows) AS rows, missing FROM coverage FINAL WHERE _topic = 'audit'"
    )
    assert {row["symbol"]: int(row["rows"]) for row in rows} == made
    assert {int(row["missing"]) for row in rows if row["symbol"].startswith("HK.")} == {0}


def test_deleted_rows_are_found_in_either_market(copy: Path) -> None:
    """One in the middle, which the counter shows, and the day's last one, which it cannot show."""
    [row] = query_json(
        copy,
        f"SELECT toString(arraySort(groupArrayIf(sequence, symbol = '{HK}'))[500]) AS hk,"
        f" toString(maxIf(sequence, symbol = '{US}')) AS us FROM ticks",
    )
    gone = {HK: row["hk"], US: row["us"]}
    by_hand(copy.parent / "clickhouse", *(delete(f"symbol = '{of}' AND sequence = {s}") for of, s in gone.items()))
    code, report = audited(copy)
    assert code == 1
    told = unexplained(report)
    assert [line.split(" (")[0] for line in told] == [
        f"{symbol}: 1 row stored no more: sequence {sequence}" for symbol, sequence in gone.items()
    ]
    assert sum(each["repeats"] for each in symbols_of(report).values()) > 0.03 * TICKS, "kept when the daemon stopped"
    assert symbols_of(report)[HK]["missing"] == 1


def test_deleted_rows_are_found_without_any_journal(copy: Path) -> None:
    """Hong Kong's by the counter, New York's because a record is stored whole."""
    shutil.rmtree(copy.parent / "journal")
    followed = "(_offset, _row + 1) IN (SELECT _offset, _row FROM ticktape.ticks)"
    of = "FROM ticktape.ticks WHERE symbol = '{}' AND {} ORDER BY _offset, _row LIMIT 1 OFFSET 100"
    one = f"(_offset, _row) = (SELECT _offset, _row {of})"
    by_hand(copy.parent / "clickhouse", *(delete(one.format(symbol, followed)) for symbol in (HK, US)))
    code, report = audited(copy)
    assert code == 1
    told = unexplained(report)
    assert any(line.startswith(f"{HK}: 1 row missing between sequences") for line in told)
    holes = [re.match(r": (\d+) rows of .* are missing between others of it$", line) for line in told]
    assert sum(int(hole[1]) for hole in holes if hole) == 2, "in one record or in two"
    assert "no journal" in str([day["notes"] for day in report["days"]])


def test_changed_rows_are_told(copy: Path) -> None:
    by_hand(
        copy.parent / "clickhouse",
        f"ALTER TABLE ticktape.ticks UPDATE volume = volume + 1 WHERE symbol = '{US}' SETTINGS mutations_sync = 2",
    )
    code, report = audited(copy)
    assert code == 1
    [told] = unexplained(report)
    assert told.startswith(f"{US}: volume of the journaled rows")


def test_a_symbol_gone_is_told_in_one_line_with_what_to_do(copy: Path) -> None:
    by_hand(copy.parent / "clickhouse", delete(f"symbol = '{HK}'"))
    shown = ticktape(copy, "audit", timeout_s=AUDIT_S_MAX)
    assert shown.returncode == 1
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("UNEXPLAINED")]
    assert f"{HK} (futu): " in line
    assert "rows stored no more" in line
    assert "system.mutations" in line
    [row] = [line.split() for line in shown.stdout.splitlines() if line.startswith(f"{HK} ")]
    received, repeats, journaled, logged, stored = (int(number.replace(",", "")) for number in row[2:7])
    assert received - repeats == journaled == logged > stored == 0


def test_a_day_without_ticks_is_said_to_be_one(tmp_path: Path) -> None:
    config = configuration(tmp_path, free_port(), free_port(), free_port())
    none = ticktape(config, "audit")
    assert (none.returncode, "nothing is stored yet" in none.stderr) == (1, True)
    wrong = ticktape(config, "audit", "--date", "yesterday")
    assert wrong.returncode == 2


@pytest.mark.parametrize("stream", [b"", b"garbage", ipc_stream(batch_of_rows(GAPS, []))])
def test_only_rows_of_coverage_are_taken(stream: bytes, tmp_path: Path) -> None:
    store = ClickHouse(ClickHouseConfig(f"chdb://{tmp_path}"))
    with pytest.raises(NotCoverage):
        store_coverage(store, pa.py_buffer(stream))
    store.close()
