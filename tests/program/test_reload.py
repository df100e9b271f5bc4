"""Subscriptions that change while a daemon runs: files read again, and a real daemon that follows them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.ingest.journal import until
from tests.support.daemons import daemon, free_port
from tests.support.simulator import opend_simulator
from ticktape import reload as reload_module
from ticktape.reload import Reloader, SettingsSource
from ticktape.settings import Settings

FIRST, SECOND, THIRD, FOURTH = "HK.00700", "HK.09988", "US.AAPL", "US.NVDA"


class Files:
    """A configuration with a file of symbols beside it."""

    def __init__(self, folder: Path, port: int = 11111, more: str = "") -> None:
        self.symbols = folder / "symbols.txt"
        self.config = folder / "ticktape.toml"
        self.more = more
        self.name(FIRST)
        self.configure(port)

    def name(self, *symbols: str) -> None:
        """Replace the file of symbols, as editors do."""
        written = self.symbols.with_suffix(".new")
        written.write_text("# mine\n" + "\n".join(symbols) + "\n")
        written.replace(self.symbols)

    def configure(self, port: int, subscription: str = 'symbols_file = "symbols.txt"') -> None:
        self.config.write_text(
            f'{self.more}\n[[gateway]]\nname = "g"\nkind = "opend"\nurl = "tcp://127.0.0.1:{port}"\n'
            f'[[subscription]]\ngateway = "g"\n{subscription}\n'
        )


class Following:
    """A reloader at work.

    Attributes
    ----------
    applied : symbols of each configuration that it put into effect
    """

    def __init__(self, files: Files) -> None:
        self.applied: list[tuple[str, ...]] = []
        source = SettingsSource(files.config, {})
        self.reloader = Reloader(source, source.load(), self._apply)

    def _apply(self, settings: Settings) -> None:
        self.applied.append(settings.subscription[0].symbols)


@asynccontextmanager
async def following(files: Files) -> AsyncIterator[Following]:
    follower = Following(files)
    task = asyncio.create_task(follower.reloader.run())
    await asyncio.sleep(0.2)  # it has looked at the files as they are
    try:
        yield follower
    finally:
        task.cancel()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "LOOK_EVERY_S", 0.02)


@pytest.mark.usefixtures("often")
async def test_a_changed_file_of_symbols_takes_effect_by_itself(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with following(files) as follower:
        files.name(FIRST, SECOND)
        await until(lambda: follower.applied == [(FIRST, SECOND)])
        files.name(SECOND)
        await until(lambda: follower.applied[1:] == [(SECOND,)])


@pytest.mark.usefixtures("often")
async def test_a_broken_file_is_said_once_and_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with capture_logs() as logs:
        async with following(files) as follower:
            files.name(FIRST, "no symbol")
            await until(lambda: logs)
            await asyncio.sleep(0.2)
            assert follower.applied == []
            files.name(FIRST, THIRD)
            await until(lambda: follower.applied == [(FIRST, THIRD)])
    [said] = [entry for entry in logs if entry["log_level"] == "error"]
    assert "no symbol" in said["error"]
    assert "\n" not in said["error"]


@pytest.mark.usefixtures("often")
async def test_subscriptions_follow_the_configuration_and_other_keys_wait_for_a_start(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with capture_logs() as logs:
        async with following(files) as follower:
            files.configure(22222, f'symbols = ["{THIRD}"]')
            await until(lambda: follower.applied == [(THIRD,)])
    assert any("next start" in entry["event"] for entry in logs)


async def test_who_asks_is_answered_though_nothing_changed(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with following(Files(tmp_path)) as follower:
            follower.reloader.ask()
            await until(lambda: any("as they were" in entry["event"] for entry in logs))
    assert follower.applied == [(FIRST,)], "who had given up tries again"


def test_a_running_daemon_follows_its_symbols(tmp_path: Path) -> None:
    with opend_simulator("--symbols", 6, "--rate", 500) as opend:
        port = free_port()
        http = f'[http]\nlisten = "127.0.0.1:{port}"\nsink_listen = "127.0.0.1:{free_port()}"\n'
        journal = f'[journal]\npath = "{tmp_path}/journal"\nmin_free_bytes = "100MiB"\n'
        files = Files(tmp_path, opend.port, http + journal)
        with daemon("ingest", files.config, port) as ingest:

            def gateway() -> dict[str, object]:
                status: dict[str, object] = json.loads(ingest.get("/status") or "{}").get("gateways", {}).get("g", {})
                return status

            ingest.wait_until(lambda: gateway().get("subscribed") == 1, "the first symbol")
            files.name(FIRST, SECOND)
            os.kill(ingest.process.pid, signal.SIGHUP)
            ingest.wait_until(lambda: gateway().get("subscribed") == 2, "the second symbol")
            files.name(SECOND, THIRD, FOURTH)
            ingest.wait_until(lambda: gateway().get("subscribed") == 3, "two others")
            ingest.wait_until(lambda: gateway().get("filled") == 3, "their ticks")
            assert gateway()["connects"] == 1
        made = opend.stop()["tables"]["ticks"]["symbols"]
    assert {FIRST, SECOND, THIRD, FOURTH} <= made.keys()
