"""The capital-flow list: a JSON answer over HTTP, whose trading days a kernel finds."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.clock import MarketClock
from codec.flow_list import FlowListDecoder
from tests.codec.flows.test_flow_list import ENTRY, RECV_NS, SYMBOL, answer
from tests.fuzz.guarded import GuardedMemory
from tests.fuzz.mutations import hostile_json
from tests.fuzz.target import Reader, Target

_TEMPLATE = b'{"ret_code":0,"data":{"capital_flow_list":[%s]}}'


class FlowListReader:
    def __init__(self, clock: MarketClock) -> None:
        self._decoder = FlowListDecoder(clock, source="flow-list", gateway="flows")

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        found: Any = self._decoder.decode(source[start:stop].tobytes(), (SYMBOL,), RECV_NS)
        return repr(found), sorted((notice.name, count) for notice, count in self._decoder.notices.items())


class FlowLists(Target):
    name = "flow-list"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        entries = [
            ENTRY | {"code": code, "update_time": time}
            for code in ("US.A", "hk.1")
            for time in ("2026-03-08 02:30:00", "2026-11-01T01:30:00.123456789", "2026-11-20 09:30:00 +08:00")
        ]
        entries.append(ENTRY | {"main_net_inflow": "1e3", "retail_net_inflow": "-", "super_net_inflow": None})
        failed = answer(ret_code=1016, ret_msg="busy")
        return [answer(ENTRY), answer(*entries), answer(), failed, json.dumps(ENTRY).encode()]

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return bodies[0] if chance.randrange(4) else _TEMPLATE % b",".join(bodies)

    def hostile(self, chance: random.Random) -> bytes:
        return hostile_json(chance, _TEMPLATE)

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return FlowListReader(clock)
