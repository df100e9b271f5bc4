"""The log: one JSON object a line, ours and the libraries', without their chatter."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog

from ticktape.logs import configure_logs
from ticktape.options import LogFormat


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_object_with_its_facts(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    structlog.get_logger("ingest.gateway").warning("connection lost", gateway="opend-1", after_s=1.5)
    [line] = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "connection lost",
        "gateway": "opend-1",
        "after_s": 1.5,
        "level": "warning",
        "logger": "ingest.gateway",
    }


def test_an_exception_is_in_its_line(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger("ticktape.daemon").exception("failed")
        logging.getLogger("aiohttp.server").exception("failed")
    for line in lines(stream):
        assert "ValueError: why" in line["exception"]


def test_libraries_are_heard_from_warnings_up_and_not_again_and_again(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    kafka = logging.getLogger("aiokafka.conn")
    kafka.info("polled")
    for port in range(3):
        kafka.error("cannot connect to %s", port)
    for attempt in range(3):
        structlog.get_logger("sinks.relay").info("again", attempt=attempt)
    assert [line["event"] for line in lines(stream)] == ["cannot connect to 0", "again", "again", "again"]


def test_a_command_that_answers_leaves_libraries_out(stream: io.StringIO) -> None:
    configure_logs(libraries=logging.CRITICAL, stream=stream)
    logging.getLogger("aiokafka").error("cannot connect")
    structlog.get_logger("sinks.topics").warning("ours")
    assert [line["event"] for line in lines(stream)] == ["ours"]


def test_console_lines_are_for_people(stream: io.StringIO) -> None:
    configure_logs(LogFormat.CONSOLE, stream=stream)
    structlog.get_logger("ticktape.daemon").info("started", role="up")
    line = stream.getvalue()
    assert "started" in line
    assert "role=up" in line
    assert "\x1b" not in line, "no colours where no terminal is"
