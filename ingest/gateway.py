"""A gateway as configured: kept connected, its troubles counted, logged and written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from codec.clock import MarketClock
from codec.columns import SEQUENCE
from codec.markets import MARKET_PREFIXES, US, parse_symbol, symbol_name
from codec.opend.decoder import OpenDDecoder, Refused
from codec.opend.notes import TIME_DISAGREEMENTS, UNLISTED_MARKETS, UNLISTED_NUMBERS
from codec.opend.protocol import FRAME_BYTES_MAX, ProtoId, SessionChoice
from codec.opend.replies import Asked, FlowLines, GatewayError, NeedsRoom, OneRow, ReplyDecoder
from codec.opend.static_info import named_row, symbol_row
from codec.tables import SYMBOLS
from ingest.backoff import Backoff
from ingest.conditions import Conditions
from ingest.dead_letters import DeadLetters
from ingest.gateway_stats import GatewayStats
from ingest.holes import Holes
from ingest.ledger import CAUSE_DECODE_ERROR, CAUSE_RECONNECT, FEED_TICKS
from ingest.listener import Listener
from ingest.market_hours import MarketHours
from ingest.opend.connection import OpenDConnection
from ingest.opend.encryption import PLAIN, WireMode
from ingest.opend.events import DeadLetter, Failed, Notified, Polled, Pulled, Ready
from ingest.opend.gateway_polls import GatewayPolls
from ingest.opend.gateway_state import GatewayState, StateChange
from ingest.opend.names import Names
from ingest.opend.poll_plan import FEED_OF_CALL, PollConfig
from ingest.opend.poller import QUOTAS, PollTarget
from ingest.opend.requests import PULL_TICKS, Security, Wanted
from ingest.opend.subscriber import Subscriber
from ingest.opend.subscriptions import Subscriptions
from ingest.pipeline import TickPipeline
from ingest.quota_keeper import QuotaKeeper
from ingest.running import Running
from ingest.tick_polls import TickPolls
from protos.opend import static_info_pb2

log = structlog.get_logger(__name__)

_STEADY_S = 30.0
"""A connection that lasted this long starts the backoff anew."""


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One OpenD and what to get from it.

    Attributes
    ----------
    symbols : whose ticks are wanted, `MARKET.CODE`, in order of preference
    us_sessions : sessions of the US symbols among them that are not wanted in all sessions
    tick_polls : those whose ticks are pulled again and again, rather than pushed, with the interval in seconds
    quota_share : our part of the login's request quotas
    quota_reserve : subscription units left to others
    """

    name: str
    source: str
    host: str
    port: int
    symbols: tuple[str, ...]
    polls: tuple[PollConfig, ...] = ()
    us_sessions: Mapping[str, SessionChoice] = field(default_factory=dict)
    tick_polls: Mapping[str, float] = field(default_factory=dict)
    quota_share: float = 1.0
    quota_reserve: int = 0
    wire: WireMode = PLAIN
    body_bytes_max: int = FRAME_BYTES_MAX


