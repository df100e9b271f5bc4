"""The command line: `ticktape --help`.

Rule 1: nothing heavy is imported before a command runs, so that help is there at once.
Rule 2: a command reads its settings and calls one function; errors reach `main`, which alone turns
them into one clear line and an exit code.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Annotated

import typer

from codec.errors import TicktapeError
from ticktape.options import (
    AuditFormat,
    Common,
    ConfigOption,
    GapState,
    LogFormatOption,
    QueryFormat,
    TimeZoneOption,
    common_options,
)
from ticktape.simulate.cli import simulate_app

app = typer.Typer(
    name="ticktape",
    help="Market-data ticks to Kafka and ClickHouse: each once, in order, with proof of what is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
schema_app = typer.Typer(
    help="Tables, views, topics and Arrow schemas: as they should be, and as they are.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(schema_app, name="schema")
app.add_typer(simulate_app, name="simulate")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ticktape {version('ticktape')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
    tz: TimeZoneOption = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Keep what stands before a command's name for the command."""
    context.obj = Common(config, log_format, tz)


@app.command()
def demo(
    context: typer.Context,
    seconds: Annotated[float | None, typer.Option(min=1, help="Stop after so long; else at Ctrl-C.")] = None,
    rate: Annotated[int, typer.Option(min=1, help="Ticks a second that the simulated market makes.")] = 20_000,
    symbols: Annotated[int, typer.Option(min=1, max=500, help="How many symbols it trades.")] = 100,
    log_format: LogFormatOption = None,
) -> None:
    """Send a simulated market through the whole pipeline.

    At the end, what is stored is compared with what the market made. Nothing else needs to be
    installed or running: real TCP, the journal, the embedded ClickHouse, all below var/demo.

    \b
    ticktape demo
    ticktape demo --seconds 30 --rate 50000 --symbols 200
    """
    common_options(context, None, log_format)
    from ticktape.demo import DemoOptions, run_demo

    raise typer.Exit(run_demo(DemoOptions(rate, symbols, seconds)))


@app.command()
def up(context: typer.Context, config: ConfigOption = None, log_format: LogFormatOption = None) -> None:
    """Run everything on this machine.

    Gateways, journal, relay (with [kafka]) and writer. Makes missing tables and topics. SIGTERM or
    Ctrl-C drains and ends within 10 s. Changed subscriptions, in the configuration or a symbols_file,
    take effect by themselves, or at once on SIGHUP.

    \b
    ticktape up
    ticktape up -c desk.toml --log-format json
    """
    common = common_options(context, config, log_format, is_daemon=True)
    from ticktape.daemon import Role, run_daemon

    run_daemon(common.source(), Role.UP)


@app.command()
def ingest(context: typer.Context, config: ConfigOption = None, log_format: LogFormatOption = None) -> None:
    """Run the gateways, the journal and the relay.

    Without [kafka] there is no relay: `ticktape sink` then reads the journal. Subscriptions follow
    their files as with `up`.

    \b
    ticktape ingest -c /etc/ticktape/ticktape.toml
    """
    common = common_options(context, config, log_format, is_daemon=True)
    from ticktape.daemon import Role, run_daemon

    run_daemon(common.source(), Role.INGEST)


@app.command()
def sink(context: typer.Context, config: ConfigOption = None, log_format: LogFormatOption = None) -> None:
    """Run the writer: from Kafka, or the journal, to ClickHouse.

    Ends with 3, and the statement that mends it, when tables or topics do not fit.

    \b
    ticktape sink -c /etc/ticktape/ticktape.toml
    """
    common = common_options(context, config, log_format, is_daemon=True)
    from ticktape.daemon import Role, run_daemon

    run_daemon(common.source(), Role.SINK)


@app.command()
def query(
    context: typer.Context,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="A statement that reads; '-' reads it from standard input.")
    ],
    output: Annotated[
        QueryFormat, typer.Option("--format", "-f", help="How the answer is written.")
    ] = QueryFormat.TABLE,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
    tz: TimeZoneOption = None,
) -> None:
    """Ask ClickHouse.

    Where a daemon holds the embedded store, the question goes through it. Times are UTC; --tz
    changes how the table shows them, never csv, json, arrow or parquet.

    \b
    ticktape query 'SELECT symbol, count() FROM ticks GROUP BY symbol'
    ticktape query --tz Asia/Hong_Kong 'SELECT * FROM ticks ORDER BY ts_recv DESC LIMIT 5'
    ticktape query --format parquet 'SELECT * FROM ticks' > ticks.parquet
    """
    common = common_options(context, config, log_format, tz)
    from ticktape.query import run_query

    zone = common.zone()
    run_query(common.settings(), sys.stdin.read() if sql == "-" else sql, output, zone)


