"""`ticktape check` of a gateway of kind `opend`: whether it answers, its login, rights and quotas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from codec.markets import parse_symbol
from ingest.opend.poll_plan import CALL_OF_FEED, poll_wishes, possible_periods
from ingest.opend.probe import GatewayUnreachable, probe_gateway
from ticktape.check.finding import PROBE_TIMEOUT_S, Finding
from ticktape.exits import Exit
from ticktape.gateways.wanted import poll_configs, tick_symbols
from ticktape.keys import wire_mode
from ticktape.settings import BadSettings, OpenDSettings, Settings


async def check_opend(settings: Settings, gateway: OpenDSettings) -> list[Finding]:
    """Try one OpenD."""
    return [*await _gateway(settings, gateway), *_polls(settings, gateway)]


async def _gateway(settings: Settings, gateway: OpenDSettings) -> list[Finding]:
    what = f"gateway {gateway.name}"
    port = gateway.port
    assert port is not None, "settings let no other URL pass"
    try:
        report = await probe_gateway(gateway.host, port, PROBE_TIMEOUT_S, wire=wire_mode(gateway))
    except BadSettings as error:
        return [Finding(what, str(error), failed=Exit.FAILED)]
    except GatewayUnreachable as error:
        remedy = f"start OpenD, or correct url of [[gateway]] {gateway.name}"
        return [Finding(what, str(error), remedy, Exit.FAILED)]
    answer = f"OpenD {report.server_version} answers in {report.round_trip_s * 1000:.0f} ms"
    if report.ailment is not None:
        detail = f"{answer}, and is not logged in to quotes: {report.ailment.sentence}"
        return [Finding(what, detail, report.ailment.remedy, Exit.FAILED)]
    wanted = tick_symbols(settings, gateway)
    refused = [symbol for symbol in wanted if report.rights.why_not(parse_symbol(symbol)) is not None]
    quota = max(report.quota_used + report.quota_left - gateway.subscription_quota_reserve, 0)
    without_unit = len(wanted) - len(refused) - quota
    if without_unit > 0:
        detail = (
            f"{answer}; {len(wanted)} symbols are wanted, its login may subscribe {quota}: "
            f"the last {without_unit} of the file are refused"
        )
        remedy = "take symbols away, lower subscription_quota_reserve, or share them with another login's OpenD"
        findings = [Finding(what, detail, remedy, Exit.FAILED)]
    else:
        used = f"{report.quota_used} of {quota} subscriptions used, {len(wanted)} wanted"
        findings = [Finding(what, f"{answer}, logged in; {used}")]
    reasons = Counter(str(report.rights.why_not(parse_symbol(symbol))) for symbol in refused)
    for reason, count in reasons.items():
        findings.append(Finding(what, f"{count} of {len(wanted)} symbols are refused: {reason}", failed=Exit.FAILED))
    return findings


def _polls(settings: Settings, gateway: OpenDSettings) -> Iterator[Finding]:
    """How often the quotas let us ask; less often than configured is no failure."""
    by_calendar = settings.schedule.calendar == "auto"
    wishes = poll_wishes(poll_configs(settings, gateway, CALL_OF_FEED), by_calendar=by_calendar)
    for possible in possible_periods(wishes, gateway.quota_share, by_calendar=by_calendar):
        yield Finding(f"polls of {gateway.name}", str(possible))
