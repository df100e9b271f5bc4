"""The configuration as frozen values: every key of the one TOML file, its default and its bounds.

Rule: a key appears here once. What the environment may override, what a misspelt key is compared
with and which keys are secret are all derived from these classes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, model_validator

from codec.markets import BadSymbol, normalize_symbol
from ticktape.settings.fields import (
    Address,
    Bytes,
    ClickHouseUrl,
    Duration,
    FilePath,
    FolderPath,
    GatewayName,
    Identifier,
    Listen,
    Secret,
    Section,
    TopicWord,
    WorkerName,
    read_text_file,
)


class WorkerSettings(Section):
    """`[worker]`: who we are among several."""

    name: WorkerName = ""


class JournalSettings(Section):
    """`[journal]`: the first durable hop."""

    path: FolderPath = Path("var/journal")
    max_bytes: Bytes = 20 << 30
    min_free_bytes: Bytes = 2 << 30
    durability: Literal["process", "power"] = "process"


class KafkaSettings(Section):
    """`[kafka]`: left out, the writer reads the journal."""

    bootstrap_servers: Annotated[str, Field(min_length=1)]
    topic_prefix: TopicWord = "ticktape"
    group_id: TopicWord = "ticktape-sink"
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    partitions: Annotated[int, Field(ge=1, le=65_535)] = 12
    replication_factor: Annotated[int, Field(ge=1, le=32_767)] = 1
    min_insync_replicas: Annotated[int, Field(ge=1, le=32_767)] = 1
    retention: Duration = datetime.timedelta(days=7)
    row_twins: tuple[str, ...] = ()
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: Secret = None
    password_file: FilePath | None = None
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None

    @model_validator(mode="after")
    def _check_together(self) -> KafkaSettings:
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError(
                f"min_insync_replicas {self.min_insync_replicas} exceeds replication_factor {self.replication_factor}: "
                "nothing could ever be written"
            )
        if self.security_protocol.startswith("SASL") and not (self.sasl_mechanism and self.username and self.password):
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_mechanism, username and password")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class ClickHouseSettings(Section):
    """`[clickhouse]`: a server, or a folder of this machine."""

    url: ClickHouseUrl = "chdb://var/clickhouse"
    database: Identifier = "ticktape"
    flush_interval: Duration = datetime.timedelta(milliseconds=500)
    password: Secret = None
    password_file: FilePath | None = None
    cluster: str | None = None

    @property
    def folder(self) -> Path | None:
        """Where the embedded ClickHouse keeps its data, or None for a server."""
        return Path(self.url.removeprefix("chdb://")) if self.url.startswith("chdb://") else None


class HttpSettings(Section):
    """`[http]`: where a daemon answers."""

    listen: Listen = Address("127.0.0.1", 8808)
    sink_listen: Listen = Address("127.0.0.1", 8809)
    probes_listen: Listen | None = None
    token: Secret = None
    token_file: FilePath | None = None

    @model_validator(mode="after")
    def _check_exposure(self) -> HttpSettings:
        for key, address in (("listen", self.listen), ("sink_listen", self.sink_listen)):
            if not address.is_loopback and not (self.token and self.token.get_secret_value()):
                raise ValueError(
                    f"{key} = {address} can be reached from other machines: set token_file, or listen on "
                    "127.0.0.1 and give probes and metrics to others by probes_listen"
                )
        return self


class ScheduleSettings(Section):
    """`[schedule]`: when polls pause."""

    calendar: Literal["auto", "off"] = "auto"
    closed: tuple[datetime.date, ...] = ()
    open: tuple[datetime.date, ...] = ()


class GatewaySettings(Section):
    """`[[gateway]]`: what every kind has in common."""

    schemes: ClassVar[tuple[str, ...]]
    feeds: ClassVar[tuple[str, ...]]

    name: GatewayName
    worker: WorkerName | None = None
    url: str

    @property
    def environment_name(self) -> str:
        """Its name as environment variables spell it."""
        return self.name.replace("-", "_").upper()

    @property
    def host(self) -> str:
        host = urlsplit(self.url).hostname
        assert host is not None, "_check_url lets no other URL pass"
        return host

    @property
    def port(self) -> int | None:
        return urlsplit(self.url).port

    @model_validator(mode="after")
    def _check_url(self) -> GatewaySettings:
        parts = urlsplit(self.url)
        if "@" in parts.netloc:
            raise ValueError("url must not hold a user or password")
        forms = " or ".join(f"{scheme}://host:port" for scheme in self.schemes)
        try:
            has_port = parts.port is not None
        except ValueError:
            raise ValueError(f"url must be {forms} with a port of at most 65535, not {self.url!r}") from None
        if parts.scheme not in self.schemes or not parts.hostname or (parts.scheme == "tcp" and not has_port):
            raise ValueError(f"url must be {forms}, not {self.url!r}")
        return self


class OpenDSettings(GatewaySettings):
    """A Futu or moomoo OpenD."""

    schemes = ("tcp", "ws", "wss")
    feeds = ("ticks", "capital_flow", "capital_distribution", "ark_dynamic")

    kind: Literal["opend"]
    source: Literal["futu", "moomoo"] = "futu"
    url: str = "tcp://127.0.0.1:11111"
    body_format: Literal["protobuf", "json"] = "protobuf"
    websocket_key: Secret = None
    websocket_key_file: FilePath | None = None
    quota_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    subscription_quota_reserve: Annotated[int, Field(ge=0)] = 0
    rsa_key_file: FilePath | None = None
    frame_bytes_max: Bytes = 16 << 20

    @property
    def is_websocket(self) -> bool:
        """Whether it is OpenD's WebSocket port that we go to."""
        return not self.url.startswith("tcp://")

    @model_validator(mode="after")
    def _check_port(self) -> OpenDSettings:
        if self.port is None:
            raise ValueError(f"url names no port: OpenD's WebSocket port has no default, not {self.url!r}")
        if self.is_websocket and self.body_format == "json":
            raise ValueError("body_format json is not spoken on OpenD's WebSocket port: leave it out, or use tcp://")
        if self.is_websocket and self.rsa_key_file is not None:
            raise ValueError("rsa_key_file is not used on OpenD's WebSocket port: wss:// encrypts there")
        if not self.is_websocket and self.websocket_key is not None:
            raise ValueError('websocket_key is used on OpenD\'s WebSocket port only: url = "ws://host:33333"')
        return self


