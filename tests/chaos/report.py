"""The report of a run, for people: the same text on the screen and in docs/chaos.md."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable

from tests.chaos.run import ChaosReport

_INTRODUCTION = """\
# A run of the chaos harness

Written by `make chaos MINUTES={minutes}`; the next run replaces it.

One simulated OpenD, two `ticktape ingest` and two `ticktape sink`, an Apache Kafka and a ClickHouse, each in a process
of its own, with a proxy on every link between them. In each round faults strike for some 16 seconds while
{rate:,.0f} ticks a second come in. What is killed is started again after a pause, and nothing else is helped by hand.
Then the market is halted, and once nothing waits any more everything since the beginning is compared with what the
market made:

- a reader of committed records sees every tick once, every entry of each journal once, and each worker's entries
  in their order within a partition;
- ClickHouse holds every tick once: `count()`, with and without `FINAL`, and the checksum of each symbol's rows;
- what is missing is in the loss ledger: Hong Kong's by number, the US's between the ticks that a lost row names.

ClickHouse is the embedded engine behind HTTP in a process of its own; a sink gives up waiting for its answer after 6 s.
"""


def markdown(report: ChaosReport, minutes: float) -> str:
    """All of it."""
    return "\n".join([_INTRODUCTION.format(minutes=f"{minutes:g}", rate=report.rate), *_lines(report)]) + "\n"


def _lines(report: ChaosReport) -> Iterable[str]:
    compared = report.rounds[-1].compared
    struck, kills = report.struck, report.kills
    missed = sum(len(each.struck) for each in report.rounds) - len(struck)
    recoveries = sorted(each.recovery_s for each in report.rounds)
    yield from (
        "| | |",
        "|---|---|",
        f"| seed | {report.plan.seed} |",
        f"| rounds | {len(report.rounds)} of {len(report.plan.rounds)}, in {report.took_s / 60:.1f} minutes |",
        f"| faults | {len(struck)}, and {missed} that found nothing to strike |",
        f"| kills (SIGKILL) | {sum(kills.values())}: {_counted(kills)} |",
        f"| ticks made | {compared.made:,} |",
        f"| rows stored | {compared.stored:,}, {compared.repeats:,} of them again |",
        f"| lost and written down | {compared.missing_ticks:,} of {len(compared.missing)} symbols |",
        f"| records in Kafka | {report.records:,} |",
        f"| recovery, p50 | {statistics.median(recoveries):.1f} s |",
        f"| recovery, longest | {recoveries[-1]:.1f} s |",
        f"| differences | {len(report.differences)} |",
    )
    if report.other_worker_s:
        yield f"| a worker away: the other's ticks to a reader | {max(report.other_worker_s):.1f} s at most |"
    if report.left_out:
        yield f"| left out, as this machine does not allow it | {report.left_out} |"
    yield from ("", "Recovery is the time from the end of a round's last fault until no row waits anywhere.")
    yield from ("", "| fault | struck | times |", "|---|---|---|")
    for (kind, target), times in sorted(_by_kind(report).items()):
        yield f"| {kind} | {target} | {times} |"
    yield from ("", "| ledger: cause | state | rows |", "|---|---|---|")
    for (cause, state), rows in sorted(report.ledger.items()):
        yield f"| {cause} | {state} | {rows} |"
    if report.differences:
        yield from ("", "## Differences", "", *(f"- {line}" for line in report.differences))


def _by_kind(report: ChaosReport) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for each in report.struck:
        kind = each.fault.kind.value
        if each.fault.insert is not None:
            kind = f"{kind}: {each.fault.insert.value}"
        counted[kind, each.fault.target] += 1
    return counted


def _counted(kills: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(kills.items()))
