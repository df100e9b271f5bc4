"""A LongPort account as configured: kept connected, its troubles counted, logged and written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from codec.clock import MarketClock
from codec.longport.decoder import LongportDecoder, PulledTrades, Refused
from codec.longport.notes import UNLISTED_NUMBERS
from codec.longport.protocol import Command
from codec.longport.replies import FlowLines, NeedsRoom, OneRow, ReplyDecoder
from codec.longport.wire_symbols import wire_symbol
from codec.markets import Security, parse_symbol, symbol_name
from ingest.backoff import Backoff
from ingest.dead_letters import DeadLetters
from ingest.gateway_stats import GatewayStats
from ingest.holes import Holes
from ingest.ledger import CAUSE_DECODE_ERROR, CAUSE_RECONNECT, CAUSE_REFUSED, FEED_TICKS
from ingest.listener import Listener
from ingest.longport.address import Address
from ingest.longport.backfill import Backfill, Held
from ingest.longport.connection import LongPortConnection
from ingest.longport.errors import RATE_LIMITED, Reaction, reaction_to
from ingest.longport.events import DeadLetter, Failed, Polled, Ready, Remedy, Ticket
from ingest.longport.gateway_polls import GatewayPolls
from ingest.longport.limits import AccountLimits, quota_of
from ingest.longport.poll_plan import FEED_OF_COMMAND, PollTarget
from ingest.longport.requests import PULL_TRADES, spell
from ingest.longport.session import Login
from ingest.longport.signature import Credentials
from ingest.longport.subscriptions import QUOTA, UNKNOWN_MARKET, Subscriptions
from ingest.longport.token import TokenUnavailable, TokenUnreadable, fetch_password
from ingest.market_hours import MarketHours
from ingest.pipeline import TickPipeline
from ingest.poll_config import PollConfig
from ingest.running import Running
from ingest.tick_polls import TickPolls
from protos.longport import quote_profile_pb2

log = structlog.get_logger(__name__)

_STEADY_S = 10.0
"""A connection that lasted this long starts the backoff anew."""
STAY_AWAY_S = 300.0
"""Between attempts while another program uses the account's connection: each of ours ends theirs."""


@dataclass(frozen=True, slots=True)
class LongPortConfig:
    """One LongPort account and what to get from it.

    Attributes
    ----------
    symbols : whose ticks are wanted, `MARKET.CODE`, in order of preference
    tick_polls : those whose ticks are pulled again and again, rather than pushed, with the interval in seconds
    overnight : whether those of the US overnight session are wanted too
    """

    name: str
    address: Address
    http_url: str
    credentials: Credentials
    symbols: tuple[str, ...]
    polls: tuple[PollConfig, ...] = ()
    tick_polls: Mapping[str, float] = field(default_factory=dict)
    overnight: bool = True
    source: str = field(default="longport", init=False)


