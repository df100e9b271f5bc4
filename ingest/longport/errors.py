"""What LongPort's error codes ask for (docs/protocols/longport.md 5)."""

from __future__ import annotations

import enum

BAD_REQUEST = 301600
SERVER_ERROR = 301602
NO_QUOTES = 301603
NO_PERMISSION = 301604
TOO_MANY_SUBSCRIPTIONS = 301605
RATE_LIMITED = 301606
TOO_MANY_ITEMS = 301607

STATUS_SERVER_TIMEOUT = 1

_MEANINGS = {
    BAD_REQUEST: "LongPort does not know it",
    NO_QUOTES: "LongPort has no quotes of it",
    NO_PERMISSION: "the account has no right to its quotes",
    TOO_MANY_SUBSCRIPTIONS: "the account has too many subscriptions",
    TOO_MANY_ITEMS: "a request named too many",
}


class Reaction(enum.Enum):
    """What to do about a reply that tells of an error."""

    REFUSED = "never ask the same again"
    RETRY = "ask again later"
    SLOW_DOWN = "ask again later, and everything more slowly"


def reaction_to(status_code: int, code: int) -> Reaction:
    """What a status that is not 0 and the `code` of its Error ask for; what is not listed is tried again."""
    if code == RATE_LIMITED:
        return Reaction.SLOW_DOWN
    if status_code != STATUS_SERVER_TIMEOUT and code in _MEANINGS:
        return Reaction.REFUSED
    return Reaction.RETRY


def in_words(code: int, text: str) -> str:
    """Why something is refused, the gateway's own words last."""
    said = " ".join(text.split())
    meaning = _MEANINGS.get(code)
    return f"{meaning} ({said or 'no text'}, {code})" if meaning else f"{said or 'no reason given'} ({code})"
