"""Sizes and durations as people write them: `20GiB`, `500ms`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_AMOUNT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)\s*")

_BYTES_PER_UNIT: Final[dict[str, int]] = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    "KB": 1000,
}

_DURATION_PER_UNIT: Final[dict[str, timedelta]] = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse_bytes(text: object) -> int:
    """Read `20GiB`, `64 MB` or a plain number of bytes.

    Raises
    ------
    ValueError
        It is no size; the message says how to write one.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None or (unit := match[2] or "B") not in _BYTES_PER_UNIT:
        raise ValueError(f"must be a size such as 20GiB, 500MB or a number of bytes, not {text!r}")
    size_bytes = float(match[1]) * _BYTES_PER_UNIT[unit]
    if not size_bytes.is_integer():
        raise ValueError(f"must be a whole number of bytes, not {text!r}")
    return int(size_bytes)


def parse_duration(text: object) -> timedelta:
    """Read `500ms`, `60s`, `5m`, `12h` or `7d`.

    Raises
    ------
    ValueError
        It is no duration; a bare number is refused too, as nobody can tell its unit.
    """
    if isinstance(text, timedelta):
        return text
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in _DURATION_PER_UNIT:
        raise ValueError(f"must be a duration with its unit, such as 500ms, 60s, 12h or 7d, not {text!r}")
    try:
        duration = float(match[1]) * _DURATION_PER_UNIT[match[2]]
    except OverflowError:
        raise ValueError(f"must be a shorter duration than {text!r}") from None
    if not duration:
        raise ValueError(f"must be longer than {text!r}")
    return duration


def format_bytes(size_bytes: int) -> str:
    """`1.5 GiB`: what a person reads at a glance."""
    amount, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
