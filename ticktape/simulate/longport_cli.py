"""`ticktape simulate longport`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codec.errors import TicktapeError
from ticktape.options import LogFormatOption, common_options


def longport(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of token and WebSocket; 0 takes a free one.")] = 8080,
    tcp_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Of the raw protocol, which is off without it.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(min=0, help="The same seed is the same market.")] = 1,
    symbols: Annotated[int, typer.Option(min=1, max=20_000, help="Half from HK, half from the US.")] = 200,
    rate: Annotated[
        float,
        typer.Option(min=0, help="Trades a second of all subscribed symbols, on average; 0: as clients take them."),
    ] = 2000,
    speed: Annotated[float, typer.Option(min=0.001, max=1e6, help="Market seconds a real second.")] = 1,
    faults: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="duplicate, drop, reorder, regress, reuse, unsequenced, gzip, sign, split, coalesce, slow-reply, "
            "rate-limited, server-error, disconnect, mid-packet-close, close-packet, ws-close, expire, stall, away; "
            "each may have =STRENGTH. The last two may come once, @AT+FOR seconds after the first subscription.",
        ),
    ] = "",
    faults_at: Annotated[
        str, typer.Option(metavar="S:A,S:B", help="Single faults, so many real seconds after the first subscription.")
    ] = "",
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every trade there at the end, as Parquet.")
    ] = None,
    ticks_max: Annotated[int | None, typer.Option(min=0, help="Make no more than these, go on serving.")] = None,
    ticks_per_push_max: Annotated[int, typer.Option(min=1, max=1000, help="Trades in one push.")] = 10,
    app_key: Annotated[str, typer.Option(help="Of the account.")] = "simulated-key",
    app_secret: Annotated[str, typer.Option(help="Signs the token call.")] = "simulated-secret",
    access_token: Annotated[str, typer.Option(help="Of the account.")] = "simulated-token",
    session_seconds: Annotated[float, typer.Option(min=0.1, help="A session lasts so long.")] = 86_400,
    connections: Annotated[int, typer.Option(min=1, help="Logins at the same time.")] = 10,
    one_connection: Annotated[
        bool, typer.Option("--one-connection", help="A login closes the older ones with ConnectDuplicate.")
    ] = False,
    rate_limits: Annotated[
        str, typer.Option(metavar="C:LIMIT/BURST,…", help="Of single commands, told in the profile and kept to.")
    ] = "",
    log_format: LogFormatOption = None,
) -> None:
    """Be LongPort's quote gateway with a made-up market behind it.

    Whoever has the account's three keys gets a one-time password from GET /v1/socket/token, and with it a
    session at ws://HOST:PORT (any path) or, over plain TCP, at --tcp-port. 10 calls a second and 5 at once are
    answered, 500 symbols subscribed. The market is that of `simulate opend`.

    Prints `listening HOST:PORT`, with `--tcp-port` also ` tcp HOST:PORT`, when ready and, at SIGTERM or
    Ctrl-C, one line of JSON with what it made. Ends with 2 when a port is in use.

    \b
    ticktape simulate longport --port 8080 --tcp-port 2020
    ticktape simulate longport --faults duplicate,regress,gzip=0.2,mid-packet-close=0.1
    ticktape simulate longport --session-seconds 20 --faults away@10+5
    """
    common_options(context, None, log_format)
    from ticktape.exits import Exit
    from ticktape.simulate.faults import Faults
    from ticktape.simulate.longport_account import Keys, parse_rate_limits
    from ticktape.simulate.longport_faults import LONGPORT_FAULTS
    from ticktape.simulate.longport_server import Options, serve

    try:
        options = Options(
            host=host,
            port=port,
            tcp_port=tcp_port,
            seed=seed,
            symbols=symbols,
            rate=rate,
            speed=speed,
            ticks_max=ticks_max,
            ticks_per_push_max=ticks_per_push_max,
            keys=Keys(app_key, app_secret, access_token),
            session_s=session_seconds,
            connections_max=connections,
            one_connection=one_connection,
            rate_limits=parse_rate_limits(rate_limits),
            faults=Faults.parse(faults, seed, faults_at, LONGPORT_FAULTS),
            truth=truth,
        )
        serve(options)
    except TicktapeError as error:
        typer.echo(f"ticktape simulate longport: {error}", err=True)
        raise typer.Exit(Exit.CONFIGURATION) from None
