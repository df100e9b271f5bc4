"""docs/tables.md says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from codec.tables import STORED_COLUMNS, TABLES, VIEWS
from ticktape.table_docs import document

TABLES_MD = Path(__file__).parents[2] / "docs" / "tables.md"


def test_the_file_is_what_the_declarations_give() -> None:
    assert TABLES_MD.read_text(encoding="utf-8") == document(), "run: python -m ticktape.table_docs > docs/tables.md"


def test_every_table_column_and_view_is_there() -> None:
    sections = {section.split("`")[0]: section for section in document().split("\n## `")[1:]}
    assert list(sections) == [table.name for table in TABLES]
    for table in TABLES:
        lines = sections[table.name].splitlines()
        for column in table:
            (line,) = (line for line in lines if line.startswith(f"| `{column.name}` |"))
            assert line.endswith(f"| {column.meaning} |")
    tail = sections[TABLES[-1].name]
    assert all(f"| `{name}` |" in tail for name in (column.name for column in STORED_COLUMNS))
    assert all(f"| `{view.name}` |" in tail for view in VIEWS)


def test_a_cell_never_breaks_its_table() -> None:
    """A `|` in a meaning would start another cell."""
    for line in document().splitlines():
        if line.startswith("| `"):
            assert line.count("|") in (4, 5), line