class LongPortGateway:
    """Keeps one connection to LongPort, with its subscriptions; reconnects for ever.

    Parameters
    ----------
    limits : of the account, shared with its other gateways
    hours : regular hours by market number, outside of which polls pause; None: around the clock
    """

    def __init__(
        self,
        config: LongPortConfig,
        pipeline: TickPipeline,
        clock: MarketClock,
        *,
        limits: AccountLimits | None = None,
        hours: Mapping[int, MarketHours] | None = None,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.stats = GatewayStats()
        self.lane = lane = pipeline.lane(config.source)
        self._pipeline = pipeline
        gateway_id = lane.add_gateway(config.name)
        lane.want(config.name, config.symbols)
        lane.when_wanted(self._pull_wanted)
        self._decoder = LongportDecoder(lane.symbols, lane.conditions, clock, gateway_id=gateway_id, holds_pulls=True)
        self._replies = ReplyDecoder(
            lane.symbols, clock, source=config.source, gateway=config.name, gateway_id=gateway_id
        )
        self._backoff = backoff or Backoff()
        self._rng = rng or random.Random()
        self._limits = limits or AccountLimits(self._rng)
        self._limits.freed.append(self._calls_freed)
        self._ticket: Ticket | None = None
        self._connection: LongPortConnection | None = None
        self._last_error = "not connected yet"
        self._account: dict[str, object] = {}
        self._refused_logged: set[tuple[Security, str]] = set()
        self._pulls_logged: set[tuple[Security, str]] = set()
        self._quota_logged = 0
        self._running = Running()
        self._log = log.bind(gateway=config.name)
        self._holes = Holes(lane, pipeline, config.name)
        self._letters = DeadLetters(config.name, pipeline, self._log, self.stats.dead_letters)
        self._listener = Listener(lane, hours)
        self._polls = GatewayPolls(config.polls, hours, latest_us=lane.latest_us, log=self._log)

    @property
    def name(self) -> str:
        """As configured."""
        return self.config.name

    @property
    def ready(self) -> bool:
        """Logged in, and every symbol subscribed or refused."""
        return self._connection is not None and self._connection.ready and self._connection.subscriptions.settled

    @property
    def up(self) -> bool:
        """Whether the session is past its login."""
        return self._connection is not None and self._connection.ready

    @property
    def logged_in(self) -> bool:
        """Whether LongPort has let us in."""
        return self.up

    def reconfigure(self, config: LongPortConfig) -> None:
        """Other symbols and polls are wanted; whatever else `config` says takes a new start."""
        before = set(self.config.symbols)
        self.config = config
        self.lane.want(config.name, config.symbols)
        removed = before - set(config.symbols)
        self._log.info("other symbols are wanted", symbols=len(config.symbols), removed=len(removed))
        for symbol in removed:
            self._holes.give_up(parse_symbol(symbol), leaves=True)
        self._polls.want(config.polls)
        if (connection := self._connection) is not None:
            for security in connection.subscriptions.want(self._pushed_symbols()):
                connection.backfill.discard(security)
            connection.wanted_changed(self._tick_polls())

    def quota_used(self) -> dict[str, float]:
        """How much of the account's calls the last second used, 1.0 for all of them."""
        used = self._limits.used(time.monotonic_ns())
        return {"all" if command is None else _call(command): ratio for command, ratio in used.items()}

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
        connection = self._connection
        subscriptions = connection.subscriptions if connection else None
        return {
            "kind": "longport",
            "source": self.config.source,
            "address": self.config.address.url,
            "up": self.up,
            "ready": self.ready,
            "logged_in": self.logged_in,
            "trouble": None,
            "quota": {"total": subscriptions.symbols_max, "used": len(subscriptions.confirmed), "reserve": 0}
            if subscriptions
            else None,
            "symbols": len(self.config.symbols),
            "subscribed": len(subscriptions.subscribed) if subscriptions else 0,
            "filled": len(connection.backfill.filled) if connection else 0,
            "refused": self._refused(connection),
            "polled": len(self._polls) + len(self.config.tick_polls),
            **self._polls.status(),
            **self._account,
            "unknown_messages": {str(command): count for command, count in self.stats.unknown_messages.items()},
            "numbers_unlisted": int(self._decoder.counters[UNLISTED_NUMBERS]),
            "open_gaps": self.lane.book.open_gaps.get(self.config.name, 0),
            "connects": self.stats.connects,
            "last_error": None if self.up else self._last_error,
        }

    def _refused(self, connection: LongPortConnection | None) -> dict[str, str]:
        """Symbols that are not subscribed to or not polled, with the reason."""
        unknown = (symbol for symbol in self.config.tick_polls if wire_symbol(*parse_symbol(symbol)) is None)
        refused = dict.fromkeys(unknown, UNKNOWN_MARKET)
        if connection is not None:
            refused |= {symbol_name(*each): text for each, text in connection.subscriptions.refused.items()}
            for security, text in connection.backfill.refused.items():
                if (symbol := symbol_name(*security)) in self.config.tick_polls:
                    refused.setdefault(symbol, text)
        for target, text in self._polls.poller.refused.items():
            refused.setdefault(symbol_name(*target.security), f"{FEED_OF_COMMAND[target.command]}: {text}")
        return refused

    async def _run(self) -> None:
        delays_s = self._backoff.delays_s(self._rng)
        delay_s = next(delays_s)
        while True:
            await asyncio.sleep(delay_s)
            reason, remedy, lasted_s = await self._visit()
            if lasted_s is not None and lasted_s >= _STEADY_S:
                delays_s = self._backoff.delays_s(self._rng)
            delay_s = next(delays_s)
            if remedy is Remedy.NEW_PASSWORD:
                self._ticket = None
            elif remedy is Remedy.STAY_AWAY:
                delay_s = self._rng.uniform(STAY_AWAY_S / 2, STAY_AWAY_S)
                self._log.error(
                    "another program has taken the account's connection: nothing comes from here",
                    reason=reason,
                    remedy="end that program, or give each an account of its own",
                    trying_again_s=round(delay_s),
                )
            self._last_error = reason

    async def _visit(self) -> tuple[str, Remedy, float | None]:
        """One connection: why it ended, how to go on, and how long the gateway let us in, if it did."""
        connection: LongPortConnection | None = None
        login: Login | None = None
        try:
            login = await self._login()
            self._connection = connection = self._new_connection()
            reason = await connection.run(self.config.address, login)
        except TokenUnavailable as error:
            reason = str(error)
            if isinstance(error, TokenUnreadable):
                line = error.status_line.encode()
                self._letters.put(FEED_TICKS, "undecodable", f"token call: {error}", line, error.body_bytes)
            self._tell(reason, error.remedy)
            return f"{reason}; {error.remedy}" if error.remedy else reason, Remedy.NEW_PASSWORD, None
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a host that can have no address
            reason = f"cannot connect to {self.config.address.url}: {error or 'timed out'}"
            self._tell(reason)
            return reason, Remedy.RECONNECT, None
        finally:
            self._polls.poller.disconnected(time.monotonic_ns())
        if connection.ready_at_s is not None:
            self._lost(reason, connection)
            return reason, connection.remedy, time.monotonic() - connection.ready_at_s
        self._tell(reason)
        if login.goes_on:  # what the gateway does not go on with, for whatever reason, is not tried twice
            self._ticket = None
        return reason, connection.remedy, None

    async def _login(self) -> Login:
        """With the session that goes on, or else with a new one-time password."""
        if self._ticket is not None and self._ticket.is_good(time.time_ns() // 1_000_000):
            return Login(self._ticket.session_id, goes_on=True, overnight=self.config.overnight)
        self._ticket = None
        password = await fetch_password(self.config.http_url, self.config.credentials, self._rng)
        return Login(password.text, goes_on=False, overnight=self.config.overnight)

    def _new_connection(self) -> LongPortConnection:
        subscriptions = Subscriptions()
        subscriptions.want(self._pushed_symbols())
        return LongPortConnection(
            self._decoder,
            self.lane,
            self._pipeline,
            self,
            subscriptions=subscriptions,
            backfill=Backfill(self.lane.activity, self.lane.opened),
            tick_polls=self._tick_polls(),
            poller=self._polls.poller,
            limits=self._limits,
        )

    def _pushed_symbols(self) -> list[Security]:
        """Those to subscribe to, in order of preference."""
        return [parse_symbol(symbol) for symbol in self.config.symbols if symbol not in self.config.tick_polls]

    def _tick_polls(self) -> TickPolls:
        """Of symbols that LongPort can spell."""
        intervals_s = {parse_symbol(symbol): interval_s for symbol, interval_s in self.config.tick_polls.items()}
        spelled = {security: each for security, each in intervals_s.items() if wire_symbol(*security) is not None}
        return TickPolls(spelled, time.monotonic_ns())

    def _tell(self, reason: str, remedy: str = "") -> None:
        """There is no connection; the same reason is said once."""
        if reason not in (self._last_error, self._last_error.removesuffix(f"; {remedy}")):
            self._log.warning("no connection; trying again", reason=reason, **({"remedy": remedy} if remedy else {}))

    def _lost(self, reason: str, connection: LongPortConnection) -> None:
        """A working connection ended: what its symbols get from now on may be missed."""
        self.stats.disconnects += 1
        if connection.remedy is not Remedy.STAY_AWAY:
            self._log.warning("connection lost; reconnecting", reason=reason)
        for security in sorted(connection.subscriptions.subscribed):
            self._holes.open(security, CAUSE_RECONNECT)

    def _pull_wanted(self, symbol_ids: list[int]) -> None:
        """The account has found holes: pull these at once."""
        if self._connection is not None:
            self._connection.pull([parse_symbol(self.lane.symbols.names[id_]) for id_ in symbol_ids])

    def _calls_freed(self) -> None:
        """An answer came to a gateway of the account: there may be room for a call of ours."""
        if self._connection is not None and self._connection.ready:
            asyncio.get_running_loop().call_soon(self._connection.go_on)

    def _pushed(self) -> set[Security] | None:
        """Symbols that can be heard just now."""
        connection = self._connection
        if connection is None or not connection.ready or self._pipeline.stats.journal_full_since_ns is not None:
            return None
        return connection.backfill.filled & connection.subscriptions.subscribed

    def _pull_silent(self, securities: list[Security]) -> None:
        if self._connection is not None:
            self._connection.pull(securities)

    # What the connection tells.

    def session_ready(self, ready: Ready) -> None:
        self.stats.connects += 1
        self._ticket = ready.ticket
        self._account["connections"] = {"limit": ready.limit, "online": ready.online}
        self._polls.poller.connected(time.monotonic_ns())
        self._holes.begin(map(parse_symbol, self.config.symbols))
        self._log.info("connected", online=ready.online, limit=ready.limit, symbols=len(self.config.symbols))

    def profiled(self, profile: quote_profile_pb2.UserQuoteProfileResponse) -> None:
        self._account["quote_level"] = profile.quote_level
        quotas = {each.command: quota_of(each.limit, each.burst) for each in profile.rate_limit}
        self._limits.profile({command: quota for command, quota in quotas.items() if quota is not None})
        if self._connection is not None and profile.subscribe_limit > 0:
            self._connection.subscriptions.limit_is(profile.subscribe_limit)

    def subscribed(self, securities: tuple[Security, ...]) -> None:
        self._holes.begin(securities)
        connection = self._connection
        if connection is not None and self.ready:
            refused = len(connection.subscriptions.refused)
            self._log.info("subscribed", symbols=len(connection.subscriptions.subscribed), refused=refused)

    def refused(self, news: list[tuple[Security, str]]) -> None:
        beyond = [security for security, text in news if text == QUOTA]
        if beyond and len(beyond) != self._quota_logged:
            self._log.error(
                "symbols refused: the account may subscribe to no more; the others go on",
                symbols=len(beyond),
                first=symbol_name(*beyond[0]),
                remedy="take symbols away, or share them with another account",
            )
        self._quota_logged = len(beyond)
        for security, text in news:
            if text != QUOTA and (security, text) not in self._refused_logged:
                self._refused_logged.add((security, text))
                self._log.error("symbol refused; the others go on", symbol=symbol_name(*security), reason=text)
            self._holes.open(security, CAUSE_REFUSED)

    def pulled(self, held: Held) -> bool:
        """Take the answer to a pull into the lane; False when there is no room for it yet."""
        connection = self._connection
        assert connection is not None
        security, symbol = held.pull.security, symbol_name(*held.pull.security)
        ticks, answer = self.lane.ticks, held.answer
        first_row = ticks.rows
        decoded = self._decoder.decode_pull(answer.packet, answer.recv_ns, ticks)
        if decoded.needs_room:
            return False
        symbol_id, trades, pulled = self.lane.symbols.id_of(*security), 0, None
        for note in decoded.notes:
            match note:
                case PulledTrades():
                    pulled = note
                    trades += note.rows
                case Refused():
                    trades += note.part is not None
                    detail = f"pull of {symbol}: {note.detail}"
                    packet = answer.packet[: note.span.size_bytes].tobytes()
                    self._letters.put(FEED_TICKS, note.reason, detail, packet)
                    if note.part is not None:
                        self.lane.account.flawed.add(symbol_id)
        if pulled is not None and pulled.symbol_id == symbol_id:
            connection.backfill.filled.add(security)
            looks = self._listener.asked_for(security)
            self.lane.mark_pull(
                symbol_id,
                pulled.first_row,
                pulled.rows,
                self.config.name,
                looks=looks,
                full=trades >= PULL_TRADES,
                opened=held.opened,
            )
            self._pipeline.gathered(self.lane)
            return True
        if pulled is not None:
            ticks.rows = first_row
            detail = f"pull of {symbol}: the answer is about {self.lane.symbols.names[pulled.symbol_id]}"
            self._letters.put(FEED_TICKS, "undecodable", detail, answer.packet.tobytes())
        if (given_up := connection.backfill.failed_pull(held.pull, time.monotonic_ns())) is not None:
            self.pull_given_up(given_up, "its answers cannot be read")
        return True

    def pull_given_up(self, security: Security, why: str) -> None:
        symbol = symbol_name(*security)
        if (security, why) not in self._pulls_logged:
            self._pulls_logged.add((security, why))
            self._log.error("the last trades of a symbol cannot be had; its pushes go on", symbol=symbol, reason=why)
        self._holes.give_up(security, leaves=symbol not in self.config.symbols)

    def polled(self, target: PollTarget, polled: Polled) -> None:
        answer: FlowLines | OneRow | Refused | NeedsRoom
        feed = FEED_OF_COMMAND[target.command]
        flows, first_row = self.lane.flows, self.lane.flows.rows
        if target.command is Command.QUERY_CAPITAL_FLOW_INTRADAY:
            answer = self._replies.flow(polled.packet, polled.recv_ns, flows)
        else:
            answer = self._replies.distribution(polled.packet, polled.recv_ns)
        match answer:
            case FlowLines() | OneRow() if answer.symbol_id != self.lane.symbols.id_of(*target.security):
                flows.rows = first_row
                detail = f"asked for {spell(target.security)}, answered of {self.lane.symbols.names[answer.symbol_id]}"
                self._letters.put(feed, "undecodable", detail, polled.received)
                self._polls.nothing(target)
            case FlowLines():
                for refused in answer.refused:
                    self._letters.put(feed, refused.reason, refused.detail, polled.received)
                self._polls.lines(target, answer, flows)
                self._pipeline.gathered(self.lane)
            case OneRow():
                self._polls.row(target, answer)
                self._pipeline.append_rows(feed, [answer.row])
            case Refused():
                self._letters.put(feed, answer.reason, answer.detail, polled.received)
                self._polls.nothing(target)
            case NeedsRoom():
                self._polls.nothing(target)  # the buffer is full of lines that wait: the next poll brings them all

    def poll_refused(self, target: PollTarget, why: str) -> None:
        feed, symbol = FEED_OF_COMMAND[target.command], symbol_name(*target.security)
        self._log.error("symbol refused; the others go on", symbol=symbol, feed=feed, reason=why)

    def answered(self, command: int) -> None:
        self.stats.requests[_call(command), "ok"] += 1

    def request_failed(self, failed: Failed) -> None:
        self.stats.requests[_call(failed.command), _outcome(failed)] += 1
        if reaction_to(failed.status_code, failed.code) is Reaction.REFUSED:
            return  # what it says of each symbol is told where that is known
        self._log.warning(
            "request failed",
            call=_call(failed.command),
            gateway_says=failed.text,
            status=failed.status_code,
            code=failed.code,
        )

    def slowed_down(self, delay_s: float) -> None:
        self._log.warning(
            "too many calls, says LongPort, though we kept within the limits: does another program use the account?",
            waiting_s=round(delay_s, 1),
        )

    def dead_letter(self, letter: DeadLetter) -> None:
        self._letters.put(FEED_TICKS, letter.reason, letter.detail, letter.payload, letter.payload_bytes)
        if letter.symbol_id is not None:
            self.lane.account.flawed.add(letter.symbol_id)
        if letter.loses_ticks and self.up:
            self._fill_after_decode_error()

    def _fill_after_decode_error(self) -> None:
        """A push was lost to us, and with it the name of its symbol: pull all that are subscribed."""
        connection = self._connection
        assert connection is not None
        securities = sorted(connection.subscriptions.subscribed)
        for security in securities:
            self._holes.open(security, CAUSE_DECODE_ERROR)
        connection.want_pulls(securities)

    def unknown_command(self, command: int) -> None:
        self.stats.unknown_messages[command] += 1
        if self.stats.unknown_messages[command] == 1:
            self._log.warning("a command that we don't know; counted from here on", command=command)


def _call(command: int) -> str:
    try:
        return Command(command).name.lower()
    except ValueError:
        return str(command)


def _outcome(failed: Failed) -> str:
    if failed.timed_out:
        return "timeout"
    return "too_frequent" if failed.code == RATE_LIMITED else "refused"
