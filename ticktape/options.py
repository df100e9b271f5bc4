"""Options that several commands take, and what they mean."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from ticktape.reload import SettingsSource
    from ticktape.settings import Settings


class LogFormat(enum.StrEnum):
    """`--log-format`."""

    JSON = "json"
    CONSOLE = "console"


class QueryFormat(enum.StrEnum):
    """`ticktape query --format`."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    ARROW = "arrow"
    PARQUET = "parquet"


class GapState(enum.StrEnum):
    """`ticktape gaps --state`."""

    OPEN = "open"
    FILLED = "filled"
    LOST = "lost"


class AuditFormat(enum.StrEnum):
    """`ticktape audit --format`."""

    TABLE = "table"
    JSON = "json"


class Aes(enum.StrEnum):
    """`ticktape simulate opend --aes`."""

    CBC = "cbc"
    ECB = "ecb"


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration; else $TICKTAPE_CONFIG, else ./ticktape.toml."),
]
LogFormatOption = Annotated[
    LogFormat | None, typer.Option("--log-format", help="Else console in a terminal, json elsewhere.")
]
TimeZoneOption = Annotated[
    str | None, typer.Option("--tz", metavar="ZONE", help="Zone in which times are shown; else UTC.")
]


@dataclass(frozen=True, slots=True)
class Common:
    """What every command takes, before its name or after it."""

    config: Path | None = None
    log_format: LogFormat | None = None
    time_zone: str | None = None

    def source(self) -> SettingsSource:
        """Where the configuration is. Raises BadSettings."""
        from ticktape.reload import SettingsSource
        from ticktape.settings import find_config

        return SettingsSource(find_config(self.config, os.environ), os.environ)

    def settings(self) -> Settings:
        """Read the configuration. Raises BadSettings."""
        return self.source().load()

    def zone(self) -> ZoneInfo:
        """The zone in which times are shown."""
        try:
            return ZoneInfo(self.time_zone or "UTC")
        except (KeyError, ValueError, OSError):  # what zoneinfo raises for names that are none
            message = f"{self.time_zone!r} is no time zone; write it as in Asia/Hong_Kong"
            raise typer.BadParameter(message, param_hint="--tz") from None


def common_options(
    context: typer.Context,
    config: Path | None = None,
    log_format: LogFormat | None = None,
    time_zone: str | None = None,
    *,
    is_daemon: bool = False,
) -> Common:
    """Join what stands after a command's name with what stands before it, and set up the log.

    Libraries log only in daemons: elsewhere what they have to say is in the one error that ends
    the command.
    """
    import logging

    from ticktape.logs import configure_logs

    before = context.find_object(Common) or Common()
    common = Common(config or before.config, log_format or before.log_format, time_zone or before.time_zone)
    configure_logs(common.log_format, libraries=logging.WARNING if is_daemon else logging.CRITICAL)
    return common
