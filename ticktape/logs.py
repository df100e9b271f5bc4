"""One log for the whole process: our own events and those of the libraries below us.

A terminal gets coloured lines, everything else one JSON object a line; both on standard error, so
that standard output stays what a command was asked for.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from ticktape.options import LogFormat


def configure_logs(log_format: LogFormat | None = None, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (standard error), from now on.

    `log_format` None means: console in a terminal, JSON elsewhere. Libraries are heard from
    warnings up: what they say of every poll and request belongs in nobody's log.
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
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("codec", "ingest", "sinks", "ticktape"):
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
