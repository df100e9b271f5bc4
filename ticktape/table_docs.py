"""The readers' documentation of every table and view, from their declarations: docs/tables.md.

`python -m ticktape.table_docs > docs/tables.md` writes it again; a test holds the file to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pyarrow as pa

from codec.arrow import arrow_type
from codec.tables import (
    STORED_COLUMNS,
    TABLES,
    VIEWS,
    Column,
    DifferencesView,
    LatestView,
    Table,
)
from sinks.ddl import column_type, partition_key, view_columns

_PREAMBLE = """\
# Tables and views

What each table holds, in ClickHouse (database `ticktape`) and in the records of its Kafka topic.
All times are UTC. Each table is a ReplacingMergeTree ordered as given; its key is what makes two
rows the same. Kafka records are Arrow IPC streams with the columns in this order.

Generated from `codec/tables.py`: change it there, then `python -m ticktape.table_docs > docs/tables.md`.
"""


def document() -> str:
    """The whole of docs/tables.md."""
    sections = [_PREAMBLE, *map(_table_section, TABLES), _stored_section(), _views_section()]
    return "\n".join(sections)


def _table_section(table: Table) -> str:
    facts = [f"Key: {_names(table.key)}.", f"Order: {_names(table.order_by)}.", f"Partition: `{partition_key(table)}`."]
    if table.newest_by:
        facts.insert(1, f"Of rows with one key the greatest `{table.newest_by}` stays.")
    rows = [_row(column) for column in table]
    return _section(table.name, f"{table.meaning} Schema `{table.schema_name}`.", " ".join(facts), rows)


def _stored_section() -> str:
    meaning = "At the end of every table in ClickHouse, in no Kafka record: where the row came from."
    lines = [f"| `{column.name}` | {_clickhouse(column)} | {column.meaning} |" for column in STORED_COLUMNS]
    table = _markdown_table(("column", "ClickHouse", "meaning"), lines)
    return f"## Columns of origin\n\n{meaning}\n\n{table}\n"


def _views_section() -> str:
    lines = [f"| `{view.name}` | {_view_meaning(view)} | {_view_columns(view)} |" for view in VIEWS]
    return f"## Views\n\n{_markdown_table(('view', 'gives', 'columns'), lines)}\n"


def _view_meaning(view: LatestView | DifferencesView) -> str:
    if isinstance(view, LatestView):
        return f"The newest row (greatest `{view.newest_by}`) for each {_names(view.line_key)} of `{view.table.name}`."
    column, word = view.only
    return (
        f"For the lines of `{view.latest.name}` with {column} `{word}`, what each adds to the one before it "
        f"along `{view.along}`; anew for each {_names(view.within)}."
    )


def _view_columns(view: LatestView | DifferencesView) -> str:
    if isinstance(view, LatestView):
        return f"those of `{view.table.name}`"
    return _names(view_columns(view))


def _section(name: str, meaning: str, facts: str, rows: Iterable[str]) -> str:
    table = _markdown_table(("column", "ClickHouse", "Arrow", "meaning"), rows)
    return f"## `{name}`\n\n{meaning}\n\n{facts}\n\n{table}\n"


def _row(column: Column) -> str:
    return f"| `{column.name}` | {_clickhouse(column)} | {_arrow(column)} | {column.meaning} |"


def _clickhouse(column: Column) -> str:
    return f"`{column_type(column)}`"


def _arrow(column: Column) -> str:
    """The type as people write it: `dictionary<int32, string>`."""
    kind = arrow_type(column.kind)
    words = f"dictionary<{kind.index_type}, {kind.value_type}>" if isinstance(kind, pa.DictionaryType) else str(kind)
    return f"`{words}` or null" if column.nullable else f"`{words}`"


def _markdown_table(titles: Iterable[str], rows: Iterable[str]) -> str:
    titles = tuple(titles)
    return "\n".join((f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}", *rows))


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(document())
