"""OpenDs, a LongPort account and a flow list in one process: every table is filled, no secret is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codec.tables import TABLES
from codec.warm import warm
from tests.e2e.leaks import KEYS, RSA_KEY, SEED, Shown, daemon, repeaters
from tests.support.daemons import free_port
from tests.support.simulator import flow_list_simulator, longport_simulator, opend_simulator
from ticktape.simulate.symbols import list_symbols

SYMBOLS = [listing.symbol for listing in list_symbols(6)]
_LONGPORT_KEYS = ("app_key", "app_secret", "access_token")
_GATEWAYS = """
[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{opend}"
rsa_key_file = "secrets/opend.pem"

[[gateway]]
name = "opend-2"
kind = "opend"
source = "moomoo"
url = "ws://127.0.0.1:{websocket}"

[[gateway]]
name = "lp"
kind = "longport"
url = "ws://127.0.0.1:{longport}/v2"
http_url = "http://127.0.0.1:{longport_http}"
app_key_file = "secrets/app_key"
access_token_file = "secrets/access_token"

[[gateway]]
name = "flows"
kind = "flow-list"
url = "http://127.0.0.1:{flows}/capital-flow?desk={query}"
headers_file = "secrets/headers"
"""
_SUBSCRIPTIONS = """
[[subscription]]
gateway = "opend-1"
symbols = {symbols}
feeds = ["ticks", "capital_flow", "capital_distribution", "ark_dynamic"]
poll_interval = "2s"

[[subscription]]
gateway = "opend-2"
symbols = {symbols}

[[subscription]]
gateway = "lp"
symbols = {symbols}
feeds = ["ticks", "capital_flow", "capital_distribution"]
poll_interval = "2s"

[[subscription]]
gateway = "flows"
symbols = {symbols}
feeds = ["capital_flow_summary"]
poll_interval = "500ms"
"""
_FILLED = {
    "ticks": {"futu": len(SYMBOLS), "moomoo": len(SYMBOLS), "longport": len(SYMBOLS)},
    "capital_flow": {"futu": len(SYMBOLS), "longport": len(SYMBOLS)},
    "capital_distribution": {"futu": len(SYMBOLS), "longport": len(SYMBOLS)},
    "ark_dynamic": {"futu": len(SYMBOLS)},
}
"""Symbols of each source that a table must hold."""


@pytest.fixture(autouse=True, scope="module")
def compiled_kernels() -> None:
    warm()


def configure(folder: Path, stores: str, http_port: int, **ports: int) -> tuple[Path, dict[str, str]]:
    """A configuration with every secret that there can be, in files of a folder of their own or in the environment."""
    secrets = folder / "secrets"
    secrets.mkdir()
    for name in ("app_key", "access_token", "kafka", "clickhouse", "http"):
        (secrets / name).write_text(KEYS[name])
    (secrets / "headers").write_text(
        f"# of the desk\nAuthorization: Bearer {KEYS['headers']}\nX-Desk: {KEYS['headers']}\n"
    )
    (secrets / "opend.pem").write_bytes(RSA_KEY)
    file = folder / "ticktape.toml"
    file.write_text(
        f'[journal]\npath = "{folder}/journal"\nmin_free_bytes = "100MiB"\n'
        f'[http]\nlisten = "127.0.0.1:{http_port}"\nsink_listen = "127.0.0.1:{free_port()}"\n'
        'token_file = "secrets/http"\n[schedule]\ncalendar = "off"\n'
        + stores
        + _GATEWAYS.format(query=KEYS["query"], **ports)
        + _SUBSCRIPTIONS.format(symbols=json.dumps(SYMBOLS))
    )
    return file, {
        "TICKTAPE_GATEWAY__LP__APP_SECRET": KEYS["app_secret"],
        "TICKTAPE_GATEWAY__OPEND_2__WEBSOCKET_KEY": KEYS["websocket_key"],
    }


def test_every_kind_in_one_process_fills_all_tables_and_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / "opend.pem").write_bytes(RSA_KEY)
    small = "--symbols", len(SYMBOLS), "--rate", 100
    websocket = "--websocket-port", 0, "--websocket-key", KEYS["websocket_key"]
    keys = [f"--{name.replace('_', '-')}={KEYS[name]}" for name in _LONGPORT_KEYS]
    shown, http_port = Shown(), free_port()
    url = f"http://127.0.0.1:{http_port}"
    with (
        opend_simulator(*small, "--rsa-key", str(tmp_path / "opend.pem"), *websocket) as opend,
        longport_simulator(*small, "--seed", SEED, *keys, "--faults", "disconnect=0.3,expire=0.1") as longport,
        flow_list_simulator("--symbols", 6, "--speed", 60, "--faults", "bad-entries=0.34,html=0.2") as flows,
    ):
        config, env = configure(
            tmp_path,
            f'[clickhouse]\nurl = "chdb://{tmp_path}/clickhouse"\nflush_interval = "100ms"\n',
            http_port,
            opend=opend.port,
            websocket=opend.websocket_port,
            longport=longport.port,
            longport_http=longport.port,
            flows=flows.port,
        )
        [checked] = shown.run(env, ["-c", str(config), "check"])
        checked = " ".join(checked.split())
        for said in (
            "ok gateway opend-1 OpenD ",
            "ok gateway opend-2 OpenD ",
            "ok gateway lp LongPort lets us in",
            " gateway flows ",
        ):
            assert said in checked
        assert all(f"polls of {name}" in checked for name in ("opend-1", "lp", "flows"))

        with daemon(shown, "up", config, env) as up:

            def gateways() -> dict[str, Any]:
                found: dict[str, Any] = json.loads(shown.get(f"{url}/status", KEYS["http"]) or "{}").get("gateways", {})
                return found

            def rows(sql: str) -> list[dict[str, Any]]:
                answer = shown.get(f"{url}/query?format=JSONEachRow", KEYS["http"], sql.encode())
                return [json.loads(line) for line in answer.splitlines()]

            up.wait_until(lambda: len(gateways()) == 4 and all(each["up"] for each in gateways().values()), "all four")
            assert list(gateways()) == ["opend-1", "opend-2", "lp", "flows"]

            def symbols(table: str) -> dict[str, int]:
                sql = f"SELECT source, toInt32(uniqExact(symbol)) AS symbols FROM ticktape.{table} GROUP BY source"
                return {row["source"]: row["symbols"] for row in rows(sql)}

            def empty() -> list[str]:
                return [table.name for table in TABLES if not rows(f"SELECT 1 FROM ticktape.{table.name} LIMIT 1")]

            up.wait_until(lambda: {table: symbols(table) for table in _FILLED} == _FILLED, "each symbol's rows")
            # Its verdicts go through the daemon that holds the store.
            _, status = shown.run(env, ["-c", str(config), "audit"], ["-c", str(config), "status"])
            assert all(name in status for name in ("opend-1", "opend-2", "lp", "flows"))
            up.wait_until(lambda: empty() == [], "a row in each table")
            up.wait_until(lambda: "undecodable" in str(gateways()["flows"]["dead_letters"]), "a page that repeats us")
            up.wait_until(lambda: gateways()["lp"]["connects"] > 2, "new and resumed sessions of LongPort")
            metrics = shown.get(f"{url}/metrics", KEYS["http"])
            for name in ("opend-1", "opend-2", "lp", "flows"):
                assert f'ticktape_gateway_up{{gateway="{name}"}}' in metrics
                assert 'outcome="ok"}' in metrics
            for path in ("/", "/livez", "/readyz", "/status", "/metrics"):
                shown.get(f"{url}{path}")
                shown.get(f"{url}{path}", "another-token")
            for table in TABLES:
                shown.add(f"rows of {table.name}", json.dumps(rows(f"SELECT * FROM ticktape.{table.name}")))
            up.reload()
            up.wait_until(lambda: "read again" in up.says(), "the same configuration once more")
    shown.add_folder(tmp_path / "journal")
    shown.add_folder(tmp_path / "clickhouse")
    assert "***" in shown.of("rows of dead_letters"), "the page repeated our headers"
    assert "DEBUG" in shown.of("log of up").upper(), "libraries say all they can"
    assert shown.leaks() == []


def test_no_secret_is_shown_by_what_fails(tmp_path: Path) -> None:
    """Servers that are none and repeat whatever they are sent; passwords that are wrong; keys that are refused."""
    shown, http_port = Shown(), free_port()
    with (
        repeaters() as (http_repeater, tcp_repeater),
        longport_simulator("--symbols", 6, "--seed", SEED) as longport,  # with other keys than ours
    ):
        stores = (
            f'[clickhouse]\nurl = "http://ticktape@127.0.0.1:{http_repeater}"\npassword_file = "secrets/clickhouse"\n'
            f'[kafka]\nbootstrap_servers = "127.0.0.1:{tcp_repeater}"\nsecurity_protocol = "SASL_PLAINTEXT"\n'
            'sasl_mechanism = "PLAIN"\nusername = "ticktape"\npassword_file = "secrets/kafka"\n'
        )
        config, env = configure(
            tmp_path,
            stores,
            http_port,
            opend=tcp_repeater,
            websocket=http_repeater,
            longport=longport.port,
            longport_http=http_repeater,
            flows=http_repeater,
        )
        text = config.read_text()
        (tmp_path / "secrets" / "no-headers").write_text(f"{KEYS['headers']}\n")
        (tmp_path / "secrets" / "no-key.pem").write_bytes(RSA_KEY[:-100])
        others = {
            "refused": text.replace(
                f'http_url = "http://127.0.0.1:{http_repeater}"', f'http_url = "http://127.0.0.1:{longport.port}"'
            ),
            "unusable": text.replace("secrets/headers", "secrets/no-headers").replace("opend.pem", "no-key.pem"),
            "written": f'{text}\n[kafak]\ntoken = "{KEYS["http"]}"\n'.replace(
                "password_file", f'password = "{KEYS["kafka"]}"\npassword_file'
            ),
        }
        for name, other in others.items():
            (tmp_path / f"{name}.toml").write_text(other)
        commands = [[str(config), *line.split()] for line in ("check", "schema diff", "audit", "gaps", "status")]
        commands += [[str(tmp_path / f"{name}.toml"), "check"] for name in others]
        commands += [[str(tmp_path / "unusable.toml"), "up"]]
        shown.run(env, *(["-c", *command] for command in commands))
        assert "the one-time password is refused" in shown.of("output of")
        assert "line 1 is not NAME: VALUE" in shown.of("output of")
        assert "is a secret, which must not stand in the file" in shown.of("errors of")
        mistaken = {"TICKTAPE_KAFKA__PASWORD": KEYS["kafka"], "TICKTAPE_GATEWAY__LP__APP_SECRETS": KEYS["app_secret"]}
        shown.run({**env, **mistaken}, ["-c", str(config), "check"])
        with daemon(shown, "ingest", config, env) as ingest, daemon(shown, "sink", config, env) as sink:
            url = f"http://127.0.0.1:{http_port}"
            ingest.wait_until(
                lambda: "cannot be read" in shown.get(f"{url}/status", KEYS["http"]), "a page that repeats us"
            )
            ingest.wait_until(lambda: ingest.says().count("gateway") > 4, "what each gateway says")
            sink.wait_until(lambda: "clickhouse" in sink.says().lower(), "what the store says")
            for path in ("/readyz", "/metrics", "/status"):
                shown.get(f"{url}{path}", KEYS["http"])
    shown.add_folder(tmp_path / "journal")
    assert shown.size_bytes > 20_000
    assert shown.leaks() == []