class OpenDGateway:
    """Keeps one connection to an OpenD, with its subscriptions; reconnects for ever.

    Parameters
    ----------
    quotas : request quotas of all logins, shared with the other gateways; None: its own, which nobody remembers
    hours : regular hours by market number, outside of which polls pause; None: around the clock
    """

    def __init__(
        self,
        config: GatewayConfig,
        pipeline: TickPipeline,
        clock: MarketClock,
        *,
        quotas: QuotaKeeper | None = None,
        hours: Mapping[int, MarketHours] | None = None,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.stats = GatewayStats()
        self.lane = pipeline.lane(config.source)
        self._pipeline = pipeline
        self._gateway_id = self.lane.add_gateway(config.name)
        self.lane.want(config.name, config.symbols)
        self.lane.when_wanted(self._pull_wanted)
        self._decoder = OpenDDecoder(
            self.lane.symbols,
            clock,
            gateway_id=self._gateway_id,
            body_bytes_max=config.body_bytes_max,
            checks_sha1=config.wire.has_sha1,
        )
        self._replies = ReplyDecoder(
            self.lane.symbols,
            clock,
            source=config.source,
            gateway=config.name,
            gateway_id=self._gateway_id,
        )
        self._wanted = _wanted(config)
        self.state = GatewayState()
        self._names = Names()
        self._confirmed_before: frozenset[Security] = frozenset()
        self._last_polled: dict[int, int] = {}
        self._backoff = backoff or Backoff()
        self._rng = rng or random.Random()
        self._connection: OpenDConnection | None = None
        self._last_error = "not connected yet"
        self._running = Running()
        self._log = log.bind(gateway=config.name)
        self._holes = Holes(self.lane, pipeline, config.name)
        self._letters = DeadLetters(config.name, pipeline, self._log, self.stats.dead_letters)
        self._conditions = Conditions(self.state, self._log, self._holes.open)
        quotas = quotas or QuotaKeeper(QUOTAS, None)
        quotas.granted.append(self._quotas_granted)
        self._listener = Listener(self.lane, hours)
        self._polls = GatewayPolls(
            config.polls,
            config.quota_share,
            quotas,
            hours,
            market_state=lambda market: self.state.market_states.get(market) if self.state.known else None,
            latest_us=self.lane.latest_us,
            rng=self._rng,
            log=self._log,
        )

    @property
    def name(self) -> str:
        """As configured."""
        return self.config.name

    @property
    def ready(self) -> bool:
        """Connected and logged in, every symbol subscribed or refused, and no quote right of them lost."""
        connection = self._connection
        if connection is None or not connection.ready or connection.subscriber.held:
            return False
        subscriptions = connection.subscriber.subscriptions
        return subscriptions.settled and not self._conditions.without_right(subscriptions.confirmed)

    @property
    def up(self) -> bool:
        """Whether the session is past its greeting."""
        return self._connection is not None and self._connection.ready

    @property
    def logged_in(self) -> bool:
        """Whether it says that it is logged in to quotes."""
        return self.state.logged_in

    def reconfigure(self, config: GatewayConfig) -> None:
        """Other symbols and polls are wanted; whatever else `config` says takes a new start."""
        before = {each.security for each in self._wanted}
        self.config, self._wanted = config, _wanted(config)
        self.lane.want(config.name, config.symbols)
        wanted = {each.security for each in self._wanted}
        removed = before - wanted
        self._log.info("other symbols are wanted", symbols=len(wanted), removed=len(removed))
        self._names.forget(removed)
        for security in removed:
            self.pull_given_up(security)
        self._polls.want(config.polls)
        if self._connection is not None:
            now_ns = time.monotonic_ns()
            self._connection.subscriber.want(self._wanted, now_ns)
            self._connection.wanted_changed(self._tick_polls(now_ns))

    def quota_used(self) -> dict[str, float]:
        """How much of each polled call's quota the last window used, 1.0 for all of it."""
        return self._polls.quota_used()

    async def start(self) -> None:
        self._running.begin(self._run(), f"gateway {self.config.name}")
        self._running.begin(self._listener.run(self._pushed, self._pull_silent), f"silence of {self.config.name}")

    async def wait(self) -> None:
        """Return once stopped; a gateway tries again for ever, so what this raises is a mistake of ours."""
        await self._running.wait()

    async def stop(self) -> None:
        await self._running.stop()

    def status(self) -> dict[str, object]:
        """What `ticktape status` shows of this gateway."""
        subscriber = self._connection.subscriber if self._connection else None
        return {
            "kind": "opend",
            "source": self.config.source,
            "address": f"{self.config.host}:{self.config.port}",
            "up": self.up,
            "ready": self.ready,
            "logged_in": self.state.logged_in,
            "trouble": self._trouble(),
            "market_states": {MARKET_PREFIXES[market]: state for market, state in self.state.market_states.items()},
            "quota": self._quota(),
            "symbols": len({each.security for each in self._wanted}),
            "subscribed": len(subscriber.confirmed) if subscriber else 0,
            "filled": len(subscriber.filled) if subscriber else 0,
            "refused": {symbol_name(*s): text for s, text in subscriber.refused.items()} if subscriber else {},
            "polled": len(self._polls) + len(self.config.tick_polls),
            **self._polls.status(),
            "unknown_messages": {str(proto_id): count for proto_id, count in self.stats.unknown_messages.items()},
            "times_disagreeing": int(self._decoder.counters[TIME_DISAGREEMENTS]),
            "numbers_unlisted": int(self._decoder.counters[UNLISTED_NUMBERS]),
            "markets_unlisted": int(self._decoder.counters[UNLISTED_MARKETS]),
            "open_gaps": self.lane.book.open_gaps.get(self.config.name, 0),
            "connects": self.stats.connects,
            "last_error": None if self.up else self._last_error,
        }

    def _trouble(self) -> str | None:
        """What keeps ticks from coming although the gateway answers."""
        if (ailment := self.state.trouble) is not None:
            return f"{ailment.sentence}; {ailment.remedy}"
        confirmed = self._connection.subscriber.confirmed if self._connection else ()
        kinds = sorted(kind.value for kind in self._conditions.without_right(confirmed))
        return f"the quote right is lost for {', '.join(kinds)}" if kinds else None

    def _quota(self) -> dict[str, int] | None:
        """The login's subscription units, as the gateway last said."""
        quota = self._connection.subscriber.subscriptions.quota if self._connection else None
        if quota is None:
            return None
        return {"total": quota.total, "used": quota.total - quota.left, "reserve": self.config.quota_reserve}

    def _subscriber(self, now_ns: int) -> Subscriber:
        """Of a new connection: nothing is subscribed yet."""
        subscriber = Subscriber(Subscriptions(self.config.quota_reserve), activity=self.lane.activity)
        subscriber.want(self._wanted, now_ns)
        return subscriber

    def _tick_polls(self, now_ns: int) -> TickPolls:
        intervals_s = {parse_symbol(symbol): interval_s for symbol, interval_s in self.config.tick_polls.items()}
        return TickPolls(intervals_s, now_ns)

    async def _run(self) -> None:
        delays_s = self._backoff.delays_s(self._rng)
        while True:
            await asyncio.sleep(next(delays_s))
            now_ns = time.monotonic_ns()
            connection = OpenDConnection(
                self._decoder,
                self.lane,
                self._pipeline,
                self,
                self._subscriber(now_ns),
                self._polls.poller,
                tick_polls=self._tick_polls(now_ns),
                state=self.state,
                names=self._names,
                wire=self.config.wire,
                body_bytes_max=self.config.body_bytes_max,
            )
            self._connection = connection
            try:
                reason = await connection.run(self.config.host, self.config.port)
            except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a host that can have no address
                reason = f"cannot connect to {self.config.host}:{self.config.port}: {error or 'timed out'}"
            finally:
                self._polls.disconnected()
            if connection.ready_at_s is not None:
                self._lost(reason, connection)
                if time.monotonic() - connection.ready_at_s >= _STEADY_S:
                    delays_s = self._backoff.delays_s(self._rng)
            elif reason != self._last_error:
                self._log.warning("no connection; trying again", reason=reason)
            self._last_error = reason

    def _lost(self, reason: str, connection: OpenDConnection) -> None:
        """A working connection ended: what its symbols get from now on may be missed."""
        self.stats.disconnects += 1
        self._log.warning("connection lost; reconnecting", reason=reason)
        confirmed = frozenset(connection.subscriber.confirmed)
        self._confirmed_before = confirmed
        self.state.connection_ended(len(confirmed), time.monotonic_ns())
        self._names.connection_ended()
        for security in confirmed:
            self._holes.open(security, CAUSE_RECONNECT)

    def _pull_wanted(self, symbol_ids: list[int]) -> None:
        """The account has found holes: pull these at once."""
        if self._connection is not None:
            self._connection.pull([parse_symbol(self.lane.symbols.names[id_]) for id_ in symbol_ids])

    def _quotas_granted(self) -> None:
        self._polls.poller.granted()
        if self._connection is not None:
            self._connection.go_on()

    def _pushed(self) -> set[Security] | None:
        """Symbols that can be heard just now."""
        connection = self._connection
        hears = connection is not None and connection.ready and not connection.subscriber.held
        if connection is None or not hears or self._pipeline.stats.journal_full_since_ns is not None:
            return None
        return connection.subscriber.filled - {parse_symbol(symbol) for symbol in self.config.tick_polls}

    def _pull_silent(self, securities: list[Security]) -> None:
        if self._connection is not None:
            self._connection.pull(securities)

    # What the connection tells.

    def session_ready(self, ready: Ready) -> None:
        self.stats.connects += 1
        self._polls.connected(ready.login_user_id)
        self._holes.begin(each.security for each in self._wanted)
        self._log.info(
            "connected", connection=ready.connection_id, server=ready.server_version, symbols=len(self._wanted)
        )

    def subscribed(self, securities: tuple[Security, ...]) -> None:
        self._holes.begin(securities)
        connection = self._connection
        if connection is not None and self.ready:
            refused = len(connection.subscriber.refused)
            self._log.info("subscribed", symbols=len(connection.subscriber.confirmed), refused=refused)

    def refused(self, news: list[tuple[Security, str]]) -> None:
        self._conditions.refused(news)

    def state_changed(self, change: StateChange) -> None:
        connection = self._connection
        assert connection is not None
        self._conditions.changed(
            change,
            wanted=connection.subscriber.subscriptions.wanted.keys(),
            confirmed=connection.subscriber.confirmed,
            confirmed_before=self._confirmed_before,
        )

    def named(self, reply: static_info_pb2.GetStaticInfoResponse) -> None:
        now_ns = time.time_ns()
        rows = [symbol_row(info, self.config.source, now_ns) for info in reply.s2c.staticInfoList]
        self._pipeline.append_rows(SYMBOLS.name, rows)

    def named_by_pull(self, security: Security, name: str) -> None:
        """All that is known of a symbol without static information; never instead of what was known once."""
        row = named_row(security, name, self.config.source, time.time_ns())
        if name and not self._pipeline.knows(SYMBOLS.name, row):
            self._pipeline.append_rows(SYMBOLS.name, [row])

    def pull_given_up(self, security: Security) -> None:
        self._holes.give_up(security, leaves=all(each.security != security for each in self._wanted))

    def asked_polls(self) -> None:
        self._polls.asked()

    def answered(self, proto_id: int) -> None:
        self.stats.requests[_call(proto_id), "ok"] += 1

    def request_failed(self, failed: Failed) -> None:
        outcome = "timeout" if failed.timed_out else "refused"
        self.stats.requests[_call(failed.proto_id), outcome] += 1
        self._log.warning(
            "request failed",
            call=_call(failed.proto_id),
            gateway_says=failed.text,
            ret_type=failed.ret_type,
            error_code=failed.error_code,
        )

    def pulled(self, security: Security, pulled: Pulled) -> None:
        symbol_id = self.lane.symbols.id_of(*security)
        if symbol_name(*security) in self.config.tick_polls and pulled.rows:
            self._polled_ticks(security, pulled)
        looks = self._listener.asked_for(security)
        self.lane.mark_pull(symbol_id, pulled.first_row, pulled.rows, self.config.name, looks=looks)

    def _polled_ticks(self, security: Security, pulled: Pulled) -> None:
        """Say it when a full reply does not reach back to the ticks that we have of a symbol; the ledger does too."""
        symbol_id = self.lane.symbols.id_of(*security)
        sequences = self.lane.ticks.wide[SEQUENCE, pulled.first_row : pulled.first_row + pulled.rows]
        newest = max(self.lane.window.newest_sequence(symbol_id) or 0, self._last_polled.get(symbol_id, 0))
        if pulled.rows >= PULL_TICKS and 0 < newest < int(sequences.min()):
            symbol = symbol_name(*security)
            self._log.error("more ticks lie between two polls than a pull brings: shorten poll_interval", symbol=symbol)
        self._last_polled[symbol_id] = int(sequences.max())

    def polled(self, target: PollTarget, polled: Polled) -> None:
        symbol_id = self.lane.symbols.id_of(*target.security)
        asked = Asked(symbol_id, target.security[0], target.period)
        feed = FEED_OF_CALL[target.proto_id]
        answer: FlowLines | OneRow | GatewayError | Refused | NeedsRoom
        match target.proto_id:
            case ProtoId.GET_CAPITAL_FLOW:
                flows = self.lane.flows
                answer = self._replies.flow(polled.received, polled.frame, asked, polled.recv_ns, flows)
            case ProtoId.GET_CAPITAL_DISTRIBUTION:
                answer = self._replies.distribution(polled.received, polled.frame, asked, polled.recv_ns)
            case _:
                answer = self._replies.ark(polled.received, polled.frame, asked, polled.recv_ns)
        match answer:
            case GatewayError():
                self._poll_failed(target, answer, polled.frame.serial)
                return
            case FlowLines():
                for refused in answer.refused:
                    self._refused_row(feed, refused, polled)
                self._polls.lines(target, answer, self.lane.flows)
                self._pipeline.gathered(self.lane)
            case OneRow():
                self._polls.row(target, answer)
                self._pipeline.append_rows(feed, [answer.row])
            case Refused():
                self._polls.nothing(target)
                self._refused_row(feed, answer, polled)
            case NeedsRoom():
                self._polls.nothing(target)  # the buffer is full of lines that wait: the next poll brings them all
        self.answered(target.proto_id)

    def _poll_failed(self, target: PollTarget, error: GatewayError, serial: int) -> None:
        if self._polls.refused(target, error):
            self.stats.requests[_call(target.proto_id), "too_frequent"] += 1
            return
        text = f"{symbol_name(*target.security)}: {error.text}"
        self.request_failed(Failed(serial, target.proto_id, error.ret_type, error.error_code, text, timed_out=False))

    def _refused_row(self, feed: str, refused: Refused, polled: Polled) -> None:
        self._letters.put(feed, refused.reason, refused.detail, polled.received[: refused.span.size_bytes].tobytes())

    def dead_letter(self, letter: DeadLetter) -> None:
        self._letters.put(FEED_TICKS, letter.reason, letter.detail, letter.payload, letter.payload_bytes)
        if letter.symbol_id is not None:
            self.lane.account.flawed.add(letter.symbol_id)
        if letter.loses_ticks and self._connection is not None and self._connection.ready:
            self._fill_after_decode_error(self._connection)

    def _fill_after_decode_error(self, connection: OpenDConnection) -> None:
        """A frame was lost to us, and with it the name of its symbol: pull all that are subscribed."""
        for security in sorted(connection.subscriber.confirmed):
            self._holes.open(security, CAUSE_DECODE_ERROR)
            connection.subscriber.pull(security)

    def unknown_message(self, proto_id: int) -> None:
        self.stats.unknown_messages[proto_id] += 1
        if self.stats.unknown_messages[proto_id] == 1:
            self._log.warning("a message of a protocol id that we don't know; counted from here on", proto_id=proto_id)

    def notified(self, notice: Notified) -> None:
        self._log.info("the gateway notifies", notice=str(notice.notice).replace("\n", " ").strip())


def _wanted(config: GatewayConfig) -> tuple[Wanted, ...]:
    """Desired subscriptions, in order of preference."""
    wanted = []
    for symbol in config.symbols:
        security = parse_symbol(symbol)
        session = config.us_sessions.get(symbol, SessionChoice.ALL) if security[0] == US else None
        wanted.append(Wanted(security, session, push=symbol not in config.tick_polls))
    return tuple(wanted)


def _call(proto_id: int) -> str:
    try:
        return ProtoId(proto_id).name.lower()
    except ValueError:
        return str(proto_id)
