"""What a LongPort session reports."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codec.longport.decoder import ControlPacket
from ingest.letters import DeadLetter as DeadLetter


class Remedy(enum.Enum):
    """How to go on after a session's end."""

    RECONNECT = "connect again, with the session id"
    NEW_PASSWORD = "connect again, with a new one-time password"
    STAY_AWAY = "somebody else uses the account's connection: connect again rarely"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A session that can be gone on with; it never shows in a `repr`.

    `expires_ms` is unix time, None when the gateway did not say.
    """

    session_id: str = field(repr=False)
    expires_ms: int | None = None

    def is_good(self, unix_ms: int) -> bool:
        """Whether it is worth trying."""
        return self.expires_ms is None or unix_ms < self.expires_ms - EXPIRES_SOON_MS


EXPIRES_SOON_MS = 10_000
"""As the vendor's Go client: a session that ends so soon is not gone on with."""


@dataclass(frozen=True, slots=True)
class Ready:
    """We are let in: requests may be sent. `limit` and `online` count the account's connections, 0 where not said."""

    ticket: Ticket
    limit: int
    online: int


@dataclass(frozen=True, slots=True)
class Replied:
    """A request was answered with success."""

    request_id: int
    command: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Pulled:
    """QueryTrade was answered; its trades are still to be decoded.

    `packet` is a copy of the reply with `PAD_BYTES` behind.
    """

    request_id: int
    packet: NDArray[np.uint8]
    recv_ns: int


@dataclass(frozen=True, slots=True)
class Polled:
    """A poll was answered; the answer is still to be decoded.

    `received` is the packet as it came; `packet` has a body of its own.
    """

    packet: ControlPacket
    received: bytes
    recv_ns: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed; `text` is the gateway's own, or says that no answer came that can be read.

    `status_code` and `code` are 0 where the gateway did not answer an error.
    """

    request_id: int
    command: int
    status_code: int
    code: int
    text: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class UnknownCommand:
    """A command that we don't know; reported each time, for counting."""

    command: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; nothing more comes from it."""

    reason: str
    remedy: Remedy


Event = Ready | Replied | Pulled | Polled | Failed | DeadLetter | UnknownCommand | Closed
