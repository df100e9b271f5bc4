"""`ticktape status`: what the running daemon says of itself."""

from __future__ import annotations

import datetime
import urllib.error
import urllib.request
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codec.errors import TicktapeError
from ticktape.settings import Settings
from ticktape.settings.fields import Address
from ticktape.settings.units import format_bytes
from ticktape.wiring import revealed

_ANSWER_TIMEOUT_S = 5.0
_REFUSED_SHOWN_MAX = 10


class NoDaemon(TicktapeError):
    """Nobody answers where the configuration says that a daemon listens."""


def run_status(settings: Settings, zone: ZoneInfo) -> None:
    """Show the status of each daemon of this configuration that runs.

    Raises
    ------
    NoDaemon
    """
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    addresses = (settings.http.listen, settings.http.sink_listen)
    found = [status for address in addresses if (status := fetch_status(settings, address)) is not None]
    if not found:
        asked = f"{addresses[0]} or {addresses[1]}"
        raise NoDaemon(f"no daemon answers at {asked} ([http] listen, sink_listen); start one: ticktape up")
    for status in found:
        _show(console, status, zone)


def fetch_status(settings: Settings, address: Address) -> dict[str, Any] | None:
    """What the daemon at `address` says; None where there is none.

    Raises
    ------
    NoDaemon
        Something answers, but not as a daemon of ours, or not to us.
    """
    request = urllib.request.Request(f"http://{address}/status")
    if token := revealed(settings.http.token):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S) as response:
            status = orjson.loads(response.read())
    except urllib.error.HTTPError as error:
        raise NoDaemon(f"{address} answers {error.code}: {error.read(200).decode(errors='replace').strip()}") from error
    except OSError:
        return None
    except ValueError as error:
        raise NoDaemon(f"what answers at {address} is no ticktape daemon") from error
    if not isinstance(status, dict) or "hops" not in status:
        raise NoDaemon(f"what answers at {address} is no ticktape daemon")
    return status


def _show(console: Console, status: dict[str, Any], zone: ZoneInfo) -> None:
    started = datetime.datetime.fromisoformat(status["started_at"]).astimezone(zone)
    ready = Text("ready", style="green") if status["ready"] else Text("not ready", style="bold red")
    worker = f", worker {status['worker']}" if status["worker"] else ""
    since = f"since {started:%Y-%m-%d %H:%M:%S %Z}"
    console.print(f"ticktape {status['role']} {status['version']}, process {status['pid']}{worker}, {since}:", ready)
    console.print(_hops(status["hops"]))
    if status["gateways"]:
        console.print(_gateways(status["gateways"]))
    for name, gateway in status["gateways"].items():
        for feed, polls in gateway["polls"].items():
            console.print(f"{name} polls {feed}: {_polls(polls)}", style="dim", highlight=False)
        _show_refused(console, name, gateway["refused"])


def _hops(hops: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("hop", "state", "rows", "waiting", "p50", "p99", ""):
        table.add_column(title, justify="right" if title in ("rows", "waiting", "p50", "p99") else "left")
    for name, hop in hops.items():
        latency = hop.get("latency_s", {})
        lag = hop.get("lag_rows")
        waiting = max(lag.values()) if isinstance(lag, dict) else lag
        table.add_row(
            name,
            Text(hop["trouble"], style="red") if hop["trouble"] else Text("ok", style="green"),
            _number(_rows(hop)),
            _number(waiting),
            seconds_text(latency.get("p50")),
            seconds_text(latency.get("p99")),
            Text(_remark(hop), style="dim"),
        )
    return table


def _rows(hop: dict[str, Any]) -> int | None:
    rows = hop.get("rows")
    return sum(rows.values()) if isinstance(rows, dict) else rows


def _remark(hop: dict[str, Any]) -> str:
    if "bytes" in hop:
        return f"{hop['path']}, {format_bytes(hop['bytes'])} of {format_bytes(hop['bytes_max'])}"
    if "repeats" in hop:
        received, repeats = (sum(hop[counted].values()) for counted in ("received", "repeats"))
        return f"{received:,} received, {repeats:,} repeats dropped"
    return str(hop.get("clickhouse") or hop.get("bootstrap_servers") or "")


def _gateways(gateways: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("gateway", "state", "address", "subscribed", "polled", "refused", "open gaps", "connects"):
        table.add_column(title, justify="left" if title in ("gateway", "state", "address") else "right")
    for name, gateway in gateways.items():
        subscribes = "subscribed" in gateway
        doing = "subscribing" if subscribes else "asking"
        state = Text("streaming", style="green") if gateway["ready"] else Text(doing, style="yellow")
        if not gateway["up"] or gateway["trouble"]:
            state = Text(str(gateway["trouble"] if gateway["up"] else gateway["last_error"]), style="red")
        table.add_row(
            name,
            state,
            f"{gateway['source']} {gateway['address']}",
            f"{gateway['subscribed']:,} of {gateway['symbols']:,}" if subscribes else "",
            f"{gateway['polled']:,}",
            f"{len(gateway['refused']):,}",
            _number(gateway.get("open_gaps")),
            _number(gateway.get("connects")),
        )
    return table


def _polls(polls: dict[str, float]) -> str:
    parts = []
    if polls["targets"]:
        slower = f", asked for every {polls['interval_s']:g} s" if polls["period_s"] > polls["interval_s"] else ""
        parts.append(f"{polls['targets']:,} every {polls['period_s']:.0f} s{slower}")
    if polls["at_close"]:
        parts.append(f"{polls['at_close']:,} after each close")
    return "; ".join(parts)


def _show_refused(console: Console, gateway: str, refused: dict[str, str]) -> None:
    for symbol, reason in list(refused.items())[:_REFUSED_SHOWN_MAX]:
        console.print(f"{gateway} refused {symbol}: {reason}", style="red", markup=False)
    if len(refused) > _REFUSED_SHOWN_MAX:
        console.print(f"{gateway} refused {len(refused) - _REFUSED_SHOWN_MAX} more: see /status", style="red")


def _number(number: int | None) -> str:
    return f"{number:,}" if number is not None else ""


def seconds_text(duration_s: float | None) -> str:
    """`31 ms`, `1.2 s`."""
    if duration_s is None:
        return ""
    return f"{duration_s * 1000:.0f} ms" if duration_s < 1 else f"{duration_s:.1f} s"
