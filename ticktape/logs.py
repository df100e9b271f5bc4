"""One log for the whole process: our own events and those of the libraries below us.

A terminal gets coloured lines, everything else one JSON object a line; both on standard error, so
that standard output stays what a command was asked for.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

import structlog
from structlog.typing import Processor

from ticktape.options import LogFormat

OUR_PACKAGES = ("codec", "ingest", "sinks", "ticktape")

_REPEAT_S = 60.0
"""A library says the same thing at most so often: Kafka's client reports every failed connect."""
_REMEMBERED_MAX = 1000


def configure_logs(
    log_format: LogFormat | None = None, *, libraries: int = logging.WARNING, stream: TextIO | None = None
) -> None:
    """Send every log line of the process to `stream` (standard error), from now on.

    `log_format` None means: console in a terminal, JSON elsewhere. Libraries are heard from the
    level `libraries` up: what they say of every poll and request belongs in nobody's log.
    """
    stream = stream or sys.stderr
    console = stream.isatty() if log_format is None else log_format is LogFormat.CONSOLE
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[Processor]
    if console:
        renderer = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    else:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(_NotAgain())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(libraries)
    logging.getLogger("urllib3").setLevel(max(libraries, logging.ERROR))  # what it warns of, it also raises
    for ours in OUR_PACKAGES:
        logging.getLogger(ours).setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _NotAgain(logging.Filter):
    """Lets a library say one thing, whatever its details, once in `_REPEAT_S`; what we say is ours to limit."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] in OUR_PACKAGES:
            return True
        now_s = time.monotonic()
        what = record.name, str(record.msg)
        if now_s - self._said_s.get(what, -_REPEAT_S) < _REPEAT_S:
            return False
        if len(self._said_s) >= _REMEMBERED_MAX:
            self._said_s.clear()
        self._said_s[what] = now_s
        return True
