"""The commands as a person types them: what they print, and the code that they end with."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import structlog

from tests.support.keys import rsa_pem
from ticktape.cli import main
from ticktape.init import CONFIGURATION
from ticktape.settings import load_settings


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class Run(Protocol):
    """Runs `ticktape` with these arguments."""

    def __call__(self, *arguments: str) -> Done: ...


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, apart from whatever this machine has configured."""
    for name in os.environ:
        if name.startswith("TICKTAPE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs commands in this process, which spares a second of imports each."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level

    def run_here(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["ticktape", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return Done(int(ended.value.code or 0), output.out, output.err)

    yield run_here
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def run_apart(folder: Path) -> Run:
    """Runs commands in processes of their own: the embedded ClickHouse knows one folder a process."""

    def run_there(*arguments: str) -> Done:
        command = [sys.executable, "-m", "ticktape", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run_there


def test_every_command_explains_itself_with_an_example(run: Run) -> None:
    top = run("--help")
    assert top.code == 0
    for command in ("demo", "up", "ingest", "sink", "query", "gaps", "check", "status", "init"):
        assert f"  {command} " in top.stdout
        assert f"\n  ticktape {command}" in run(command, "--help").stdout
    for command in ("show", "apply", "diff"):
        assert f"\n  ticktape schema {command}" in run("schema", command, "--help").stdout
    assert "opend" in run("simulate", "--help").stdout


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, ticktape.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "numba", "pyarrow", "pydantic", "aiohttp", "aiokafka", "structlog", "clickhouse_connect"}
    assert heavy & set(done.stdout.split()) == set()


def test_init_writes_a_configuration_that_is_valid_as_it_is(folder: Path, run: Run) -> None:
    done = run("init")
    assert done.code == 0
    assert "ticktape.toml written" in done.stdout
    file = folder / "ticktape.toml"
    settings = load_settings(file, {})
    assert [gateway.name for gateway in settings.gateway] == ["opend-1"]
    again = run("init")
    assert (again.code, again.stderr) == (
        2,
        "ticktape: ticktape.toml exists already; overwrite it with --force\n",
    )
    file.write_text("")
    assert run("init", "--force").code == 0
    assert file.read_text() == CONFIGURATION


def test_every_commented_key_of_init_is_valid_too(folder: Path, run: Run) -> None:
    """Uncommented, each commented key must be one that the settings know, with a value that they take."""
    lines = []
    for line in CONFIGURATION.splitlines():
        key = line.removeprefix("# ").split(" = ")[0]
        uncommented = line.startswith("# ") and (key.replace("_", "").isalpha() or line.startswith("# ["))
        # A password and the like would need files that are not there.
        with_files = ("security_protocol", "token_file", "app_key_file", "app_secret_file", "access_token_file")
        lines.append(line[2:] if uncommented and key not in with_files else line)
    file = folder / "ticktape.toml"
    file.write_text("\n".join(lines))
    settings = load_settings(file, {})
    assert settings.kafka is not None
    assert settings.http.probes_listen is not None


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["up"], 2, "ticktape: no configuration: ./ticktape.toml does not exist; write one with `ticktape init`"),
        (["up", "-c", "none.toml"], 2, "ticktape: no configuration file none.toml (named by -c)"),
        (["-c", "none.toml", "query", "SELECT 1"], 2, "ticktape: no configuration file none.toml (named by -c)"),
        (["query", "SELECT 1", "--tz", "Mars"], 2, "'Mars' is no time zone; write it as in Asia/Hong_Kong"),
        (["query", "--format", "xml", "SELECT 1"], 2, "Invalid value for '--format'"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
    ],
)
def test_wrong_usage(folder: Path, run: Run, arguments: list[str], code: int, expected: str) -> None:
    done = run(*arguments)
    assert done.code == code
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["up", "ingest", "sink", "check", "status", "schema show"])
def test_a_wrong_key_ends_every_command_with_2_and_one_line(folder: Path, run: Run, command: str) -> None:
    (folder / "ticktape.toml").write_text('[kafka]\nbootstrap_server = "127.0.0.1:1"\nbootstrap_servers = "a"\n')
    done = run(*command.split())
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        "ticktape: ticktape.toml:2: [kafka] bootstrap_server is no known key; did you mean bootstrap_servers?\n"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ('kind = "opend"\nsource = "futu"', 'kind = "longport"'),
            "gateway opend-1: app_key is missing: set TICKTAPE_GATEWAY__OPEND_1__APP_KEY or app_key_file",
        ),
        (('database = "ticktape"', 'cluster = "c"'), "[clickhouse] cluster is not in this version yet"),
    ],
)
def test_what_this_version_does_not_run_is_said_not_ignored(
    folder: Path, run: Run, change: tuple[str, str], expected: str
) -> None:
    text = "\n".join(line.partition(" #")[0].rstrip() for line in CONFIGURATION.splitlines())
    assert change[0] in text
    text = text.replace(*change)
    if "longport" in change[1]:
        text = text.replace("tcp://127.0.0.1:11111", "wss://127.0.0.1/v2")
    (folder / "ticktape.toml").write_text(text)
    done = run("up")
    assert done.code == 2
    assert expected in done.stderr


