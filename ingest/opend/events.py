"""What an OpenD session reports, and what it can be asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from codec.opend.decoder import ControlFrame
from codec.opend.protocol import ProtoId
from ingest.letters import DeadLetter as DeadLetter

NO_SERIAL = 0
"""No request of ours has this serial: what a push says of its own means nothing."""


@dataclass(frozen=True, slots=True)
class Ready:
    """InitConnect was accepted: requests may be sent."""

    connection_id: int
    login_user_id: int
    server_version: int
    keep_alive_s: float


@dataclass(frozen=True, slots=True)
class Replied:
    """A request was answered with success."""

    serial: int
    proto_id: ProtoId
    reply: Message


@dataclass(frozen=True, slots=True)
class Pulled:
    """GetTicker was answered: rows `first_row` to `first_row + rows` of the tick buffer.

    `name` is what the gateway calls the symbol, empty where it does not say; None when nobody asked for it.
    """

    serial: int
    symbol_id: int | None
    first_row: int
    rows: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Polled:
    """A poll was answered; the answer is still to be decoded, and may be a refusal.

    `received` is a copy of its frame, from 0 on, with `PAD_BYTES` behind; `frame` describes it.
    """

    frame: ControlFrame
    received: NDArray[np.uint8]
    recv_ns: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed; `text` is the gateway's own, or says that no answer came.

    `serial` is `NO_SERIAL` where a push carried an error.
    """

    serial: int
    proto_id: int
    ret_type: int
    error_code: int
    text: str
    timed_out: bool


@dataclass(frozen=True, slots=True)
class Notified:
    """A Notify push (1003)."""

    notice: Message


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A protocol id that we don't know; reported each time, for counting."""

    proto_id: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; nothing more comes from it."""

    reason: str


Event = Ready | Replied | Pulled | Polled | Failed | Notified | DeadLetter | UnknownMessage | Closed
