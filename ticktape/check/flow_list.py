"""`ticktape check` of a gateway of kind `flow-list`: whether it answers, with a list of what is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from codec.flow_list import Reaction
from ingest.flow_list.outcomes import HttpRefused, NoAnswer, Outcome, Refused, Unreadable
from ingest.flow_list.probe import ProbeReport, probe_flow_list
from ticktape.check.finding import PROBE_TIMEOUT_S, Finding
from ticktape.exits import Exit
from ticktape.gateways.flow_list import flow_list_config
from ticktape.keys import read_headers
from ticktape.settings import BadSettings, FlowListSettings, Settings

_LOOKED_AT = {
    "missing": "symbols have no entry",
    "large_ratio": "ratios are beyond 1: perhaps percentages",
    "in_the_future": "entries are ahead of our clock",
}
"""Of what is noticed (codec/flow_list_entry.py)."""


async def check_flow_list(settings: Settings, gateway: FlowListSettings) -> list[Finding]:
    """Try one flow list."""
    what = f"gateway {gateway.name}"
    try:
        config = flow_list_config(settings, gateway, read_headers(gateway))
    except BadSettings as error:
        return [Finding(what, str(error), failed=Exit.FAILED)]
    if not config.wanted:
        return [Finding(what, "no subscription names it: nothing is asked", "add one, or take the gateway away")]
    return list(_findings(gateway, await probe_flow_list(config, PROBE_TIMEOUT_S)))


def _findings(gateway: FlowListSettings, report: ProbeReport) -> Iterator[Finding]:
    what = f"gateway {gateway.name}"
    trouble = report.trouble
    if trouble is not None:
        yield Finding(what, str(trouble), _remedy(gateway, trouble), Exit.FAILED)
    elif report.dead:
        detail = f"it answers, and {report.dead} entries cannot be read: {report.dead_detail}"
        yield Finding(what, detail, "see dead_letters for each; the others are stored", Exit.FAILED)
    elif report.asked:
        odd = [f"{count} {_LOOKED_AT[notice]}" for notice, count in report.notices.items() if notice in _LOOKED_AT]
        answer = f"answers in {report.round_trip_s * 1000:.0f} ms with a list of {report.asked} symbols"
        yield Finding(what, "; ".join([answer, *odd]))
    for reason, count in Counter(report.refused.values()).items():
        first = next(symbol for symbol, why in report.refused.items() if why == reason)
        detail = f"{count} symbols are refused, the first is {first}: {reason}"
        yield Finding(what, detail, "correct or take away these symbols", Exit.FAILED)
    intervals_s = sorted({wish.interval_s for wish in report.plan.wishes.values()})
    if intervals_s:
        every = ", ".join(f"{interval_s:g} s" for interval_s in intervals_s)
        polls = f"{report.plan.symbols:,} symbols in {len(report.plan.wishes):,} requests, each every {every}"
        yield Finding(f"polls of {gateway.name}", f"{polls} while its market trades")


def _remedy(gateway: FlowListSettings, trouble: Outcome) -> str:
    section = f"[[gateway]] {gateway.name}"
    match trouble:
        case NoAnswer():
            return f"start the server, or correct url of {section}"
        case HttpRefused(HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN):
            return f"correct the headers in headers_file of {section}"
        case HttpRefused(HTTPStatus.METHOD_NOT_ALLOWED):
            return f"set method of {section} to the other one of POST and GET"
        case HttpRefused() if trouble.permanent or trouble.leads_to:
            return f"correct url of {section}"
        case Refused() if trouble.error.reaction is Reaction.PERMANENT:
            return f"correct market, method, list_format or batch_max of {section}"
        case Unreadable():
            return f"is url of {section} the one of a capital-flow list?"
        case _:
            return "try again later: the gateway itself does"
