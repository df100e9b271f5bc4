"""Who we are to LongPort's HTTP side: an app's keys, and the signature of a request (docs/protocols/longport.md 3).

No socket, no clock.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from codec.hidden import Hidden

_SIGNED_NAMES = "authorization;x-api-key;x-timestamp"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys of one LongPort app. They never show in a `repr`."""

    app_key: str = field(repr=False)
    app_secret: str = field(repr=False)
    access_token: str = field(repr=False)

    def hidden_in(self, text: str) -> str:
        """`text`, which somebody else wrote, without our keys."""
        return Hidden((self.app_key, self.app_secret, self.access_token), bytes_min=1).hide_text(text)


def signed_headers(
    credentials: Credentials, method: str, path: str, timestamp_s: int, *, query: str = "", body: bytes = b""
) -> dict[str, str]:
    """The headers that a request needs to be answered."""
    values = f"authorization:{credentials.access_token}\nx-api-key:{credentials.app_key}\nx-timestamp:{timestamp_s}\n"
    digest = hashlib.sha1(body).hexdigest() if body else ""
    canonical = f"{method}|{path}|{query}|{values}|{_SIGNED_NAMES}|{digest}"
    to_sign = f"HMAC-SHA256|{hashlib.sha1(canonical.encode()).hexdigest()}"
    signature = hmac.new(credentials.app_secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    return {
        "X-Api-Key": credentials.app_key,
        "Authorization": credentials.access_token,
        "X-Timestamp": str(timestamp_s),
        "X-Api-Signature": f"HMAC-SHA256 SignedHeaders={_SIGNED_NAMES}, Signature={signature}",
        "Content-Type": "application/json; charset=utf-8",
    }
