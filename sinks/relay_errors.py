"""Why a relay's records do not get into Kafka, and whose turn it is then."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from codec.errors import TicktapeError


class KafkaRefuses(TicktapeError):
    """Kafka is there and will not take our records as things are: somebody has to mend it."""

    retriable = True


class TopicsMissing(KafkaRefuses):
    """Some of our topics are not there; a broker that has just started says so too, for a moment."""

    def __init__(self, topics: Collection[str]) -> None:
        super().__init__(f"topics are missing in Kafka: {', '.join(sorted(topics))}; run: ticktape schema apply")


class TransactionLost(TicktapeError):
    """Kafka ended our transaction: it was open for too long, or another process has taken our transactional ids.

    Nothing of it is there; it must be sent again, by producers made anew.
    """

    retriable = True

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"Kafka ended our transaction ({type(error).__name__}): it was open too long, or another process took over"
        )


class WorkerTaken(KafkaRefuses):
    """Another process relays under our worker's name. The one that started last wins; we wait until it is silent."""

    def __init__(self, worker: str, journal_id: str, silent_s: float) -> None:
        super().__init__(
            f"another process relays as worker {worker} (its journal is {journal_id}): stop one of the two or give it"
            f" a [worker] name of its own; this one waits until the other has been silent for {silent_s:.0f} s"
        )


class JournalMismatch(KafkaRefuses):
    """Kafka knows other entries of this journal than the journal does."""

    def __init__(self, path: Path, offset: int) -> None:
        super().__init__(
            f"the journal {path} is not as it was when its entries before {offset} went to Kafka: it was put back"
            " from an older copy. Give this worker another [worker] name: it then sends again what the copy says"
        )
