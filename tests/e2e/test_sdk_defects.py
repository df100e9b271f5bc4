"""What the official SDK does where a gateway or its line misbehaves: docs/sdk-defects.md, column by column.

A line of that page stands until the SDK is mended: then the test here fails, and the page is to be corrected.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codec.opend.protocol import HEADER, MAGIC, ProtoId
from protos.opend import subscription_pb2
from tests.e2e.sdk_contexts import SLOW_S, SYMBOL
from tests.ingest import wire
from tests.ingest.scripted_opend import Exchange, Peer, ScriptedOpenD

pytestmark = pytest.mark.sdk
REPOSITORY = Path(__file__).parents[2]
RECONNECT_S_MAX = 60.0
"""The SDK waits 6 s; a busy machine has its own time."""
PUSHES, TICKS_A_PUSH = 2000, 100
"""20 MB: more than the sockets of both ends hold."""
assert PUSHES / 3 * SLOW_S > RECONNECT_S_MAX, "or a slow handler could be through with them"


@dataclass
class Story:
    """One gateway, what came of it and what to wait for.

    Attributes
    ----------
    asked_again : (protocol id, body) of what the SDK asked on its second connection
    told : set when there is nothing more to see but what the SDK does by itself
    """

    exchange: Exchange = field(default_factory=Exchange)
    asked_again: list[tuple[int, bytes]] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def subscribed(self, peer: Peer) -> None:
        """Answer until the SDK has subscribed, and push a tick."""
        while not peer.asked[ProtoId.SUB]:
            peer.answer(*await peer.request())
        peer.send(self.exchange.trade(SYMBOL, range(1)))

    async def again(self, peer: Peer, *, until: int, then: bytes = b"") -> None:
        """The second connection: a sound gateway. `told` after a request `until`, or at the end."""
        while True:
            proto_id, serial, body = await peer.request()
            self.asked_again.append((proto_id, body))
            peer.answer(proto_id, serial, body)
            if proto_id == until:
                peer.send(then)
                self.told.set()


async def breaks_off(story: Story, peer: Peer, *, inside_a_frame: bool) -> None:
    """Half a push, or a whole one, and the line is gone."""
    await story.subscribed(peer)
    push = story.exchange.trade(SYMBOL, range(1, 51))
    peer.send(push[: len(push) // 2] if inside_a_frame else push)
    await asyncio.sleep(0.5)
    story.exchange.trade(SYMBOL, range(51, 100))  # while nobody is connected


async def garbage_length(story: Story, peer: Peer) -> None:
    """A header that announces 2 GiB, and sound pushes behind it."""
    await story.subscribed(peer)
    peer.send(HEADER.pack(MAGIC, ProtoId.UPDATE_TICKER, 0, 0, 1, (1 << 31) - 1, bytes(20), bytes(8)))
    for number in range(1, 20):
        peer.send(story.exchange.trade(SYMBOL, range(number, number + 1)))
    story.told.set()
    await peer.serve()


async def wrong_magic(story: Story, peer: Peer) -> None:
    """A frame that begins with XX."""
    await story.subscribed(peer)
    peer.send(b"XX" + story.exchange.trade(SYMBOL, range(1, 2))[2:])
    story.told.set()
    await peer.serve()


async def floods(story: Story, peer: Peer) -> None:
    """As much as the SDK takes."""
    await story.subscribed(peer)
    peer.keep_little()
    push = wire.push_frame(SYMBOL, wire.make_ticks(range(TICKS_A_PUSH)))
    for _ in range(PUSHES):
        peer.send(push)
        await peer.sent()
    story.told.set()
    await peer.serve()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Story], dict[str, list[int]]]:
    """All stories at once, each with a connection of the SDK: what was asked, and what it handed on."""
    return asyncio.run(_observe(tmp_path_factory.mktemp("sdk")))


async def _observe(folder: Path) -> tuple[dict[str, Story], dict[str, list[int]]]:
    stories = {name: Story() for name in ("broken", "clean", "garbage", "magic", "slow")}
    broken, clean = stories["broken"], stories["clean"]
    late = wire.push_frame(SYMBOL, wire.make_ticks(range(100, 110)))
    scripts = {
        "broken": (
            lambda peer: breaks_off(broken, peer, inside_a_frame=True),
            lambda peer: broken.again(peer, until=ProtoId.INIT_CONNECT),
        ),
        "clean": (
            lambda peer: breaks_off(clean, peer, inside_a_frame=False),
            lambda peer: clean.again(peer, until=ProtoId.SUB, then=late),
        ),
        "garbage": (lambda peer: garbage_length(stories["garbage"], peer),),
        "magic": (lambda peer: wrong_magic(stories["magic"], peer),),
        "slow": (lambda peer: floods(stories["slow"], peer),),
    }
    file = folder / "seen.json"
    async with AsyncExitStack() as stack:
        ports = {
            name: (await stack.enter_async_context(ScriptedOpenD(*played, exchange=stories[name].exchange))).port
            for name, played in scripts.items()
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.sdk_contexts", "futu", "no key", str(file)),
            *(f"{name}={port}" for name, port in ports.items()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder), "NO_PROXY": "127.0.0.1,localhost"},
            cwd=REPOSITORY,
        )
        try:
            async with asyncio.timeout(RECONNECT_S_MAX):
                await asyncio.gather(*(story.told.wait() for story in stories.values()))
            await asyncio.sleep(3.0)  # for what an SDK in order would do now
            assert process.stdin is not None
            process.stdin.close()
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    handed_on: dict[str, list[int]] = json.loads(file.read_text())
    return stories, handed_on


Seen = tuple[dict[str, Story], dict[str, list[int]]]


def test_a_line_that_breaks_inside_a_frame_ends_the_sdk_for_good(seen: Seen) -> None:
    """It connects again and greets, but does not understand the answer; a clean break it survives."""
    stories, handed_on = seen
    assert [proto_id for proto_id, _ in stories["broken"].asked_again] == [ProtoId.INIT_CONNECT]
    assert ProtoId.SUB in [proto_id for proto_id, _ in stories["clean"].asked_again]
    assert handed_on["broken"] == [wire.sequence_of(0)]


def test_the_ticks_of_a_reconnect_are_lost_and_nobody_asks_for_them(seen: Seen) -> None:
    stories, handed_on = seen
    assert ProtoId.GET_TICKER not in [proto_id for proto_id, _ in stories["clean"].asked_again]
    # Of each push its first tick: 51 to 99 were traded while nobody was connected.
    assert handed_on["clean"] == [wire.sequence_of(number) for number in (0, 1, 100)]


def test_it_subscribes_again_with_other_arguments_than_it_was_given(seen: Seen) -> None:
    stories, _ = seen
    [body] = [body for proto_id, body in stories["clean"].asked_again if proto_id == ProtoId.SUB]
    assert subscription_pb2.SubRequest.FromString(body).c2s.isFirstPush is True, "False was asked for"


def test_a_slow_handler_slows_nobody_and_the_queue_grows(seen: Seen) -> None:
    _, handed_on = seen
    assert len(handed_on["slow"]) < PUSHES / 3, "all others were taken from the socket, and wait"


def test_a_garbage_length_stops_the_ticks_without_a_word(seen: Seen) -> None:
    _, handed_on = seen
    assert handed_on["garbage"] == [wire.sequence_of(0)]


def test_a_wrong_magic_is_not_noticed(seen: Seen) -> None:
    _, handed_on = seen
    assert handed_on["magic"] == [wire.sequence_of(0), wire.sequence_of(1)]


def test_its_json_reads_what_protobuf_7_has_no_more() -> None:
    spec = importlib.util.find_spec("futu")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "common" / "pbjson.py").read_text()
    assert re.search(r"\bfield\.label\b", source)


def test_every_test_that_the_page_names_is_there() -> None:
    page = (REPOSITORY / "docs" / "sdk-defects.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) >= 14
    for file, name in named:
        assert f"def {name}(" in (REPOSITORY / file).read_text(), f"{file}::{name}"
