"""The headers that a flow-list gateway sends, as a file holds them; their values are secrets."""

from __future__ import annotations

import re

from codec.errors import TicktapeError

HEADERS_MAX = 64

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]+")
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding", "expect", "te"}
)
"""Set by a file they would break the request."""


class BadHeaders(TicktapeError):
    """The text is not lines of `NAME: VALUE`. Says which line, never what stands in it."""


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read `NAME: VALUE` lines; empty ones, and those that begin with `#`, are passed over.

    Raises
    ------
    BadHeaders
    """
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _NAME.fullmatch(name):
            raise BadHeaders(f"line {number} is not NAME: VALUE")
        if name.lower() in _OURS:
            raise BadHeaders(f"line {number} names {name}, which is not for a file to set")
        if not _VALUE.fullmatch(value):
            raise BadHeaders(f"line {number}: its value {'holds more than printable ASCII' if value else 'is empty'}")
        pairs.append((name, value))
    if len(pairs) > HEADERS_MAX:
        raise BadHeaders(f"it holds {len(pairs)} headers; the most are {HEADERS_MAX}")
    return tuple(pairs)
