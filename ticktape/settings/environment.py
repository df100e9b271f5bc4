"""Keys that the environment overrides: `TICKTAPE_KAFKA__PARTITIONS`, `TICKTAPE_GATEWAY__OPEND_1__URL`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_origin

import orjson

from ticktape.settings.fields import Section
from ticktape.settings.model import GATEWAY_KINDS, Settings
from ticktape.settings.problems import KeyPath, Problem, nearest

PREFIX = "TICKTAPE_"
_LEVELS = "__"
"""Every key stands in a section, so every override holds this; `TICKTAPE_CONFIG`, and what Kubernetes
adds for a service of our name (`TICKTAPE_PORT`), do not."""


def apply_environment(document: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[KeyPath, str], list[Problem]]:
    """Write the overrides of `environ` into `document`, which is what the file holds.

    An empty variable counts as not set, as in compose files that pass on what is not there.

    Returns
    -------
    origins : the variable that each overridden key came from
    problems : variables that name no key
    """
    origins: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or _LEVELS not in variable or not text:
            continue
        words = variable.removeprefix(PREFIX).lower().split(_LEVELS)
        path, why_not = _key_path(words, document)
        if path is None:
            problems.append(Problem((), f"environment variable {variable}: {why_not}"))
            continue
        _put(document, path, _listed(text) if _holds_list(path, document) else text)
        origins[path] = variable
    return origins, problems


def _key_path(words: list[str], document: dict[str, Any]) -> tuple[KeyPath | None, str]:
    """The key that `words` name; or None, and why not."""
    section, *rest = words
    if section == "subscription":
        return None, "subscriptions have no name to be found by; only the file holds them"
    if section != "gateway":
        return (tuple(words), "") if len(rest) == 1 else (None, f"must be {PREFIX}SECTION{_LEVELS}KEY")
    if len(rest) != 2:
        return None, f"must be {PREFIX}GATEWAY{_LEVELS}NAME{_LEVELS}KEY"
    places = {name: index for index, name in _gateway_names(document)}
    if rest[0] not in places:
        return None, f"no gateway is called that{nearest(rest[0], places)}"
    return ("gateway", places[rest[0]], rest[1]), ""


def _gateway_names(document: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """(index, name as variables spell it, in lower case) of each gateway that has a name."""
    gateways = document.get("gateway")
    for index, gateway in enumerate(gateways if isinstance(gateways, list) else ()):
        if isinstance(gateway, dict) and isinstance(gateway.get("name"), str):
            yield index, gateway["name"].replace("-", "_").lower()


def _put(document: dict[str, Any], path: KeyPath, value: object) -> None:
    *places, key = path
    table: Any = document
    for place in places:
        table = table.setdefault(place, {}) if isinstance(table, dict) else table[place]
    if isinstance(table, dict):
        table[key] = value


def _holds_list(path: KeyPath, document: dict[str, Any]) -> bool:
    section = section_of(path, document)
    field = section.model_fields.get(str(path[-1])) if section else None
    return field is not None and get_origin(field.annotation) is tuple


def section_of(path: KeyPath, document: dict[str, Any]) -> type[Section] | None:
    """The class of the table that holds the key at `path`; None where there is no such table."""
    if len(path) == 1:
        return Settings
    if path[0] == "gateway":
        try:
            return GATEWAY_KINDS.get(document["gateway"][path[1]].get("kind"))
        except (AttributeError, IndexError, KeyError, TypeError):
            return None
    annotation = Settings.model_fields[str(path[0])].annotation if path[0] in Settings.model_fields else None
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _listed(text: str) -> object:
    """A list from the environment: JSON, or words between commas."""
    if text.lstrip().startswith("["):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text  # what the key may hold is said where it is checked
    return [word.strip() for word in text.split(",")]
