"""What becomes of producers that Kafka takes nothing from any more."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced, TopicAuthorizationFailedError

from sinks.kafka import KafkaConfig, client_options
from sinks.relay_kafka import connected_producers, transactional_ids

pytestmark = pytest.mark.kafka


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What asyncio would write to the log, in a form of its own, when the garbage is collected."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def test_a_fenced_producer_leaves_no_error_that_nobody_asked_for(
    config: KafkaConfig, complaints: list[dict[str, Any]]
) -> None:
    ids, options = transactional_ids(config, "w-0"), client_options(config, "test")
    async with connected_producers(config, options, ids) as producers:
        async with connected_producers(config, options, ids):
            pass
        await producers[0].begin_transaction()
        batch = producers[0].create_batch()
        batch.append(timestamp=None, key=None, value=b"")
        ack = await producers[0].send_batch(batch, config.topic_of("ticks"), partition=0)
        with pytest.raises(ProducerFenced):
            await ack
    del producers, ack
    gc.collect()
    assert complaints == []


async def test_an_aborted_transaction_leaves_no_error_that_nobody_asked_for(
    config: KafkaConfig, complaints: list[dict[str, Any]]
) -> None:
    ids, options = transactional_ids(config, "w-0"), client_options(config, "test")
    async with connected_producers(config, options, ids) as producers:
        await producers[0].begin_transaction()
        producers[0]._txn_manager.error_transaction(TopicAuthorizationFailedError("ticks"))
    del producers
    gc.collect()
    assert complaints == []
