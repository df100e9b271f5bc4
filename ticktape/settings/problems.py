"""What is wrong with a configuration, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codec.errors import TicktapeError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
"""("kafka", "partitions"), ("gateway", 0, "url"); a list's elements by their index."""


class BadSettings(TicktapeError):
    """The configuration cannot be used; nothing was started."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the key it is wrong about; () where no key is to blame."""

    path: KeyPath
    text: str


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the known word that is nearest, or nothing when none is known."""
    closest = difflib.get_close_matches(word, list(known), n=1, cutoff=0)
    return f"; did you mean {closest[0]}?" if closest else ""


def in_words(error: ErrorDetails, known: Iterable[str]) -> str:
    """What pydantic found, as a sentence that goes on after the key's name.

    `known` are the keys of the table in which the error is.
    """
    context, kind = error.get("ctx", {}), error["type"]
    match kind:
        case "extra_forbidden":
            what = "section" if len(error["loc"]) == 1 else "key"
            return f"is no known {what}{nearest(str(error['loc'][-1]), known)}"
        case "missing":
            return "is missing"
        case "value_error":
            return str(context["error"])
        case "union_tag_not_found":
            return "kind is missing: opend, longport or flow-list"
        case "union_tag_invalid":
            return f"kind must be {context['expected_tags']}, not {context['tag']!r}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a table of keys{_instead(error)}"
        case "tuple_type" if error["loc"] in (("gateway",), ("subscription",)):
            return f"is a list: write [[{error['loc'][0]}]] with two brackets"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number{_instead(error)}"
        case "float_type" | "float_parsing":
            return f"must be a number{_instead(error)}"
        case "string_type":
            return f"must be a text{_instead(error)}"
    text = error["msg"]
    for theirs, ours in (("Input should be", "must be"), ("String should", "must"), ("Value should", "must")):
        text = text.replace(theirs, ours)
    return text + _instead(error)


def _instead(error: ErrorDetails) -> str:
    """`, not 'x'`: the value in question where it is short enough to help."""
    value = error["input"]
    return f", not {value!r}" if isinstance(value, str | int | float) else ""


def label(path: KeyPath, document: Mapping[str, Any]) -> str:
    """How a person calls the key at `path`: `[kafka] partitions`, `gateway opend-1: url`."""
    if not path:
        return ""
    head, *rest = path
    if head in ("gateway", "subscription") and rest and isinstance(rest[0], int):
        name = _element_name(document, str(head), rest[0])
        return f"{name}: {' '.join(_dotted(rest[1:]))}".rstrip()
    if not rest:
        return f"[{head}]"
    return f"[{head}] {' '.join(_dotted(rest))}"


def _dotted(rest: Iterable[str | int]) -> Iterable[str]:
    for part in rest:
        yield f"(element {part + 1})" if isinstance(part, int) else part


def _element_name(document: Mapping[str, Any], head: str, index: int) -> str:
    element = document[head][index]
    name = element.get("name") if isinstance(element, dict) else None
    return f"{head} {name if head == 'gateway' and isinstance(name, str) else f'number {index + 1}'}"


_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]")


def line_of(text: str, path: KeyPath) -> int | None:
    """The line of the file's `text` in which the key at `path` stands, or else its table's header.

    Reads lines, not TOML: a key written in a way it does not know costs the exact number, no more.
    """
    if not path:
        return None
    wanted_index = path[1] if len(path) > 1 and isinstance(path[1], int) else 0
    key = next((part for part in path[1:] if isinstance(part, str)), None)
    index, inside, header_line = -1, False, None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            same = header[2] == path[0]
            index += same
            inside = same and index == wanted_index
            header_line = number if inside else header_line
        elif inside and key is not None and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            return number
    return header_line
