"""The capital-flow list: a JSON answer about many symbols to rows of `capital_flow_summary`.

What each oddity gets is listed in docs/protocols/capital-flow-list.md, which this follows line by
line: a row, a dead row, or a dead batch; no exception leaves the decoder. One bad entry never costs
the others.

The standard library's parser reads it, not orjson: names that occur twice and integers past 64 bits
must be seen, and a NaN must cost its entry, not the batch.
"""

from __future__ import annotations

import enum
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codec.clock import MarketClock
from codec.flow_list_entry import NUMBERS, DeadEntry, Notice, Repeating, read_entry

LIST_BYTES_MAX = 4 << 20
"""100 symbols need 60 kB; text grows up to thirtyfold as Python objects."""
ENTRIES_MAX = 1 << 14
NESTING_MAX = 32
"""A list needs 4 levels."""
FUTURE_US_MAX = 5 * 60 * 1_000_000
"""A time further ahead of our clock is noticed."""

_MESSAGE_CHARACTERS_MAX = 200
_NAMES_MAX = 256
"""Unknown keys told apart; a hostile answer may hold any number."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A string, or the rest of the body where one never ends: each byte is looked at once."""
_DIGITS_MAX = 64
"""An integer of more digits is cut: past 64 bits it is refused all the same."""
_CODE_TEXT = re.compile(r"-?[0-9]{1,9}")
_TOP_KEYS = frozenset({"ret_code", "ret_msg", "data"})
_DATA_KEYS = frozenset({"capital_flow_list"})
_ENTRY_KEYS = frozenset({"code", "update_time", *NUMBERS})


class Reaction(enum.Enum):
    """What a refusal means for the one who asked."""

    PERMANENT = "the request is wrong: do not repeat it"
    SPLIT = "a code in it is wrong: find it by splitting the list"
    RETRY = "the server could not: again, with back-off"


_REACTIONS = {1001: Reaction.PERMANENT, 1002: Reaction.SPLIT, 1016: Reaction.RETRY}


@dataclass(frozen=True, slots=True)
class DeadRow:
    """An entry that is no row (a dead letter `bad_row`): `payload` is its JSON text, written again."""

    detail: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class FlowList:
    """A success: rows as `encode_rows` takes them, in the answer's order, and the dead ones."""

    rows: list[dict[str, object]]
    dead: list[DeadRow]


@dataclass(frozen=True, slots=True)
class ListRefused:
    """The server answered an error."""

    ret_code: int
    text: str
    reaction: Reaction


@dataclass(frozen=True, slots=True)
class DeadBatch:
    """Nothing of the answer can be used; its bytes are a dead letter, and the next poll asks again."""

    reason: str
    detail: str


class _Dead(Exception):
    """The whole answer is a dead batch."""