def test_a_port_in_use_ends_with_2_and_names_the_key(folder: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (folder / "ticktape.toml").write_text(CONFIGURATION.replace("127.0.0.1:8808", address))
        done = run("up")
    assert done.code == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"ticktape: [http] listen = {address}: another process listens there")
    assert not (folder / "var").exists()


def test_check_says_what_fails_and_what_to_do(folder: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "ticktape.toml").write_text(CONFIGURATION.replace(":11111", f":{port}").replace("8808", "0"))
    done = run("check")
    assert done.code == 1
    assert "FAIL  gateway opend-1" in done.stdout
    assert "→ start OpenD, or correct url of [[gateway]] opend-1" in done.stdout
    assert "ok    journal" in done.stdout
    assert not (folder / "var").exists(), "check makes nothing"


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        (None, "gateway opend-1: rsa_key_file cannot be read: {folder}/opend.pem: No such file or directory"),
        (b"nonsense", "gateway opend-1: rsa_key_file cannot be used: {folder}/opend.pem: it is no private key"),
        (rsa_pem(2048), "gateway opend-1: rsa_key_file cannot be used: {folder}/opend.pem: the key has 2048 bit"),
    ],
    ids=["missing", "nonsense", "2048 bit"],
)
def test_a_key_that_cannot_be_used_is_one_line_before_anything_starts(
    folder: Path, run: Run, pem: bytes | None, says: str
) -> None:
    text = CONFIGURATION.replace('# rsa_key_file = "opend.pem"', 'rsa_key_file = "opend.pem"')
    (folder / "ticktape.toml").write_text(text)
    if pem is not None:
        (folder / "opend.pem").write_bytes(pem)
    for command in ("up", "ingest"):
        done = run(command)
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr.startswith("ticktape: " + says.format(folder=folder))
        assert done.stderr.count("\n") == 1
        assert not (folder / "var").exists()
    done = run("check")
    assert done.code == 1
    assert "rsa_key_file cannot be" in done.stdout


def test_the_demo_empties_no_folder_that_it_did_not_make(folder: Path, run: Run) -> None:
    precious = folder / "var/demo/precious"
    precious.mkdir(parents=True)
    done = run("demo", "--seconds", "1")
    assert done.code == 2
    assert "was not made by a demo" in done.stderr
    assert precious.exists()


def test_status_and_query_without_a_daemon_or_data(folder: Path, run: Run) -> None:
    (folder / "ticktape.toml").write_text('[http]\nlisten = "127.0.0.1:1"\nsink_listen = "127.0.0.1:1"\n')
    asked = run("status")
    assert asked.code == 1
    assert "no daemon answers at 127.0.0.1:1" in asked.stderr
    asked = run("query", "SELECT 1")
    assert asked.code == 1
    assert "nothing is stored yet" in asked.stderr
    assert not (folder / "var").exists()


def test_schema_apply_makes_what_its_dry_run_prints(folder: Path, run: Run, run_apart: Run) -> None:
    (folder / "ticktape.toml").write_text("")
    shown = run("schema", "show").stdout
    assert "CREATE TABLE IF NOT EXISTS `ticktape`.`ticks`" in shown
    assert "-- ticks.v1" in shown
    assert not (folder / "var").exists()
    planned = run_apart("schema", "apply", "--dry-run")
    assert planned.code == 0
    assert "CREATE TABLE" in planned.stdout
    assert run_apart("schema", "apply").stdout == planned.stdout
    same = run_apart("schema", "diff")
    assert (same.code, same.stdout) == (0, "everything is as it should be\n")
    assert run_apart("query", "--format", "csv", "SELECT count() AS n FROM ticks").stdout == '"n"\n0\n'
    ledger = ("gaps", "--symbol", "700.HK", "--state", "lost", "--since", "2026-11-20 09:30:00")
    assert run_apart(*ledger).stdout.endswith("0 rows\n")
    assert run_apart(*ledger, "--format", "csv").stdout.startswith('"symbol","cause","state","missing"')


def test_a_table_that_does_not_fit_ends_sink_and_check_with_3_and_the_statement(folder: Path, run_apart: Run) -> None:
    (folder / "ticktape.toml").write_text('[http]\nsink_listen = "127.0.0.1:0"\nlisten = "127.0.0.1:0"\n')
    spoil = (
        "from sinks import schema; from sinks.clickhouse import *; c = ClickHouse(ClickHouseConfig()); "
        "schema.apply(c); c.execute('ALTER TABLE ticktape.ticks MODIFY COLUMN price Float32'); c.close()"
    )
    subprocess.run([sys.executable, "-c", spoil], cwd=folder, check=True)
    for command in ("sink", "check"):
        done = run_apart(command)
        assert done.code == 3, done
        assert "MODIFY COLUMN `price` Float64" in " ".join((done.stdout + done.stderr).split())
