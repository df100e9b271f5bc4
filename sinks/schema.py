"""Holds what is in ClickHouse against what `sinks/ddl.py` declares: shows, compares, creates, mends."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codec.errors import TicktapeError
from codec.tables import TABLES, VIEWS, DifferencesView, LatestView, Table
from sinks import ddl
from sinks.clickhouse import ClickHouse, ClickHouseConfig

_TABLES_QUERY = """
    SELECT name, engine_full, sorting_key, partition_key FROM system.tables WHERE database = {database:String}
"""
_COLUMNS_QUERY = """
    SELECT table, name, type FROM system.columns WHERE database = {database:String} ORDER BY table, position
"""
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")


class Remedy(enum.Enum):
    """Who may run the statement that mends a problem."""

    AT_START = "the writer by itself: it creates, or makes room"
    BY_APPLY = "`ticktape schema apply`: it adds, and changes no stored row"
    BY_OWNER = "whoever owns the data: it changes or moves stored rows"


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One thing in ClickHouse that is not as declared, and what mends it."""

    table: str
    what: str
    statement: str
    remedy: Remedy


class SchemaMismatch(TicktapeError):
    """Tables exist in ClickHouse that these rows must not go into; the message says how to mend them."""

    def __init__(self, problems: Sequence[SchemaProblem]) -> None:
        lines = [f"{problem.table}: {problem.what}; mend it with: {problem.statement}" for problem in problems]
        super().__init__("ClickHouse does not fit. " + "\n".join(lines))
        self.problems = tuple(problems)


def diff(clickhouse: ClickHouse) -> list[SchemaProblem]:
    """Everything in ClickHouse that is missing or other than declared, tables first.

    Raises
    ------
    ClickHouseError
    """
    database = clickhouse.database
    tables = {row["name"]: row for row in clickhouse.rows(_TABLES_QUERY, database=database)}
    columns: dict[str, dict[str, str]] = {name: {} for name in tables}
    for row in clickhouse.rows(_COLUMNS_QUERY, database=database):
        columns[row["table"]][row["name"]] = row["type"]
    problems: list[SchemaProblem] = []
    for table in TABLES:
        found = tables.get(table.name)
        if found is None:
            config = clickhouse.config
            statement = ddl.create_table(database, table, config.window_blocks, synced=config.synced)
            problems.append(SchemaProblem(table.name, "does not exist", statement, Remedy.AT_START))
            continue
        problems.extend(_table_problems(clickhouse.config, table, found, columns[table.name]))
    for view in VIEWS:
        problems.extend(_view_problems(database, view, tuple(columns.get(view.name, ()))))
    return problems


def plan(clickhouse: ClickHouse) -> list[str]:
    """The statements that `apply` would run: creations and additions, in order.

    Raises
    ------
    ClickHouseError
    """
    additions = [problem.statement for problem in diff(clickhouse) if problem.remedy is not Remedy.BY_OWNER]
    return [ddl.create_database(clickhouse.database), *additions]


def apply(clickhouse: ClickHouse) -> list[str]:
    """Create what is missing and mend what can be mended without touching a row; says what it ran.

    Raises
    ------
    SchemaMismatch
        Something is left that only its owner may change.
    ClickHouseError
    """
    done = plan(clickhouse)
    for statement in done:
        clickhouse.execute(statement)
    require(clickhouse)
    return done


def require(clickhouse: ClickHouse) -> None:
    """Go on only when everything fits.

    Raises
    ------
    SchemaMismatch
    ClickHouseError
    """
    if problems := diff(clickhouse):
        raise SchemaMismatch(problems)


def prepare(clickhouse: ClickHouse) -> None:
    """Before writing: create tables that do not exist, define the views, change no table's columns.

    Raises
    ------
    SchemaMismatch
        A table exists and does not fit.
    ClickHouseError
    """
    clickhouse.execute(ddl.create_database(clickhouse.database))
    problems = diff(clickhouse)
    left = [problem for problem in problems if problem.remedy is not Remedy.AT_START]
    for problem in problems:
        if problem.remedy is Remedy.AT_START:
            clickhouse.execute(problem.statement)
    if left:
        raise SchemaMismatch(left)


def _table_problems(
    config: ClickHouseConfig, table: Table, found: dict[str, str], types: dict[str, str]
) -> Iterator[SchemaProblem]:
    database, window_blocks = config.database, config.window_blocks
    aside = ddl.set_aside(database, table, window_blocks, synced=config.synced)
    for what, is_, must_be in (
        ("engine", _plain(found["engine_full"].split(" PARTITION BY ")[0]), _engine(table)),
        ("sorting key", _plain(found["sorting_key"]), _plain(", ".join(table.order_by))),
        ("partition key", _plain(found["partition_key"]), _plain(ddl.partition_key(table))),
    ):
        if is_ != must_be:
            yield SchemaProblem(table.name, f"{what} is {is_ or 'none'}, must be {must_be}", aside, Remedy.BY_OWNER)
            return
    for column in ddl.all_columns(table):
        is_type, must_be_type = types.get(column.name), ddl.column_type(column)
        if is_type is None and column.nullable:
            statement = ddl.add_column(database, table, column)
            yield SchemaProblem(table.name, f"column {column.name} is missing", statement, Remedy.BY_APPLY)
        elif is_type is None:
            # Later versions only add nullable columns: this one was taken away, its values with it.
            yield SchemaProblem(table.name, f"column {column.name} is missing", aside, Remedy.BY_OWNER)
        elif is_type != must_be_type:
            what = f"column {column.name} is {is_type}, must be {must_be_type}"
            statement = aside if column.name in table.order_by else ddl.modify_column(database, table, column)
            yield SchemaProblem(table.name, what, statement, Remedy.BY_OWNER)
    window = _WINDOW.search(found["engine_full"])
    blocks = int(window[1]) if window else 0
    if blocks < window_blocks:
        what = f"remembers {blocks} inserts, must be {window_blocks} for repeats to be recognised"
        remedy = Remedy.AT_START if blocks else Remedy.BY_APPLY
        yield SchemaProblem(table.name, what, ddl.modify_window(database, table, window_blocks), remedy)
    if config.synced and not all(f"{name} = 1" in found["engine_full"] for name in ddl.SYNCED):
        what = "its inserts may be lost with the power, and the journal is trimmed behind them"
        yield SchemaProblem(table.name, what, ddl.modify_synced(database, table), Remedy.AT_START)


def _view_problems(
    database: str, view: LatestView | DifferencesView, names: tuple[str, ...]
) -> Iterator[SchemaProblem]:
    if names != ddl.view_columns(view):
        what = "view has other columns" if names else "view does not exist"
        yield SchemaProblem(view.name, what, ddl.create_view(database, view), Remedy.AT_START)


def _engine(table: Table) -> str:
    return f"ReplacingMergeTree({table.newest_by})" if table.newest_by else "ReplacingMergeTree"


def _plain(expression: str) -> str:
    """`expression` without the outer brackets and spaces that ClickHouse adds or leaves out."""
    return expression.removeprefix("(").removesuffix(")") if expression.startswith("(") else expression.strip()
