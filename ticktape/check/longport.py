"""`ticktape check` of a gateway of kind `longport`: the keys, the login, what the account may subscribe and ask."""

from __future__ import annotations

from collections.abc import Iterator

from codec.longport.wire_symbols import wire_symbol
from codec.markets import parse_symbol
from ingest.longport.address import Address
from ingest.longport.limits import CALLS, IN_FLIGHT_MAX
from ingest.longport.poll_plan import COMMAND_OF_FEED, poll_wishes, possible_periods
from ingest.longport.probe import ProbeReport, QuotesUnreachable, probe_longport
from ingest.longport.subscriptions import SYMBOLS_MAX, UNKNOWN_MARKET
from ingest.longport.token import TokenUnavailable
from ticktape.check.finding import PROBE_TIMEOUT_S, Finding
from ticktape.exits import Exit
from ticktape.gateways.longport import credentials
from ticktape.gateways.wanted import poll_configs, tick_symbols
from ticktape.settings import BadSettings, LongPortSettings, Settings


async def check_longport(settings: Settings, gateway: LongPortSettings) -> list[Finding]:
    """Try one account."""
    what = f"gateway {gateway.name}"
    try:
        keys = credentials(gateway)
        report = await probe_longport(Address(gateway.url), gateway.http_url, keys, PROBE_TIMEOUT_S)
    except BadSettings as error:
        return [Finding(what, line, failed=Exit.FAILED) for line in str(error).splitlines()]
    except TokenUnavailable as error:
        remedy = error.remedy or f"correct http_url of [[gateway]] {gateway.name}, or look at this machine's network"
        return [Finding(what, str(error), remedy, Exit.FAILED)]
    except QuotesUnreachable as error:
        remedy = f"correct url of [[gateway]] {gateway.name}, or look at this machine's network"
        return [Finding(what, str(error), remedy, Exit.FAILED)]
    return [*_account(settings, gateway, report), *_polls(settings, gateway)]


def _account(settings: Settings, gateway: LongPortSettings, report: ProbeReport) -> Iterator[Finding]:
    what = f"gateway {gateway.name}"
    wanted = tick_symbols(settings, gateway)
    unknown = sum(wire_symbol(*parse_symbol(symbol)) is None for symbol in wanted)
    symbols_max = min(report.symbols_max or SYMBOLS_MAX, SYMBOLS_MAX)
    answer = (
        f"LongPort lets us in and answers in {report.round_trip_s * 1000:.0f} ms; {report.online} of {report.limit} "
        f"connections in use, quote level {report.quote_level or 'not told'}"
    )
    calls = f"{CALLS.requests} calls a second, {IN_FLIGHT_MAX} at once"
    beyond = len(wanted) - unknown - symbols_max
    if beyond > 0:
        detail = (
            f"{answer}; {len(wanted)} symbols are wanted, the account may subscribe {symbols_max}: "
            f"the last {beyond} of the file are refused"
        )
        yield Finding(what, detail, "take symbols away, or share them with another account", Exit.FAILED)
    else:
        yield Finding(what, f"{answer}; {len(wanted)} of {symbols_max} symbols wanted, {calls}")
    if unknown:
        yield Finding(what, f"{unknown} of {len(wanted)} symbols are refused: {UNKNOWN_MARKET}", failed=Exit.FAILED)


def _polls(settings: Settings, gateway: LongPortSettings) -> Iterator[Finding]:
    """How often the account's limits let us ask; less often than configured is no failure."""
    wishes = poll_wishes(poll_configs(settings, gateway, COMMAND_OF_FEED))
    for possible in possible_periods(wishes, by_calendar=settings.schedule.calendar == "auto"):
        yield Finding(f"polls of {gateway.name}", str(possible))
