"""Secrets that a server may repeat in what it answers: hidden before anything of it is shown or stored."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = b"***"

_WORD_BYTES_MIN = 6
"""Of a part of a secret (`Bearer <token>`): a shorter one is found in ordinary text too."""
_SECRET_BYTES_MIN = 4
_BEGINNING_BYTES_MIN = 4
"""Of a secret that is cut off: the same."""


class Hidden:
    """What must not be seen, and how a text is rid of it.

    Parameters
    ----------
    secrets : each as it is sent
    bytes_min : whatever is shorter is no secret, as a header's `1` or `yes`; 1 where all are secrets for certain
    """

    def __init__(self, secrets: Iterable[str] = (), *, bytes_min: int = _SECRET_BYTES_MIN) -> None:
        forms = {form for secret in secrets for form in _forms(secret, bytes_min)}
        self._forms = sorted(forms, key=len, reverse=True)  # a word of a secret goes after the whole

    @property
    def bytes_max(self) -> int:
        """Size of the longest one: a text that is to be cut is cut no shorter than that behind what is kept."""
        return len(self._forms[0]) if self._forms else 0

    def cut(self, payload: bytes, bytes_max: int) -> bytes:
        """The first `bytes_max` bytes of a payload, without secrets."""
        return self._without_beginning(self.hide(payload[: bytes_max + self.bytes_max])[:bytes_max])

    def hide(self, text: bytes) -> bytes:
        """`text` without any secret, and without the beginning of one at its end: it may have been cut there."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return self._without_beginning(text)

    def _without_beginning(self, text: bytes) -> bytes:
        for form in self._forms:
            for size in range(len(form) - 1, _BEGINNING_BYTES_MIN - 1, -1):
                if text.endswith(form[:size]):
                    return text[:-size] + HIDDEN
        return text

    def hide_text(self, text: str) -> str:
        """The same of a text."""
        return self.hide(text.encode(errors="replace")).decode(errors="replace")


def _forms(secret: str, bytes_min: int) -> Iterable[bytes]:
    """A secret and its long words, as an answer that repeats them may spell them."""
    parts = {*secret.split(), *re.split(r"[\s;,=]+", secret)}
    words = {word for word in parts if len(word) >= _WORD_BYTES_MIN}
    if len(secret) >= bytes_min:
        words.add(secret)
    for word in words:
        for spelled in (word, json.dumps(word)[1:-1], html.escape(word), quote(word), quote_plus(word)):
            yield spelled.encode()
