"""A dead letter as a session tells of it. No socket, no clock."""

from __future__ import annotations

from dataclasses import dataclass

PAYLOAD_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A frame, or a tick of one, that could not become rows.

    `symbol_id` is known where one tick was refused in an otherwise sound frame; `payload` is at
    most `PAYLOAD_BYTES_MAX` of the frame. With `loses_ticks` it held, or may have held, ticks that
    nobody asked for: only a pull brings them again.
    """

    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    symbol_id: int | None
    loses_ticks: bool
