"""Every table and view that ticktape writes, each column named once.

The declaration says what a value *is*; how a store or a format spells it is derived beside its one
user: numpy dtypes in `codec/columns.py`, Arrow types in `codec/arrow.py`, ClickHouse DDL in
`sinks/ddl.py`, the readers' documentation in `ticktape/table_docs.py`. A test holds them together.

Rule 1: a name appears here once; nothing else in the project lists the columns of a table.
Rule 2: within one version only nullable columns are added, at the end.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass


class Kind(enum.Enum):
    """What a value is, whatever stores it."""

    WORD = "one of few texts: a symbol, a source, a reason"
    TEXT = "any text"
    BYTES = "any bytes"
    DATE = "a calendar date, from 1970 on"
    EARLY_DATE = "a calendar date, from 1900 on"
    TIME_US = "an instant in UTC, to the microsecond: the exchange's times"
    TIME_NS = "an instant in UTC, to the nanosecond: our own times"
    UINT8 = "an unsigned integer of 8 bits"
    UINT16 = "an unsigned integer of 16 bits"
    UINT32 = "an unsigned integer of 32 bits"
    UINT64 = "an unsigned integer of 64 bits"
    INT32 = "a signed integer of 32 bits"
    INT64 = "a signed integer of 64 bits"
    FLOAT64 = "the double that the gateway sent, or the nearest to its decimal text"


class Trend(enum.Enum):
    """How a column's values follow one another within one symbol: a hint for compression."""

    ANY = "no pattern"
    STEADY = "grows by similar steps"
    DRIFTING = "stays near its last value"


