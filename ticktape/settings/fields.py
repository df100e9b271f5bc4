"""The kinds of values that keys hold, each with its check and a message in plain words.

Rule: paths leave here absolute. A file that the configuration refers to (`symbols_file`,
`password_file`) lies beside it, so a relative one starts at the configuration's own folder
(`context["base"]`); a folder that we write to starts at the working directory.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from ticktape.settings.units import parse_bytes, parse_duration


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: `host:port`."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parse_address(text: object) -> Address:
    if isinstance(text, Address):
        return text
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"must be host:port, such as 127.0.0.1:8808, not {text!r}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _from_base(path: Path, info: ValidationInfo) -> Path:
    assert info.context is not None, "load_settings gives the folder of the file"
    base: Path = info.context["base"]
    return (base / path.expanduser()).absolute()


def _from_working_directory(path: Path) -> Path:
    return path.expanduser().absolute()


def _clickhouse_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("chdb", "http", "https") or not rest:
        raise ValueError(f"must be chdb://folder or http(s)://user@host:8123, not {url!r}")
    if scheme == "chdb":
        return f"chdb://{_from_working_directory(Path(rest))}"
    if urlsplit(url).password is not None:
        raise ValueError("must not hold a password: use password_file or TICKTAPE_CLICKHOUSE__PASSWORD")
    return url


def _spelled(pattern: str, words: str) -> Callable[[str], str]:
    """A check that a text matches `pattern` as a whole; `words` say what that means."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"must be {words}, not {text!r}")
        return text

    return check


Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)]
Duration = Annotated[datetime.timedelta, BeforeValidator(parse_duration)]
Listen = Annotated[Address, BeforeValidator(_parse_address)]
FilePath = Annotated[Path, AfterValidator(_from_base)]
FolderPath = Annotated[Path, AfterValidator(_from_working_directory)]
ClickHouseUrl = Annotated[str, AfterValidator(_clickhouse_url)]
Secret = SecretStr | None
GatewayName = Annotated[
    str,
    AfterValidator(_spelled(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*", "letters and digits, with single - or _ between")),
]
WorkerName = Annotated[str, AfterValidator(_spelled(r"[A-Za-z0-9._-]{0,64}", "up to 64 letters, digits, . _ or -"))]
TopicWord = Annotated[str, AfterValidator(_spelled(r"[A-Za-z0-9._-]{1,200}", "up to 200 letters, digits, . _ or -"))]
Identifier = Annotated[
    str,
    AfterValidator(_spelled(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "letters, digits and _, not beginning with a digit")),
]


def read_text_file(path: Path, key: str) -> str:
    """The text of the file that `key` names; raises ValueError, in plain words, when it cannot be had."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{key} cannot be read: {path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{key} cannot be read: {path}: {error.strerror}") from error


class Section(BaseModel):
    """A table of the file: knows its keys, refuses others, never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)

    @classmethod
    def secret_keys(cls) -> tuple[str, ...]:
        """Keys whose value must not stand in the file; each has a `<key>_file` beside it."""
        return tuple(name for name, field in cls.model_fields.items() if SecretStr in get_args(field.annotation))

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data  # pydantic itself says what is wrong with it
        for key in cls.secret_keys():
            path = data.get(f"{key}_file")
            if key not in data and isinstance(path, str):
                secret = read_text_file(_from_base(Path(path), info), f"{key}_file").strip()
                data = {**data, key: secret}
        return data
