"""A one-shot visit to a flow list: does it answer, and with a list of what is wanted?"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from codec.clock import MarketClock
from codec.flow_list import Reaction
from ingest.flow_list.client import FlowListClient, FlowListConfig
from ingest.flow_list.outcomes import Listed, Outcome, Refused
from ingest.flow_list.plan import Plan, plan_batches
from ingest.flow_list.polls import FlowListPolls

REQUESTS_MAX = 40
"""To find wrong codes by halving the list; more of them are left to whoever runs."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What one visit learned.

    Attributes
    ----------
    plan : what will be polled
    asked : symbols of the first batch, without those in `refused`
    refused : symbols that are not asked for, and why
    notices : what was odd in the answers, by the names of `Notice` in lower case
    dead : entries that could not be read, and why the first one
    trouble : what keeps lists from coming; None where nothing does
    """

    plan: Plan
    asked: int
    refused: Mapping[str, str]
    notices: Mapping[str, int]
    dead: int
    dead_detail: str
    trouble: Outcome | None
    round_trip_s: float


async def probe_flow_list(config: FlowListConfig, timeout_s: float) -> ProbeReport:
    """Ask for the first batch; where a code in it is wrong, find it."""
    plan = plan_batches(config.wanted, config.batch_max)
    first = dict(list(plan.wishes.items())[:1])
    polls = FlowListPolls({}, random.Random())
    polls.want(Plan(first, plan.refused), time.monotonic_ns())
    trouble: Outcome | None = None
    dead, dead_detail, round_trip_s = 0, "", 0.0
    async with FlowListClient(config, MarketClock(), timeout_s=timeout_s) as client:
        for _ in range(REQUESTS_MAX):
            if not first or polls.ready:
                break
            while (symbols := polls.next_symbols(time.monotonic_ns(), time.time())) is None:
                deadline_ns = polls.deadline_ns()
                assert deadline_ns is not None, "nothing has stopped it"
                await asyncio.sleep(max(deadline_ns - time.monotonic_ns(), 0) / 1e9)
            began_s = time.monotonic()
            outcome = await client.ask(symbols)
            round_trip_s = time.monotonic() - began_s
            polls.took(outcome, time.monotonic_ns())
            if isinstance(outcome, Listed):
                dead += len(outcome.flows.dead)
                dead_detail = dead_detail or next((client.hide(each.detail) for each in outcome.flows.dead), "")
            elif not isinstance(outcome, Refused) or outcome.error.reaction is not Reaction.SPLIT:
                trouble = outcome
                break
        asked = sum(symbol not in polls.refused for batch in first for symbol in batch.symbols)
        return ProbeReport(plan, asked, dict(polls.refused), client.noticed(), dead, dead_detail, trouble, round_trip_s)