@dataclass(frozen=True, slots=True, eq=False)
class EnumKind:
    """A closed set of words, each with the number that stores keep."""

    name: str
    members: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        # A code is then its word's place in the dictionary, but for where they begin (codec/arrow_arrays.py).
        first = self.members[0][1]
        assert [code for _, code in self.members] == list(range(first, first + len(self.members)))

    def code(self, word: str) -> int:
        """The number of `word`; raises KeyError for a word that is not a member."""
        return dict(self.members)[word]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, what its values are, and what they mean."""

    name: str
    kind: Kind | EnumKind
    meaning: str
    trend: Trend = Trend.ANY
    nullable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table: also one Kafka topic and one Arrow schema.

    `order_by` starts with what readers filter on and holds the whole `key`; `month_of` is the
    column whose month is the partition; rows of one key are replaced by the greatest `newest_by`,
    or by the last one inserted where that is None.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order_by: tuple[str, ...]
    month_of: str
    newest_by: str | None = None
    version: int = 1

    def __post_init__(self) -> None:
        names = {column.name for column in (*self.columns, *STORED_COLUMNS)}
        assert len(names) == len(self.columns) + len(STORED_COLUMNS), f"{self.name}: a column named twice"
        assert set(self.key) <= set(self.order_by), f"{self.name}: the key must be in order_by"
        assert set(self.order_by) | {self.month_of} <= names, f"{self.name}: unknown column"

    @property
    def schema_name(self) -> str:
        """The value of the `ticktape-schema` header: `ticks.v1`."""
        return f"{self.name}.v{self.version}"

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)


@dataclass(frozen=True, slots=True)
class LatestView:
    """The newest version of each line of a table that keeps every version (`<table>_latest`)."""

    table: Table
    newest_by: str

    @property
    def name(self) -> str:
        return f"{self.table.name}_latest"

    @property
    def line_key(self) -> tuple[str, ...]:
        """What names a line, whichever its version."""
        return tuple(name for name in self.table.key if name != self.newest_by)


@dataclass(frozen=True, slots=True)
class DifferencesView:
    """Differences between neighbouring lines of a cumulative table (`capital_flow_1m`)."""

    name: str
    latest: LatestView
    only: tuple[str, str]
    """(column, word): the lines that take part."""
    within: tuple[str, ...]
    """Columns whose change starts the sum anew."""
    along: str
    """The column that orders the lines."""
    differences: tuple[str, ...]
    """The cumulative columns that become differences."""


DIRECTION = EnumKind("direction", (("unknown", 0), ("buy", 1), ("sell", 2), ("neutral", 3)))
SESSION = EnumKind("session", (("unknown", 0), ("regular", 1), ("pre", 2), ("post", 3), ("overnight", 4)))
DELIVERY = EnumKind("delivery", (("realtime", 1), ("by_disconnect", 2), ("cache", 3), ("pull", 4), ("import", 5)))
PERIOD = EnumKind("period", (("intraday", 1), ("day", 2), ("week", 3), ("month", 4)))
ARK_DYNAMIC_TYPE = EnumKind(
    "dynamic_type",
    (
        ("unknown", 0),
        ("consecutive_same_direction", 1),
        ("recent_transaction", 2),
        ("last_transaction", 3),
        ("no_dynamic", 4),
    ),
)
CONDITION = EnumKind("condition", (("complete", 1), ("degraded", 2), ("pending", 3), ("missing", 4), ("unknown", 5)))

STORED_COLUMNS = (
    Column("_topic", Kind.WORD, "Kafka topic; embedded: `journal-<journal id>/<table>`."),
    Column("_partition", Kind.UINT16, "Kafka partition; embedded: 0."),
    Column("_offset", Kind.UINT64, "Offset of the record that held the row.", Trend.STEADY),
    Column("_row", Kind.UINT32, "Index of the row within its record.", Trend.STEADY),
)
"""Where a row came from: carried by every table in ClickHouse, and by no record."""

_SOURCE = Column("source", Kind.WORD, "The vendor whose data it is: futu, moomoo, longport, flow-list.")
_SYMBOL = Column("symbol", Kind.WORD, "MARKET.CODE, whatever the gateway's own spelling.")
_TRADE_DATE = Column("trade_date", Kind.DATE, "The market's trading day; US: from 20:00 Eastern the next one.")
_TS_RECV = Column("ts_recv", Kind.TIME_NS, "Our clock at the socket, UTC.", Trend.STEADY)
_GATEWAY = Column("gateway", Kind.WORD, "The gateway's configured name.")
_FEED = Column("feed", Kind.WORD, "What the subscription asked for: ticks, capital_flow, …")


def _money(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, Kind.FLOAT64, meaning, Trend.DRIFTING, nullable)


TICKS = Table(
    name="ticks",
    meaning="One execution as the exchange reported it, a row each.",
    columns=(
        _SOURCE,
        _SYMBOL,
        _TRADE_DATE,
        Column("ts_event", Kind.TIME_US, "When the exchange says it traded, UTC.", Trend.STEADY),
        Column(
            "sequence",
            Kind.INT64,
            "The gateway's own id. LongPort: the push's, or, of a trade without one (pulled, mostly), a number below 0"
            " made of its content.",
            Trend.STEADY,
        ),
        Column(
            "ordinal",
            Kind.UINT32,
            "Tells apart ticks that share a sequence. OpenD: 0 but in conflicts; LongPort: place in the push, or number"
            " among equal trades of a second.",
        ),
        Column("price", Kind.FLOAT64, "In the quote currency; the double the gateway sent.", Trend.DRIFTING),
        Column("volume", Kind.FLOAT64, "Shares or contracts; hpVolume where sent.", Trend.DRIFTING),
        Column("turnover", Kind.FLOAT64, "Price times volume, as sent.", Trend.DRIFTING),
        Column("direction", DIRECTION, "Who was the aggressor."),
        Column("trade_type", Kind.UINT8, "OpenD TickerType; 0 where not sent."),
        Column("condition", Kind.WORD, "The exchange's sale condition; empty for none."),
        Column("session", SESSION, "Part of the market's day."),
        Column("delivery", DELIVERY, "How it reached us."),
        Column("ts_gateway", Kind.TIME_US, "OpenD's receive time, UTC.", Trend.STEADY, nullable=True),
        _TS_RECV,
        _GATEWAY,
    ),
    key=("source", "symbol", "sequence", "ordinal"),
    order_by=("symbol", "trade_date", "source", "sequence", "ordinal"),
    month_of="trade_date",
)

CAPITAL_FLOW = Table(
    name="capital_flow",
    meaning="Net inflow of money; intraday lines are one a minute, cumulative since the open.",
    columns=(
        _SOURCE,
        _SYMBOL,
        _TRADE_DATE,
        Column(
            "ts_event",
            Kind.TIME_US,
            "Start of the minute; of a day or longer, local midnight.",
            Trend.STEADY,
        ),
        Column("period", PERIOD, "What one line spans."),
        _money("net_inflow", "All orders, in the quote currency."),
        _money("main_net_inflow", "Super and large orders; not sent intraday.", nullable=True),
        _money("super_net_inflow", "Super-large orders.", nullable=True),
        _money("large_net_inflow", "Large orders.", nullable=True),
        _money("medium_net_inflow", "Medium orders.", nullable=True),
        _money("small_net_inflow", "Small orders.", nullable=True),
        _TS_RECV,
        _GATEWAY,
    ),
    key=("source", "symbol", "period", "ts_event", "ts_recv"),
    order_by=("symbol", "source", "period", "ts_event", "ts_recv"),
    month_of="trade_date",
)

CAPITAL_DISTRIBUTION = Table(
    name="capital_distribution",
    meaning="Money in and out by order size, for the day so far.",
    columns=(
        _SOURCE,
        _SYMBOL,
        _TRADE_DATE,
        Column("ts_event", Kind.TIME_US, "The gateway's update time, UTC.", Trend.STEADY),
        _money("inflow_super", "Bought in super-large orders; null from LongPort.", nullable=True),
        _money("inflow_large", "Bought in large orders."),
        _money("inflow_medium", "Bought in medium orders."),
        _money("inflow_small", "Bought in small orders."),
        _money("outflow_super", "Sold in super-large orders; null from LongPort.", nullable=True),
        _money("outflow_large", "Sold in large orders."),
        _money("outflow_medium", "Sold in medium orders."),
        _money("outflow_small", "Sold in small orders."),
        _TS_RECV,
        _GATEWAY,
    ),
    key=("source", "symbol", "ts_event", "ts_recv"),
    order_by=("symbol", "source", "ts_event", "ts_recv"),
    month_of="trade_date",
)

_ORDER_SIZES = ("main", "retail", "super", "large", "medium", "small")

CAPITAL_FLOW_SUMMARY = Table(
    name="capital_flow_summary",
    meaning="The capital-flow list: net inflow and its share of turnover by order size.",
    columns=(
        _SOURCE,
        _SYMBOL,
        _TRADE_DATE,
        Column("ts_event", Kind.TIME_US, "The list's own time, UTC.", Trend.STEADY),
        *(_money(f"{size}_net_inflow", f"Net inflow of {size} orders.", nullable=True) for size in _ORDER_SIZES),
        *(
            _money(f"{size}_net_inflow_ratio", f"The same as a share of turnover, {size} orders.", nullable=True)
            for size in _ORDER_SIZES
        ),
        _TS_RECV,
        _GATEWAY,
    ),
    key=("source", "symbol", "ts_event", "ts_recv"),
    order_by=("symbol", "source", "ts_event", "ts_recv"),
    month_of="trade_date",
)

ARK_DYNAMIC = Table(
    name="ark_dynamic",
    meaning="What the ARK funds did lately in a symbol.",
    columns=(
        _SOURCE,
        _SYMBOL,
        Column("dynamic_type", ARK_DYNAMIC_TYPE, "What kind of move it was."),
        Column("transaction_count", Kind.INT32, "Transactions in a row, or lately."),
        Column("net_shares", Kind.INT64, "Shares bought less shares sold."),
        Column("last_transaction_time", Kind.TEXT, "As sent: a date, without zone."),
        _TS_RECV,
        _GATEWAY,
    ),
    key=("source", "symbol", "ts_recv"),
    order_by=("symbol", "source", "ts_recv"),
    month_of="ts_recv",
)

GAPS = Table(
    name="gaps",
    meaning="The loss ledger: what is missing, between which rows, and why.",
    columns=(
        Column("gap_id", Kind.TEXT, "Deterministic name of the hole."),
        _SOURCE,
        _SYMBOL,
        _GATEWAY,
        _FEED,
        Column("cause", Kind.WORD, "reconnect, down, decode_error, journal_full, …"),
        Column("from_ts", Kind.TIME_US, "ts_event of the last row before the hole.", nullable=True),
        Column("to_ts", Kind.TIME_US, "ts_event of the first row after it.", nullable=True),
        Column("from_sequence", Kind.INT64, "Sequence of the last row before the hole.", nullable=True),
        Column("to_sequence", Kind.INT64, "Sequence of the first row after it.", nullable=True),
        Column("filled", Kind.UINT64, "Rows that backfill added."),
        Column("missing", Kind.UINT64, "Rows still missing; null when it cannot be known.", nullable=True),
        Column("certainty", Kind.WORD, "certain or suspected."),
        Column("state", Kind.WORD, "open, filled or lost."),
        Column("opened_at", Kind.TIME_NS, "When we noticed."),
        Column("updated_at", Kind.TIME_NS, "When this version was written; the newest wins."),
    ),
    key=("gap_id",),
    order_by=("gap_id",),
    month_of="opened_at",
    newest_by="updated_at",
)

COVERAGE = Table(
    name="coverage",
    meaning="How complete a symbol's day is.",
    columns=(
        _SOURCE,
        _SYMBOL,
        _FEED,
        _TRADE_DATE,
        Column("rows", Kind.UINT64, "Rows stored."),
        Column("first_ts", Kind.TIME_US, "ts_event of the first row.", nullable=True),
        Column("last_ts", Kind.TIME_US, "ts_event of the last row.", nullable=True),
        Column("missing", Kind.UINT64, "Rows known to be missing; null when it cannot be known.", nullable=True),
        Column("gaps", Kind.UINT32, "Rows of the loss ledger for the day."),
        Column("condition", CONDITION, "The verdict."),
        Column("audited_at", Kind.TIME_NS, "When it was judged; the newest wins."),
    ),
    key=("source", "symbol", "feed", "trade_date"),
    order_by=("symbol", "source", "feed", "trade_date"),
    month_of="trade_date",
    newest_by="audited_at",
)

SYMBOLS = Table(
    name="symbols",
    meaning="What is known of each symbol, a row a change.",
    columns=(
        _SOURCE,
        _SYMBOL,
        Column("name", Kind.WORD, "The gateway's name for it."),
        Column("security_type", Kind.WORD, "Stock, warrant, index, …"),
        Column("exchange", Kind.WORD, "Where it is listed."),
        Column("lot_size", Kind.INT32, "Shares a board lot.", nullable=True),
        Column("currency", Kind.WORD, "What prices are in."),
        Column("listed_on", Kind.EARLY_DATE, "First trading day.", nullable=True),
        Column("delisted", Kind.UINT8, "1 when the gateway says so.", nullable=True),
        Column("updated_at", Kind.TIME_NS, "When we learned it."),
    ),
    key=("source", "symbol", "updated_at"),
    order_by=("symbol", "source", "updated_at"),
    month_of="updated_at",
)

DEAD_LETTERS = Table(
    name="dead_letters",
    meaning="What could not be decoded or stored, with the reason.",
    columns=(
        _GATEWAY,
        _FEED,
        Column("reason", Kind.WORD, "A short stable word: bad_magic, bad_sha1, bad_row, …"),
        Column("detail", Kind.TEXT, "What exactly was wrong, and where."),
        Column("payload", Kind.BYTES, "The first 4 KiB of the frame, header included, after decryption."),
        Column("payload_bytes", Kind.UINT32, "Its full size."),
        _TS_RECV,
    ),
    key=("ts_recv", "gateway", "reason", "_topic", "_partition", "_offset", "_row"),
    order_by=("ts_recv", "gateway", "reason", "_topic", "_partition", "_offset", "_row"),
    month_of="ts_recv",
)

TABLES: tuple[Table, ...] = (
    TICKS,
    CAPITAL_FLOW,
    CAPITAL_DISTRIBUTION,
    CAPITAL_FLOW_SUMMARY,
    ARK_DYNAMIC,
    GAPS,
    COVERAGE,
    SYMBOLS,
    DEAD_LETTERS,
)
TABLE_BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}

LATEST_VIEWS: tuple[LatestView, ...] = (
    LatestView(CAPITAL_FLOW, "ts_recv"),
    LatestView(CAPITAL_DISTRIBUTION, "ts_recv"),
    LatestView(CAPITAL_FLOW_SUMMARY, "ts_recv"),
    LatestView(ARK_DYNAMIC, "ts_recv"),
    LatestView(SYMBOLS, "updated_at"),
)

CAPITAL_FLOW_1M = DifferencesView(
    name="capital_flow_1m",
    latest=LATEST_VIEWS[0],
    only=("period", "intraday"),
    within=("source", "symbol", "trade_date"),
    along="ts_event",
    differences=(
        "net_inflow",
        "super_net_inflow",
        "large_net_inflow",
        "medium_net_inflow",
        "small_net_inflow",
    ),
)
VIEWS: tuple[LatestView | DifferencesView, ...] = (*LATEST_VIEWS, CAPITAL_FLOW_1M)
