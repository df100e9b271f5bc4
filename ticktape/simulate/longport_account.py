"""The account behind the simulated LongPort: its keys, one-time passwords, sessions, limits.

Sans-IO: `now_s` is unix time, whatever the market's clock says (docs/protocols/longport.md 3 and 5).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from codec.errors import TicktapeError
from codec.longport.protocol import Command
from ticktape.simulate.frequency import Window

SIGNED_HEADERS = ("authorization", "x-api-key", "x-timestamp")
CALLS_A_SECOND_MAX = 10
IN_FLIGHT_MAX = 5
SYMBOLS_MAX = 500
OTP_S = 60.0
"""A one-time password that nobody has used by then is worth nothing."""


class Status(enum.IntEnum):
    """Of a reply (docs/protocols/longport.md 2)."""

    BAD_REQUEST = 3
    UNAUTHENTICATED = 5
    DENIED = 6
    SERVER_ERROR = 7


class Code(enum.IntEnum):
    """Of an error (docs/protocols/longport.md 5)."""

    UNAUTHENTICATED = 401
    CONNECTIONS_LIMIT = 403
    BAD_REQUEST = 301600
    SERVER_ERROR = 301602
    TOO_MANY_SUBSCRIPTIONS = 301605
    RATE_LIMIT = 301606
    TOO_MANY_ITEMS = 301607


class CallRefused(TicktapeError):
    """LongPort would answer a status and an error."""

    def __init__(self, status: Status, code: Code, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Keys:
    """What the account's owner has from the developer centre. Never printed."""

    app_key: str = "simulated-key"
    app_secret: str = field(default="simulated-secret", repr=False)
    access_token: str = field(default="simulated-token", repr=False)


def signature(secret: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> str:
    """The value of X-Api-Signature for a request; `headers` by lower-case name."""
    names = ";".join(SIGNED_HEADERS)
    values = "".join(f"{name}:{headers.get(name, '')}\n" for name in SIGNED_HEADERS)
    digest = hashlib.sha1(body, usedforsecurity=False).hexdigest() if body else ""
    canonical = "|".join((method, path, query, values, names, digest))
    to_sign = "HMAC-SHA256|" + hashlib.sha1(canonical.encode(), usedforsecurity=False).hexdigest()
    signed = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    return f"HMAC-SHA256 SignedHeaders={names}, Signature={signed}"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Calls of one command: so many a second, and so many at once."""

    command: int
    limit: int
    burst: int


class BadRateLimit(TicktapeError):
    """`--rate-limits` cannot be read."""


def parse_rate_limits(text: str) -> tuple[RateLimit, ...]:
    """Read `COMMAND:LIMIT/BURST,…`. Raises BadRateLimit."""
    limits = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(\d+):([1-9]\d*)/([1-9]\d*)", item)
        if found is None:
            raise BadRateLimit(f"{item!r}: write COMMAND:LIMIT/BURST, as in 17:2/4")
        limits.append(RateLimit(*map(int, found.groups())))
    return tuple(limits)


class Bucket:
    """Tokens that come back at a rate, up to `limit.burst` of them."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._tokens, self._at_s = float(limit.burst), 0.0

    def take(self, now_s: float) -> bool:
        """One token, if there is one."""
        earned = max(now_s - self._at_s, 0.0) * self._limit.limit
        self._tokens, self._at_s = min(self._tokens + earned, float(self._limit.burst)), now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Account:
    """One account.

    Attributes
    ----------
    connections_max : logins at the same time
    online : sessions that a connection stands on
    in_flight : calls that wait for their answer

    Parameters
    ----------
    session_s : how long a session lasts
    """

    def __init__(
        self,
        keys: Keys,
        seed: int,
        *,
        session_s: float,
        connections_max: int,
        rate_limits: tuple[RateLimit, ...] = (),
    ) -> None:
        self.rate_limits = rate_limits
        self.connections_max = connections_max
        self.online: set[str] = set()
        self.in_flight = 0
        self._keys, self._session_s = keys, session_s
        self._random = random.Random(f"{seed}/account")
        self._otp_until_s: dict[str, float] = {}
        self._session_until_s: dict[str, float] = {}
        self._calls = Window(1.0)
        self._buckets = {limit.command: Bucket(limit) for limit in rate_limits}

    def knows(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> str | None:
        """Whether an HTTP request is the owner's: None, or what is wrong. `headers` by lower-case name."""
        if headers.get("x-api-key") != self._keys.app_key:
            return "apikey illegal"
        if headers.get("authorization") != self._keys.access_token:
            return "token invalid"
        if not headers.get("x-timestamp", "").isdigit():
            return "x-timestamp must be unix seconds"
        wanted = signature(self._keys.app_secret, method, path, query, headers, body)
        return None if hmac.compare_digest(headers.get("x-api-signature", ""), wanted) else "signature invalid"

    def issue_otp(self, now_s: float) -> str:
        """A one-time password."""
        self._otp_until_s = {otp: until_s for otp, until_s in self._otp_until_s.items() if until_s > now_s}
        otp = self._word()
        self._otp_until_s[otp] = now_s + OTP_S
        return otp

    def log_in(self, otp: str, now_s: float) -> tuple[str, int]:
        """A new session and when it expires, unix ms. Raises CallRefused."""
        if self._otp_until_s.pop(otp, 0.0) <= now_s:
            raise CallRefused(Status.UNAUTHENTICATED, Code.UNAUTHENTICATED, "the one-time password is not valid")
        return self._new_session(now_s)

    def resume(self, session: str, now_s: float) -> tuple[str, int]:
        """A new session in place of `session`, and when it expires, unix ms. Raises CallRefused."""
        if self._session_until_s.pop(session, 0.0) <= now_s:
            raise CallRefused(Status.UNAUTHENTICATED, Code.UNAUTHENTICATED, "the session is not valid")
        self.online.discard(session)
        return self._new_session(now_s)

    def log_out(self, session: str) -> None:
        """The connection of a session is gone; the session may be resumed."""
        self.online.discard(session)

    def is_valid(self, session: str, now_s: float) -> bool:
        """Whether a session has not expired."""
        return self._session_until_s.get(session, 0.0) > now_s

    def expire(self) -> None:
        """No session that there is can be resumed."""
        self._session_until_s.clear()

    def allow(self, command: int, now_s: float) -> None:
        """A call came. Raises CallRefused when it is one too many."""
        if self.in_flight >= IN_FLIGHT_MAX:
            raise CallRefused(Status.BAD_REQUEST, Code.RATE_LIMIT, f"over {IN_FLIGHT_MAX} calls at once")
        bucket = self._buckets.get(command)
        if not self._calls.fits(CALLS_A_SECOND_MAX, now_s) or (bucket is not None and not bucket.take(now_s)):
            name = Command(command).name if command in set(Command) else str(command)
            raise CallRefused(Status.BAD_REQUEST, Code.RATE_LIMIT, f"request rate limit, command {name}")
        self._calls.add(now_s)

    def _new_session(self, now_s: float) -> tuple[str, int]:
        if len(self.online) >= self.connections_max:
            raise CallRefused(Status.DENIED, Code.CONNECTIONS_LIMIT, "connections limitation is hit")
        session = self._word()
        self._session_until_s[session] = now_s + self._session_s
        self.online.add(session)
        return session, int((now_s + self._session_s) * 1000)

    def _word(self) -> str:
        return f"{self._random.getrandbits(128):032x}"
