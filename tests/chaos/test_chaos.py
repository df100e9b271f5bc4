"""A short run of the harness, of the faults that matter most; `make chaos` is the long one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chaos.plan import CLICKHOUSE, KAFKA, Fault, InsertFault, Kind, Plan, Round
from tests.chaos.report import markdown
from tests.chaos.run import run_chaos

# The faults of a sink come first: Kafka's group waits 20 s for the one that was killed.
PLAN = Plan(
    seed=1,
    rounds=(
        Round(
            (
                Fault(0.3, Kind.FREEZE, "ingest-0", 11.0),
                Fault(1.0, Kind.KILL_IN_INSERT, CLICKHOUSE, 0.5, also="sink-1"),
                Fault(4.0, Kind.MUTE, "ingest-1:kafka", 2.0),
                Fault(6.0, Kind.INSERT, CLICKHOUSE, 4.0, InsertFault.CUT_AFTER, amount=2),
                Fault(8.0, Kind.KILL, "ingest-1", 0.3),
            )
        ),
        Round(
            (
                Fault(0.5, Kind.KILL, KAFKA, 0.3),
                Fault(1.0, Kind.CUT, "ingest-1:opend", 1.0),
                Fault(1.0, Kind.FULL_DISK, "ingest-0", 2.0),
                Fault(4.5, Kind.KILL, "ingest-0", 0.3),
            )
        ),
    ),
)


@pytest.mark.kafka
@pytest.mark.skipif(not shutil.which("java"), reason="needs a real Kafka")
@pytest.mark.timeout(900)
def test_every_tick_once_after_a_few_faults(tmp_path: Path) -> None:
    said: list[str] = []
    report = run_chaos(PLAN, tmp_path, said.append, looks_again_in_s=0.0)
    assert report.differences == [], said
    assert report.kills == {CLICKHOUSE: 1, "sink-1": 1, "ingest-1": 1, KAFKA: 1, "ingest-0": 1}
    assert len(report.struck) >= PLAN.faults - 1  # a busy machine may have no insert to fail at that moment
    assert report.rounds[-1].compared.made > 2000
    text = markdown(report, 0.5)
    assert "| kills (SIGKILL) | 5: clickhouse 1, ingest-0 1, ingest-1 1, kafka 1, sink-1 1 |" in text
    assert "| differences | 0 |" in text
