"""What can come of a request to a flow list, beside what its decoder says of an answer."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from http import HTTPStatus

from codec.flow_list import DeadBatch, FlowList, ListRefused

RETRY_AFTER_S_MAX = 3600.0
"""A server that wants longer is asked once an hour."""

_RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class HttpRefused:
    """An HTTP status that is not 2xx: its body is not looked at.

    Attributes
    ----------
    retry_after_s : what the server asks for, 0 where it does not
    leads_to : scheme and host of a redirect, which is not followed
    """

    status: int
    retry_after_s: float = 0.0
    leads_to: str = ""

    @property
    def permanent(self) -> bool:
        """Whether the same request will never be answered otherwise."""
        return 400 <= self.status < 500 and self.status not in _RETRIED

    def __str__(self) -> str:
        try:
            phrase = f" ({HTTPStatus(self.status).phrase})"
        except ValueError:
            phrase = ""
        redirect = f", a redirect to {self.leads_to}, which is not followed" if self.leads_to else ""
        return f"HTTP status {self.status}{phrase}{redirect}"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """There is no answer, or none in time."""

    text: str
    timed_out: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Listed:
    """A list, when it was received (unix ns)."""

    flows: FlowList
    recv_ns: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The server's own error."""

    error: ListRefused

    def __str__(self) -> str:
        said = f": {self.error.text}" if self.error.text else ""
        return f"ret_code {self.error.ret_code}{said}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that is of no use.

    Attributes
    ----------
    payload : its beginning, as it may be stored
    payload_bytes : the size of what was received of it
    """

    batch: DeadBatch
    payload: bytes
    payload_bytes: int

    def __str__(self) -> str:
        return f"the answer cannot be read: {self.batch.detail}"


Outcome = Listed | Refused | Unreadable | HttpRefused | NoAnswer


def retry_after_s(value: str | None, unix_s: float) -> float:
    """Seconds to wait by a Retry-After header, seconds or a date; 0 where it says nothing."""
    if value is None:
        return 0.0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_S_MAX)
    try:
        until_s = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(until_s - unix_s, 0.0), RETRY_AFTER_S_MAX)


def outcome_word(outcome: Outcome) -> str:
    """The `outcome` of `ticktape_requests_total`."""
    match outcome:
        case Listed():
            return "ok"
        case Refused():
            return "refused"
        case Unreadable():
            return "unreadable"
        case HttpRefused():
            return "too_frequent" if outcome.status == HTTPStatus.TOO_MANY_REQUESTS else "http_error"
        case NoAnswer():
            return "timeout" if outcome.timed_out else "unreachable"