class LongPortSettings(GatewaySettings):
    """A LongPort account."""

    schemes = ("ws", "wss", "tcp")
    feeds = ("ticks", "capital_flow", "capital_distribution")

    kind: Literal["longport"]
    source: Literal["longport"] = "longport"
    url: str = "wss://openapi-quote.longportapp.com/v2"
    http_url: str = "https://openapi.longportapp.com"
    app_key: Secret = None
    app_key_file: FilePath | None = None
    app_secret: Secret = None
    app_secret_file: FilePath | None = None
    access_token: Secret = None
    access_token_file: FilePath | None = None

    @model_validator(mode="after")
    def _check_http_url(self) -> LongPortSettings:
        parts = urlsplit(self.http_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"http_url must be https://host or http://host:port, not {self.http_url!r}")
        return self


class FlowListSettings(GatewaySettings):
    """A capital-flow list over HTTP."""

    schemes = ("http", "https")
    feeds = ("capital_flow_summary",)

    kind: Literal["flow-list"]
    source: Literal["flow-list"] = "flow-list"
    method: Literal["POST", "GET"] = "POST"
    market: str = ""
    batch_max: Annotated[int, Field(ge=1, le=10_000)] = 100
    list_format: Literal["comma", "repeat", "json"] = "comma"
    headers_file: FilePath | None = None


Gateway = Annotated[OpenDSettings | LongPortSettings | FlowListSettings, Discriminator("kind")]
GATEWAY_KINDS: dict[str, type[GatewaySettings]] = {
    "opend": OpenDSettings,
    "longport": LongPortSettings,
    "flow-list": FlowListSettings,
}
FEEDS: tuple[str, ...] = tuple(dict.fromkeys(feed for kind in GATEWAY_KINDS.values() for feed in kind.feeds))


class SubscriptionSettings(Section):
    """`[[subscription]]`: which feeds of which symbols from which gateway.

    `symbols` holds those of `symbols_file` too, each once, as `MARKET.CODE`, in file order.
    """

    gateway: str
    symbols: tuple[str, ...] = ()
    symbols_file: FilePath | None = None
    feeds: tuple[str, ...] = ("ticks",)
    mode: Literal["push", "poll"] = "push"
    poll_interval: Duration = datetime.timedelta(seconds=60)
    periods: tuple[Literal["intraday", "day", "week", "month"], ...] = ("intraday",)
    session: Literal["rth", "eth", "all"] = "all"

    @model_validator(mode="after")
    def _gather_symbols(self) -> SubscriptionSettings:
        symbols, wrong = [], []
        for place, text in self._spelled_symbols():
            try:
                symbols.append(normalize_symbol(text))
            except BadSymbol as error:
                wrong.append(f"{place}: {error}")
        if wrong:
            raise ValueError("\n".join(wrong))
        if not symbols:
            raise ValueError("names no symbol: set symbols or symbols_file")
        if not self.feeds:
            raise ValueError("feeds is empty: name at least one, such as ticks")
        return self.model_copy(update={"symbols": tuple(dict.fromkeys(symbols))})

    def _spelled_symbols(self) -> Iterator[tuple[str, str]]:
        """(where it stands, symbol as written) of each, `symbols` first."""
        for text in self.symbols:
            yield "symbols", text
        if self.symbols_file is None:
            return
        lines = read_text_file(self.symbols_file, "symbols_file").splitlines()
        for number, line in enumerate(lines, start=1):
            if text := line.partition("#")[0].strip():
                yield f"{self.symbols_file}, line {number}", text


class Settings(Section):
    """The whole file. A section that is left out has its defaults; without `[kafka]` there is no Kafka."""

    worker: WorkerSettings
    journal: JournalSettings
    kafka: KafkaSettings | None = None
    clickhouse: ClickHouseSettings
    http: HttpSettings
    schedule: ScheduleSettings
    gateway: tuple[Gateway, ...] = ()
    subscription: tuple[SubscriptionSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _add_sections_left_out(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        required: dict[str, Any] = {name: {} for name, field in cls.model_fields.items() if field.is_required()}
        return required | data
