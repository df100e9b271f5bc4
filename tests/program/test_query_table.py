"""How answers are shown: words for enums, times in the asked zone, any bytes."""

from __future__ import annotations

import io
from zoneinfo import ZoneInfo

import orjson
import pytest

from ticktape.query_table import in_zone, json_array, show_table

UTC, HONG_KONG = ZoneInfo("UTC"), ZoneInfo("Asia/Hong_Kong")


def shown(answer: bytes, zone: ZoneInfo = UTC) -> list[list[str]]:
    """The words of each line."""
    stream = io.StringIO()
    show_table(answer, zone, stream)
    return [line.split() for line in stream.getvalue().splitlines()]


def answer(names: list[str], types: list[str], *rows: list[object]) -> bytes:
    return b"\n".join(orjson.dumps(line) for line in (names, types, *rows)) + b"\n"


def test_a_table_has_a_header_its_rows_and_their_count() -> None:
    lines = shown(answer(["symbol", "price"], ["LowCardinality(String)", "Float64"], ["HK.00700", 512.5], ["X", None]))
    assert lines[0] == ["symbol", "price"]
    assert lines[2:] == [["HK.00700", "512.5"], ["X", "–"], ["2", "rows"]]


def test_an_empty_answer_still_names_its_columns() -> None:
    lines = shown(answer(["symbol"], ["String"]))
    assert (lines[0], lines[-1]) == (["symbol"], ["0", "rows"])


@pytest.mark.parametrize(
    ("kind", "moves"),
    [
        ("DateTime64(9, 'UTC')", True),
        ("Nullable(DateTime64(6, 'UTC'))", True),
        ("DateTime('UTC')", True),
        ("DateTime64(3, 'Asia/Tokyo')", False),
        ("DateTime", False),
        ("String", False),
    ],
)
def test_only_what_is_known_to_be_utc_is_moved_to_the_zone(kind: str, moves: bool) -> None:
    [_, _, *row, _] = shown(answer(["t"], [kind], ["2026-01-02 20:04:05.123"]), HONG_KONG)
    assert row == [["2026-01-03", "04:04:05.123"] if moves else ["2026-01-02", "20:04:05.123"]]


def test_fractions_stay_as_they_were() -> None:
    assert in_zone("2026-01-02 20:04:05.123456789", HONG_KONG) == "2026-01-03 04:04:05.123456789"
    assert in_zone("2026-07-02 20:04:05", ZoneInfo("America/New_York")) == "2026-07-02 16:04:05"
    assert in_zone("1900-01-01 00:00:00.000000", UTC) == "1900-01-01 00:00:00.000000"


def test_what_another_format_was_asked_for_is_shown_as_it_is() -> None:
    assert shown(b"Row 1:\na: 1\n") == [["Row", "1:"], ["a:", "1"]]


def test_markup_and_stray_bytes_of_payloads_are_text() -> None:
    lines = shown(b'["[red]p"]\n["String"]\n["\xff[bold]"]\n')
    assert lines[0] == ["[red]p"]
    assert lines[2] == ["�[bold]"]


def test_json_is_one_array() -> None:
    assert orjson.loads(json_array(b'{"a":1}\n{"a":2}\n')) == [{"a": 1}, {"a": 2}]
    assert orjson.loads(json_array(b"")) == []
