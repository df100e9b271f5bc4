"""Our place in the consumer group: under which assignment we act, and whether it surely still holds.

aiokafka rejoins a group in the background, and sends a commit with whatever generation it has by
then: a commit that was meant under an earlier assignment is accepted, and moves an offset back. Nor
does it say when the broker last heard of us. Both are its coordinator's; nothing else here reaches
into it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalGenerationError, KafkaError, RebalanceInProgressError, UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata

from sinks.record_log import EpochOver, RecordLogBroken, RecordLogUnavailable

SESSION_TIMEOUT_MS = 20_000
"""Partitions of a writer that died go to another one after this; longer than a place takes to let go."""


class GroupMember:
    """One membership, over all its assignments. Each assignment, and each time without one, is an epoch.

    Attributes
    ----------
    epoch : grows with each assignment and each revocation
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.epoch = 0
        self._consumer = consumer
        self._identity: tuple[int, str] | None = None
        self._heard_ns = 0

    @property
    def is_assigned(self) -> bool:
        return self._identity is not None

    def assigned(self) -> None:
        """The group gave us partitions."""
        self.epoch += 1
        self._identity = self._identity_now()
        self._note_heartbeats()

    def revoked(self) -> None:
        """The group takes all of them back."""
        self.epoch += 1
        self._identity = None

    def require_routine(self) -> None:
        """Return while what keeps us in the group runs; it tells nobody when a mistake of its own ends it.

        Raises
        ------
        RecordLogBroken
        """
        routine = self._coordinator._coordination_task
        if routine.done():
            why = "cancelled" if routine.cancelled() else routine.exception()
            raise RecordLogBroken(f"aiokafka's group routine has ended ({why}): joining the group anew")

    async def greet(self) -> None:
        """Have the broker hear of us now."""
        await self._coordinator._do_heartbeat()

    async def commit(self, epoch: int, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Commit offsets with their metadata, as the member that we were in `epoch` or not at all.

        Raises
        ------
        EpochOver, RecordLogUnavailable
        """
        if epoch != self.epoch or self._identity != self._identity_now():
            raise EpochOver("the partitions were assigned anew since these records were read")
        named = {partition: OffsetAndMetadata(*offset) for partition, offset in offsets.items()}
        try:
            # Nothing is awaited between the comparison above and the request, which holds the generation.
            await self._coordinator._do_commit_offsets(None, named)
        except (IllegalGenerationError, UnknownMemberIdError, RebalanceInProgressError) as error:
            raise EpochOver(f"the group has given the partitions to others: {error}") from error
        except (KafkaError, OSError) as error:
            raise RecordLogUnavailable(f"cannot commit to Kafka: {error}") from error

    def require(self, epoch: int) -> None:
        """Return when the partitions of `epoch` cannot be another's yet; any thread may ask.

        Raises
        ------
        EpochOver
        """
        if epoch != self.epoch:
            raise EpochOver("the partitions were assigned anew since these records were read")
        silent_ms = (_awake_or_not_ns() - self._heard_ns) // 1_000_000
        if silent_ms > SESSION_TIMEOUT_MS:
            raise EpochOver(f"no heartbeat was answered for {silent_ms / 1000:.0f} s: others may have the partitions")

    @property
    def _coordinator(self) -> Any:
        return self._consumer._coordinator

    def _identity_now(self) -> tuple[int, str]:
        return self._coordinator.generation, self._coordinator.member_id

    def _note_heartbeats(self) -> None:
        """Keep the time at which each answered heartbeat was sent."""
        if "_do_heartbeat" in vars(self._coordinator):
            return
        do_heartbeat = self._coordinator._do_heartbeat

        async def noted() -> bool:
            sent_ns = _awake_or_not_ns()
            answered: bool = await do_heartbeat()
            if answered:
                self._heard_ns = sent_ns
            return answered

        self._coordinator._do_heartbeat = noted


def _awake_or_not_ns() -> int:
    """A clock that also counts while the process is stopped and the machine asleep."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
