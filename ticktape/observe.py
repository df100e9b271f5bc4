"""`ticktape check --observe`: do the user's own OpenDs send ticks as we believe they do?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from codec.markets import HK, US, parse_symbol
from codec.tables import TICKS
from ingest.opend.observation import Observed
from ingest.opend.observe import Visit, observe_gateway
from ingest.opend.probe import GatewayUnreachable
from ingest.opend.requests import Security
from ingest.opend.session import SILENCE_NS_MAX
from ticktape.exits import Exit
from ticktape.keys import wire_mode
from ticktape.settings import OpenDSettings, Settings

_SYMBOLS_A_MARKET = 3
_CLOCKS_DIFFER_S = 60.0
_SILENCE_S_MAX = SILENCE_NS_MAX / 1e9


@dataclass(frozen=True, slots=True)
class Verdict:
    """One assumption. `holds` is None where nothing was seen that could tell; `means` is for one that fails."""

    assumption: str
    seen: str
    holds: bool | None
    means: str = ""


def run_observe(settings: Settings, duration_s: float) -> Exit:
    """Watch each OpenD of the configuration and print what held; FAILED when something did not."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    failed = False
    for gateway in settings.gateway:
        if not isinstance(gateway, OpenDSettings):
            continue
        try:
            visit = _watch(settings, gateway, duration_s)
        except GatewayUnreachable as error:
            console.print(f"gateway {gateway.name}: {error}", style="bold red", markup=False, soft_wrap=True)
            failed = True
            continue
        verdicts = list(verdicts_on(visit))
        _show(console, gateway.name, visit, verdicts, duration_s)
        failed = failed or visit.observed.ticks == 0 or any(verdict.holds is False for verdict in verdicts)
    return Exit.FAILED if failed else Exit.DONE


def _watch(settings: Settings, gateway: OpenDSettings, duration_s: float) -> Visit:
    port = gateway.port
    assert port is not None, "settings let no other URL pass"
    with (
        Progress(
            TextColumn("watching {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[ticks]:,} ticks"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ) as progress,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        task = progress.add_task(gateway.name, total=duration_s, ticks=0)
        return runner.run(
            observe_gateway(
                gateway.host,
                port,
                _a_few(settings, gateway),
                source=gateway.source,
                duration_s=duration_s,
                quota_reserve=gateway.subscription_quota_reserve,
                tell=lambda passed_s, ticks: progress.update(task, completed=passed_s, ticks=ticks),
                wire=wire_mode(gateway),
            )
        )


def _a_few(settings: Settings, gateway: OpenDSettings) -> list[Security]:
    """The first symbols of either market, in file order."""
    securities = [
        parse_symbol(symbol)
        for subscription in settings.subscription
        if subscription.gateway == gateway.name and TICKS.name in subscription.feeds
        for symbol in subscription.symbols
    ]
    of_market = ([each for each in dict.fromkeys(securities) if each[0] == market] for market in (HK, US))
    return [security for few in of_market for security in few[:_SYMBOLS_A_MARKET]]


def verdicts_on(visit: Visit) -> Iterator[Verdict]:
    """Each assumption that the decoder, the window or the ledger rests on."""
    seen = visit.observed
    yield Verdict(
        "Hong Kong's counter grows by 1 a tick",
        f"{seen.counted_ticks:,} ticks, {seen.skipped:,} steps without one" if seen.counted_ticks else "no tick",
        seen.skipped == 0 if seen.counted_ticks else None,
        "steps of the counter prove no loss here: the ledger's sequence_step holes and counts are suspicions, and"
        " ticktape audit will tell of rows that never were",
    )
    yield Verdict(
        "a sequence's high word is the tick's own second",
        f"{seen.seconds_differ:,} of {seen.ticks:,} differ",
        seen.seconds_differ == 0 if seen.ticks else None,
        "nothing is lost by it, but sequences do not sort by time: from_sequence and to_sequence of a hole may not"
        " bound the ticks in it",
    )
    yield from _repeat_verdicts(seen)
    yield Verdict(
        "text and number of a tick's time agree",
        f"{seen.times_differ:,} of {seen.ticks:,} differ by over 1 s",
        seen.times_differ == 0 if seen.ticks else None,
        "the number wins; if it is the wrong one, ts_event and trade_date are wrong with it",
    )
    yield Verdict(
        "a link that lives is never silent for long",
        f"KeepAlive every {visit.keep_alive_s:g} s is asked for, the longest silence was {visit.silence_s:.1f} s",
        0 < visit.keep_alive_s < _SILENCE_S_MAX and visit.silence_s < _SILENCE_S_MAX,
        f"we take a link for dead after {_SILENCE_S_MAX:.0f} s: such silences are reconnects, each a hole to fill",
    )
    if seen.latency_s is not None:
        median_s, late_s = seen.latency_s
        differ = abs(median_s) > _CLOCKS_DIFFER_S
        clocks = "; the two clocks differ, so this is no latency" if differ else ""
        yield Verdict(
            "from OpenD's receive time to our socket",
            f"median {median_s * 1000:,.0f} ms, 99 % within {late_s * 1000:,.0f} ms{clocks}",
            None if differ else True,
        )


def _repeat_verdicts(seen: Observed) -> Iterator[Verdict]:
    yield Verdict(
        "a symbol's sequence names one tick",
        f"{seen.repeats:,} came again, {seen.conflicts:,} of them with another content",
        seen.conflicts == 0 if seen.ticks else None,
        "such ticks are kept under the next ordinal: a real repeat whose content was corrected is then there twice",
    )
    yield Verdict(
        "New York's low word is small, and tells of no hole",
        f"{seen.us_ticks:,} ticks, greatest low word {seen.us_word_max:,}, {seen.us_backwards:,} after a greater one"
        if seen.us_ticks
        else "no tick",
        seen.us_word_max < 1 << 31 if seen.us_ticks else None,
        "sequences are made in another way than we know: compare ticks with the gateway's own display",
    )


def _show(console: Console, name: str, visit: Visit, verdicts: list[Verdict], duration_s: float) -> None:
    symbols = ", ".join(visit.symbols) or "no symbol"
    console.print(f"gateway {name}, {duration_s:g} s, {visit.observed.ticks:,} ticks of {symbols}", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    marks = {
        True: Text("holds", style="green"),
        False: Text("FAILS", style="bold red"),
        None: Text("not seen", style="yellow"),
    }
    for verdict in verdicts:
        text = Text(verdict.seen)
        if verdict.holds is False:
            text.append(f"\n→ {verdict.means}", style="yellow")
        table.add_row(marks[verdict.holds], Text(verdict.assumption), text)
    console.print(table)
    if visit.left_out:
        console.print(f"not watched, for want of quota or right: {', '.join(visit.left_out)}", style="yellow")
    if visit.still_held and visit.symbols:
        console.print("OpenD keeps these subscriptions until their minute is over.", style="dim")
    if visit.observed.ticks == 0:
        console.print("no tick came: watch while the market trades", style="bold red")
