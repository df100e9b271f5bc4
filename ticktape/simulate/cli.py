"""`ticktape simulate …`: gateways that are not there, on real wires, each in a process of its own."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from codec.errors import TicktapeError
from ticktape.options import Aes, LogFormatOption, common_options
from ticktape.simulate.longport_cli import longport

simulate_app = typer.Typer(
    help="Simulated gateways that the official SDKs accept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


@simulate_app.callback()
def simulate() -> None:
    """Simulated gateways that the official SDKs accept."""


simulate_app.command("longport")(longport)


@simulate_app.command("opend")
def opend(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 11_111,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    date: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day on which the market's clock starts; today in Hong Kong."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed is the same market.")] = 1,
    symbols: Annotated[int, typer.Option(min=1, max=20_000, help="Half from HK, half from the US.")] = 200,
    rate: Annotated[
        float,
        typer.Option(min=0, help="Ticks a second of all subscribed symbols, on average; 0: as clients take them."),
    ] = 2000,
    speed: Annotated[float, typer.Option(min=0.001, max=1e6, help="Market seconds a real second.")] = 1,
    faults: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="duplicate, drop, reorder, split, mid-frame-close, bad-sha1, cached-repush, uncounted, stall, logout, "
            "kicked-out, right-lost, backend-lost, restart; each may have =STRENGTH. The last six may come once, "
            "@AT+FOR seconds after the first subscription.",
        ),
    ] = "",
    faults_at: Annotated[
        str, typer.Option(metavar="S:A,S:B", help="Single faults, so many real seconds after the first subscription.")
    ] = "",
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every (symbol, sequence, checksum) there at the end, as Parquet."),
    ] = None,
    ticks_max: Annotated[int | None, typer.Option(min=0, help="Make no more than these, go on serving.")] = None,
    ticks_per_push_max: Annotated[int, typer.Option(min=1, max=1000, help="Ticks in one push frame.")] = 50,
    quota: Annotated[int, typer.Option(min=1, help="Subscription units of the login.")] = 2000,
    rsa_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Encrypt with this private key (PKCS#1, 1024 bit).")
    ] = None,
    aes: Annotated[Aes, typer.Option(help="With --rsa-key: AES-CBC, or Futu's own ECB.")] = Aes.CBC,
    websocket_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Serve OpenD's WebSocket port there too; 0 takes a free one.")
    ] = None,
    websocket_key: Annotated[str, typer.Option(help="What clients of that port must know; empty: nothing.")] = "",
    log_format: LogFormatOption = None,
) -> None:
    """Be a Futu/moomoo OpenD with a made-up market behind it.

    The market's clock starts at 09:30 Hong Kong time whatever the hour: Hong Kong is in its morning
    session and the US overnight, so both flow. Prints `listening HOST:PORT` when ready, with
    ` websocket HOST:PORT` behind it where there is that port, and, at SIGTERM or Ctrl-C, one line of JSON
    with what it made. Ends with 2 when a port is in use or the key cannot be used.

    \b
    ticktape simulate opend --port 11111 --rate 20000
    ticktape simulate opend --port 0 --seed 7 --speed 60 --faults duplicate=0.05,split
    ticktape simulate opend --rsa-key opend.pem --aes ecb
    ticktape simulate opend --websocket-port 33333 --websocket-key secret
    ticktape simulate opend --faults logout@10+5,backend-lost=0.1
    """
    common_options(context, None, log_format)
    from ticktape.exits import Exit
    from ticktape.keys import read_rsa_key
    from ticktape.simulate.faults import Faults
    from ticktape.simulate.opend_server import Options, serve
    from ticktape.simulate.opend_wire import GatewayKey

    try:
        options = Options(
            host=host,
            port=port,
            date=f"{date:%Y-%m-%d}" if date is not None else None,
            seed=seed,
            symbols=symbols,
            rate=rate,
            speed=speed,
            ticks_max=ticks_max,
            ticks_per_push_max=ticks_per_push_max,
            quota=quota,
            faults=Faults.parse(faults, seed, faults_at),
            truth=truth,
            key=GatewayKey(read_rsa_key(rsa_key, "--rsa-key"), aes) if rsa_key else None,
            websocket_port=websocket_port,
            websocket_key=websocket_key,
        )
        serve(options)
    except TicktapeError as error:
        typer.echo(f"ticktape simulate opend: {error}", err=True)
        raise typer.Exit(Exit.CONFIGURATION) from None


@simulate_app.command("flow-list")
def flow_list(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(min=0, help="The same seed is the same market.")] = 1,
    symbols: Annotated[int, typer.Option(min=1, max=20_000, help="Half from HK, half from the US.")] = 200,
    speed: Annotated[float, typer.Option(min=0.001, max=1e6, help="Market seconds a real second.")] = 1,
    batch_max: Annotated[int, typer.Option(min=1, help="Symbols in one request; more are answered 1001.")] = 1000,
    faults: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="invalid-param, get-failed, unknown-code, http-401, http-429, http-503, redirect, html, truncated, "
            "close, slow, gzip, invalid-code, missing, bad-entries, duplicates, unknown-keys, strings, nulls; each "
            "may have =SHARE.",
        ),
    ] = "",
    log_format: LogFormatOption = None,
) -> None:
    """Be a capital-flow list over HTTP with a made-up market behind it.

    Answers http://HOST:PORT/capital-flow, POST and GET. The market's clock starts at 09:30 Hong Kong time
    whatever the hour. Prints `listening HOST:PORT` when ready and, at SIGTERM or Ctrl-C, one line of
    JSON with what it served. Ends with 2 when the port is in use.

    \b
    ticktape simulate flow-list --port 9000 --symbols 50
    ticktape simulate flow-list --port 0 --speed 60 --faults get-failed=0.2,bad-entries,strings
    """
    common_options(context, None, log_format)
    from ticktape.exits import Exit
    from ticktape.simulate.faults import Faults
    from ticktape.simulate.flow_list_faults import FLOW_LIST_FAULTS
    from ticktape.simulate.flow_list_server import Options, serve

    try:
        wrong = Faults.parse(faults, seed, catalogue=FLOW_LIST_FAULTS)
        serve(Options(host, port, seed, symbols, speed, batch_max, wrong))
    except TicktapeError as error:
        typer.echo(f"ticktape simulate flow-list: {error}", err=True)
        raise typer.Exit(Exit.CONFIGURATION) from None
