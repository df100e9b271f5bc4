"""From the file and the environment to checked settings, or to a list of all that is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ticktape.settings.environment import PREFIX, apply_environment, section_of
from ticktape.settings.model import FEEDS, GATEWAY_KINDS, GatewaySettings, Settings
from ticktape.settings.problems import BadSettings, KeyPath, Problem, in_words, label, line_of, nearest

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT_FILE = Path("ticktape.toml")


def find_config(given: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: as given, else by `$TICKTAPE_CONFIG`, else `./ticktape.toml`.

    Raises
    ------
    BadSettings
        There is no such file.
    """
    path, named_by = given, "-c"
    if path is None and (text := environ.get(CONFIG_VARIABLE)):
        path, named_by = Path(text), f"${CONFIG_VARIABLE}"
    if path is None:
        if not DEFAULT_FILE.is_file():
            raise BadSettings(
                [f"no configuration: ./{DEFAULT_FILE} does not exist; write one with `ticktape init`, or name it by -c"]
            )
        return DEFAULT_FILE
    if not path.is_file():
        raise BadSettings([f"no configuration file {path} (named by {named_by})"])
    return path


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file at `path`, let `environ` override its keys, and check everything.

    Raises
    ------
    BadSettings
        With every problem found, each naming the key and where it stands.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings([f"{path}: not TOML: {error}"]) from error
    except UnicodeDecodeError as error:
        raise BadSettings([f"{path}: not UTF-8 text"]) from error
    except OSError as error:
        raise BadSettings([f"{path}: cannot be read: {error.strerror}"]) from error
    problems = [*_secrets_in_file(document), *_repeated_gateway_names(document)]
    origins, unknown = apply_environment(document, environ)
    problems += unknown
    settings = None
    try:
        settings = Settings.model_validate(document, context={"base": path.absolute().parent})
    except ValidationError as error:
        problems += _from_pydantic(error, document)
    else:
        problems += _across_sections(settings)
    if problems or settings is None:
        problems.sort(key=lambda problem: line_of(text, problem.path) or 0)
        raise BadSettings(_located(problem, path, text, document, origins) for problem in problems)
    return settings


def _secrets_in_file(document: dict[str, Any]) -> list[Problem]:
    """Take secrets that stand in the file out of `document`, with a problem for each."""
    problems = []
    for head, index, table in _tables(document):
        section = section_of((head, *index, ""), document)
        for key in section.secret_keys() if section else ():
            if table.pop(key, None) is None:
                continue
            name = f"GATEWAY__{_variable_name(table.get('name'))}" if head == "gateway" else head.upper()
            text = f"is a secret, which must not stand in the file: use {key}_file or {PREFIX}{name}__{key.upper()}"
            problems.append(Problem((head, *index, key), text))
    return problems


def _tables(document: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...], dict[str, Any]]]:
    """(name, index in its list if it is in one, the table itself) of each table of the file."""
    for head, value in document.items():
        if isinstance(value, dict):
            yield head, (), value
        elif isinstance(value, list):
            yield from ((head, (index,), table) for index, table in enumerate(value) if isinstance(table, dict))


def _variable_name(name: object) -> str:
    return str(name).replace("-", "_").upper()


def _repeated_gateway_names(document: dict[str, Any]) -> list[Problem]:
    """Found before the environment is applied: an override would not know which of them is meant."""
    seen: dict[str, object] = {}
    problems = []
    for head, index, table in _tables(document):
        if head != "gateway" or not isinstance(name := table.get("name"), str):
            continue
        if _variable_name(name) in seen:
            other = seen[_variable_name(name)]
            text = f"{name!r} repeats {other!r}: names must differ in more than - and _ and case"
            problems.append(Problem((head, *index, "name"), text))
        seen[_variable_name(name)] = name
    return problems


def _from_pydantic(error: ValidationError, document: dict[str, Any]) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        path: KeyPath = details["loc"]
        if path[:1] == ("gateway",) and len(path) > 2 and path[2] in GATEWAY_KINDS:
            path = (*path[:2], *path[3:])  # pydantic puts the kind there
        section = section_of(path, document)
        for line in in_words(details, section.model_fields if section else ()).splitlines():
            yield Problem(path, line)


def _across_sections(settings: Settings) -> Iterator[Problem]:
    """What no section can see by itself."""
    gateways: dict[str, GatewaySettings] = {gateway.name: gateway for gateway in settings.gateway}
    for index, subscription in enumerate(settings.subscription):
        for feed in subscription.feeds:
            if feed not in FEEDS:
                yield Problem(
                    ("subscription", index, "feeds"), f"names {feed!r}, which is no feed{nearest(feed, FEEDS)}"
                )
        gateway = gateways.get(subscription.gateway)
        if gateway is None:
            text = f"names {subscription.gateway!r}, which is no gateway{nearest(subscription.gateway, gateways)}"
            yield Problem(("subscription", index, "gateway"), text)
            continue
        for feed in subscription.feeds:
            if feed in FEEDS and feed not in gateway.feeds:
                text = f"names {feed!r}, which gateway {gateway.name} does not have; it has {', '.join(gateway.feeds)}"
                yield Problem(("subscription", index, "feeds"), text)


def _located(problem: Problem, file: Path, text: str, document: dict[str, Any], origins: dict[KeyPath, str]) -> str:
    """The problem with its place in front: the variable, or the file and line."""
    if not problem.path:
        return problem.text
    name = label(problem.path, document)
    for path, variable in origins.items():
        if problem.path[: len(path)] == path or path[: len(problem.path)] == problem.path == path[:1]:
            return f"environment variable {variable}: {name} {problem.text}"
    line = line_of(text, problem.path)
    return f"{file}{f':{line}' if line else ''}: {name} {problem.text}"