@app.command()
def gaps(
    context: typer.Context,
    symbol: Annotated[str | None, typer.Option(metavar="SYMBOL", help="Only holes of this one.")] = None,
    state: Annotated[GapState | None, typer.Option(help="Only holes that are so.")] = None,
    since: Annotated[
        datetime.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"],
            metavar="TIME",
            help="Only holes that opened since, in the zone of --tz.",
        ),
    ] = None,
    output: Annotated[
        QueryFormat, typer.Option("--format", "-f", help="How the ledger is written.")
    ] = QueryFormat.TABLE,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
    tz: TimeZoneOption = None,
) -> None:
    """Show the loss ledger.

    A row a hole, the newest last: what may be missing of a symbol, between which ticks, why, and how it
    ended. Other formats than the table have every column, and times in UTC.

    \b
    ticktape gaps --state lost
    ticktape gaps --symbol HK.00700 --since 2026-11-20 --tz Asia/Hong_Kong
    ticktape gaps --format csv > gaps.csv
    """
    common = common_options(context, config, log_format, tz)
    from ticktape.gaps import run_gaps

    zone = common.zone()
    run_gaps(common.settings(), symbol, state, since, output, zone)


@app.command()
def audit(
    context: typer.Context,
    date: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Trading day; else the newest one that has ticks."),
    ] = None,
    output: Annotated[AuditFormat, typer.Option("--format", "-f", help="How it is told.")] = AuditFormat.TABLE,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Follow a day's ticks hop by hop.

    Compares, for each symbol, what was received, journaled and sent to Kafka with what ClickHouse
    holds, with Hong Kong's counters and with the loss ledger. Ends with 1 when anything is
    unexplained, and says of each what it means and what to do. Run it where ingest runs: the
    counts of the first hops are beside its journal. Its verdicts go to the table coverage.

    \b
    ticktape audit
    ticktape audit --date 2026-11-20 --format json
    """
    common = common_options(context, config, log_format)
    from ticktape.audit.run import run_audit

    raise typer.Exit(run_audit(common.settings(), date.date() if date else None, output))


@app.command()
def check(
    context: typer.Context,
    observe: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Instead, watch ticks of a few symbols for so long, as in 10m."),
    ] = None,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Try every endpoint, right and table.

    Says what is wrong and what to do about it. Ends with 1 on any failure, with 3 when tables or
    topics do not fit. With --observe it tests what we believe of OpenD's ticks on your own OpenD:
    its counters, sequences, times and delays. Ends with 1 when something does not hold.

    \b
    ticktape check
    ticktape check --observe 10m
    """
    common = common_options(context, config, log_format)
    if observe is not None:
        from ticktape.observe import run_observe
        from ticktape.settings.units import parse_duration

        try:
            duration_s = parse_duration(observe).total_seconds()
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--observe") from None
        raise typer.Exit(run_observe(common.settings(), duration_s))
    from ticktape.check.run import run_check

    raise typer.Exit(run_check(common.settings()))


@app.command()
def status(
    context: typer.Context,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
    tz: TimeZoneOption = None,
) -> None:
    """Show what the running daemon says of itself.

    \b
    ticktape status
    """
    common = common_options(context, config, log_format, tz)
    from ticktape.status import run_status

    run_status(common.settings(), common.zone())


@app.command()
def init(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("ticktape.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented configuration that runs as it is.

    \b
    ticktape init
    ticktape init desk.toml
    """
    common_options(context)
    from ticktape.init import write_configuration

    write_configuration(file, force=force)
    typer.echo(f"{file} written. Name your OpenD and symbols in it, then: ticktape check, ticktape up")


@schema_app.command("show")
def schema_show(context: typer.Context, config: ConfigOption = None) -> None:
    """Print DDL, topics and Arrow schemas.

    \b
    ticktape schema show
    """
    common = common_options(context, config)
    from ticktape.schema import show_schema

    show_schema(common.settings())


@schema_app.command("apply")
def schema_apply(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements, change nothing.")] = False,
    config: ConfigOption = None,
) -> None:
    """Make what is missing; change no stored row.

    What only the owner of the data may change is told, with the statement.

    \b
    ticktape schema apply --dry-run
    ticktape schema apply
    """
    common = common_options(context, config)
    from ticktape.schema import apply_schema

    apply_schema(common.settings(), dry_run=dry_run)


@schema_app.command("diff")
def schema_diff(context: typer.Context, config: ConfigOption = None) -> None:
    """Compare with what is there.

    Ends with 3, and the statements that mend it, when something does not fit.

    \b
    ticktape schema diff
    """
    common = common_options(context, config)
    from ticktape.schema import diff_schema

    raise typer.Exit(diff_schema(common.settings()))


def main() -> None:
    """Run the command line; every foreseen error is one message on standard error and a code."""
    try:
        app()
    except TicktapeError as error:
        from ticktape.exits import exit_of

        typer.echo(f"ticktape: {error}", err=True)
        sys.exit(exit_of(error))


if __name__ == "__main__":
    main()