class FlowListDecoder:
    """Reads the answers of one gateway; not thread-safe.

    Attributes
    ----------
    notices : how often each oddity was met that costs nothing
    """

    def __init__(self, clock: MarketClock, *, source: str, gateway: str, body_bytes_max: int = LIST_BYTES_MAX) -> None:
        self.notices: Counter[Notice] = Counter()
        self._clock = clock
        self._source, self._gateway = source, gateway
        self._body_bytes_max = body_bytes_max
        self._unknown_names: set[str] = set()

    def decode(self, body: bytes, asked: Collection[str], recv_ns: int) -> FlowList | ListRefused | DeadBatch:
        """Read the body of an answer whose HTTP status was 2xx.

        Parameters
        ----------
        asked : the symbols of the request, as `MARKET.CODE`
        recv_ns : when the answer came, unix ns
        """
        try:
            answer = self._parse(body)
            ret_code = _ret_code(answer.get("ret_code"))
            if ret_code != 0:
                text = answer.get("ret_msg")
                reaction = _REACTIONS.get(ret_code, Reaction.RETRY)
                return ListRefused(ret_code, _message(text) if isinstance(text, str) else "", reaction)
            entries = self._entries(answer)
        except _Dead as error:
            return DeadBatch("undecodable", str(error))
        return self._rows(entries, asked, recv_ns)

    def _parse(self, body: bytes) -> dict[str, Any]:
        if len(body) > self._body_bytes_max:
            raise _Dead(f"an answer of {len(body)} B; the limit is {self._body_bytes_max} B")
        if _nesting(body) > NESTING_MAX:
            raise _Dead(f"nested over {NESTING_MAX} levels deep")
        try:
            answer = json.loads(body.decode("utf-8-sig"), object_pairs_hook=Repeating.of, parse_int=_integer)
        except UnicodeDecodeError as error:
            raise _Dead(f"not UTF-8: {error}") from None
        except json.JSONDecodeError as error:
            raise _Dead(f"not JSON: {error}") from None
        if not isinstance(answer, dict):
            raise _Dead("the top level is no object")
        self._look_at_names(answer, _TOP_KEYS)
        return answer

    def _entries(self, answer: dict[str, Any]) -> list[Any]:
        """The list itself, wherever a successful answer keeps it."""
        data = answer.get("data")
        if isinstance(data, str):
            raise _Dead(f"data is a text: {_message(data)}")
        if not isinstance(data, dict):
            raise _Dead("data is missing, or no object")
        self._look_at_names(data, _DATA_KEYS)
        entries = data.get("capital_flow_list")
        if not isinstance(entries, list):
            raise _Dead("capital_flow_list is missing, or no list")
        if len(entries) > ENTRIES_MAX:
            raise _Dead(f"a list of {len(entries)} entries; the limit is {ENTRIES_MAX}")
        return entries

    def _rows(self, entries: list[Any], asked: Collection[str], recv_ns: int) -> FlowList:
        rows: dict[tuple[object, object], dict[str, object]] = {}
        dead = []
        seen = set()
        for index, entry in enumerate(entries):
            if isinstance(entry, dict):
                self._look_at_names(entry, _ENTRY_KEYS)
            try:
                read = read_entry(entry, self._clock, self.notices)
            except DeadEntry as error:
                dead.append(DeadRow(f"entry {index}: {error}", _json_text(entry)))
                continue
            seen.add(read["symbol"])
            assert isinstance(read["ts_event"], int)
            self.notices[Notice.NOT_ASKED_FOR] += read["symbol"] not in asked
            self.notices[Notice.IN_THE_FUTURE] += read["ts_event"] > recv_ns // 1000 + FUTURE_US_MAX
            row = {"source": self._source, **read, "ts_recv": recv_ns, "gateway": self._gateway}
            key = (read["symbol"], read["ts_event"])
            if key in rows and rows.pop(key) != row:
                self.notices[Notice.REPLACED] += 1
            rows[key] = row
        self.notices[Notice.MISSING] += sum(symbol not in seen for symbol in asked)
        return FlowList(list(rows.values()), dead)

    def _look_at_names(self, value: Mapping[str, object], known: frozenset[str]) -> None:
        """Count names that occur twice, and unknown ones the first time that they are met."""
        if isinstance(value, Repeating):
            self.notices[Notice.REPEATED_KEY] += value.repeats
        for name in value:
            if name not in known and name not in self._unknown_names and len(self._unknown_names) < _NAMES_MAX:
                self._unknown_names.add(name[:_MESSAGE_CHARACTERS_MAX])
                self.notices[Notice.UNKNOWN_KEY] += 1


def _integer(literal: str) -> int:
    return int(literal[:_DIGITS_MAX])


def _message(text: str) -> str:
    """The beginning of the server's own words, in characters that UTF-8 has."""
    return text[:_MESSAGE_CHARACTERS_MAX].encode(errors="replace").decode()


def _ret_code(value: object) -> int:
    if isinstance(value, str) and _CODE_TEXT.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise _Dead("ret_code is missing, or no whole number")
    return int(value)


def _nesting(body: bytes) -> int:
    """How deep brackets are nested, outside of strings."""
    outside = np.frombuffer(_STRING.sub(b"", body), np.uint8)
    opened = (outside == ord("[")) | (outside == ord("{"))
    closed = (outside == ord("]")) | (outside == ord("}"))
    return int(np.cumsum(opened.astype(np.int32) - closed.astype(np.int32)).max(initial=0))


def _json_text(entry: object) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()
