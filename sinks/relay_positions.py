"""How far each journal has been relayed, as Kafka itself knows it: the compacted topic `<prefix>.positions`.

A position is written in the transaction that holds the records before it, so the newest committed
one is true whatever died when. Its key is `<worker>/<journal id>`. It also says which process wrote
it: a relay that was fenced learns from that whether another one goes by its worker's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from sinks.kafka import KafkaConfig, KafkaUnavailable
from sinks.relay_errors import KafkaRefuses
from sinks.relay_progress import Position

PARTITION = 0
"""The topic has this one: all workers' positions are one short read."""

READ_S_MAX = 30.0
"""The end of the topic may be hidden behind the open transaction of a worker that died, until Kafka aborts it."""
_FETCH_BYTES_MAX = 16 << 20
_POLL_MS = 200


@dataclass(frozen=True, slots=True)
class WrittenPosition:
    """A position, which process wrote it for which journal, and at which offset of the topic."""

    topic_offset: int
    journal_id: str
    holder: str
    position: Position


def encode_position(worker: str, journal_id: str, holder: str, position: Position) -> tuple[bytes, bytes]:
    """Key and value of a record of the positions topic."""
    return f"{worker}/{journal_id}".encode(), position.encode(holder=holder)


class Positions:
    """Reads the positions of one worker, its journals of former days included.

    Attributes
    ----------
    of_journal : the newest position in each journal, by the journal's id
    newest : the newest of all
    """

    def __init__(self, consumer: AIOKafkaConsumer, config: KafkaConfig, worker: str) -> None:
        self.of_journal: dict[str, Position] = {}
        self.newest: WrittenPosition | None = None
        self._consumer, self._config, self._worker = consumer, config, worker
        self._place = TopicPartition(config.positions_topic, PARTITION)

    async def read_to_end(self) -> None:
        """Read all that is in the topic now.

        The end is the one that includes open transactions, not the one up to which records can be
        read: a committed position of ours may lie behind a transaction of another worker's that is
        still open.

        Raises
        ------
        KafkaUnavailable, KafkaRefuses
        """
        deadline_s = time.monotonic() + READ_S_MAX
        end: int | None = None
        while end is None or await self._consumer.position(self._place) < end:
            await self.read_on(_POLL_MS)
            if end is None:
                end = self._consumer.highwater(self._place)
            if time.monotonic() > deadline_s:
                raise KafkaUnavailable(self._config.bootstrap_servers, TimeoutError())

    async def read_on(self, timeout_ms: int) -> bool:
        """Read what follows, waiting for it up to `timeout_ms`; whether there was anything of this worker."""
        found = False
        for records in (await self._consumer.getmany(timeout_ms=timeout_ms)).values():
            for record in records:
                worker, _, journal_id = (record.key or b"").decode(errors="replace").rpartition("/")
                if worker == self._worker and record.value:
                    self._note(journal_id, record.offset, record.value)
                    found = True
        return found

    def _note(self, journal_id: str, offset: int, value: bytes) -> None:
        try:
            kept = orjson.loads(value)
            position, holder = Position.of(kept), str(kept["holder"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KafkaRefuses(
                f"topic {self._place.topic} holds no position at offset {offset}, where worker {self._worker}"
                f" should have one ({error}): who else writes to it?"
            ) from error
        self.of_journal[journal_id] = position
        self.newest = WrittenPosition(offset, journal_id, holder, position)


@contextlib.asynccontextmanager
async def open_positions(config: KafkaConfig, options: Mapping[str, Any], worker: str) -> AsyncIterator[Positions]:
    """The positions of `worker`, to be read from the topic's beginning.

    Raises
    ------
    KafkaUnavailable
        Also from within, for whatever goes wrong with the connection there.
    """
    consumer = AIOKafkaConsumer(
        **options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_FETCH_BYTES_MAX,
        fetch_max_wait_ms=50,
    )
    place = TopicPartition(config.positions_topic, PARTITION)
    try:
        async with asyncio.timeout(READ_S_MAX):
            await consumer.start()
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        yield Positions(consumer, config, worker)
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(config.bootstrap_servers, error) from error
    finally:
        with contextlib.suppress(KafkaError, OSError):
            await consumer.stop()
