"""Making topics, and saying what is amiss with those that exist."""

from __future__ import annotations

import dataclasses

import pytest

from sinks import topics
from sinks.kafka import KafkaConfig, KafkaUnavailable
from sinks.topics import FoundTopic, TopicNotCreated


def as_found(config: KafkaConfig) -> dict[str, FoundTopic]:
    """The topics as `config` wants them."""
    return {
        each.name: FoundTopic(each.name, each.partitions, each.replication_factor, dict(each.settings))
        for each in topics.wanted_topics(config)
    }


CONFIG = KafkaConfig("k:9092", topic_prefix="tt", partitions=6, retention_ms=1000)


def test_there_is_a_topic_for_each_table_and_one_for_positions() -> None:
    wanted = {each.name: each for each in topics.wanted_topics(CONFIG)}
    assert len(wanted) == 10
    assert wanted["tt.capital-flow-summary"].partitions == 6
    assert wanted["tt.ticks"].settings["retention.ms"] == "1000"
    assert int(wanted["tt.ticks"].settings["max.message.bytes"]) > 8 << 20
    assert (wanted["tt.positions"].partitions, wanted["tt.positions"].settings["cleanup.policy"]) == (1, "compact")


def test_nothing_to_do_when_all_is_as_wanted() -> None:
    assert topics.plan(CONFIG, as_found(CONFIG)) == topics.TopicPlan()


def test_another_partition_count_is_named_with_what_mends_it() -> None:
    found = as_found(dataclasses.replace(CONFIG, partitions=12))
    plan = topics.plan(CONFIG, found)
    assert [each.topic for each in plan.misfits] == [name for name in found if name != "tt.positions"]
    assert "tt.ticks: partitions is 12, configured 6" in str(plan.misfits[0])
    assert "[kafka] partitions = 12" in str(plan.misfits[0])


@pytest.mark.parametrize(
    ("setting", "found", "fits"),
    [
        ("max.message.bytes", "1048588", False),
        ("max.message.bytes", "99999999", True),
        ("cleanup.policy", "compact", False),
        ("retention.ms", "5", True),
    ],
)
def test_a_setting_that_differs_is_named_with_the_statement(setting: str, found: str, fits: bool) -> None:
    existing = as_found(CONFIG)
    ticks = existing["tt.ticks"]
    existing["tt.ticks"] = dataclasses.replace(ticks, settings={**ticks.settings, setting: found})
    (difference,) = topics.plan(CONFIG, existing).differences
    assert (difference.what, difference.fits) == (setting, fits)
    assert f"--entity-name tt.ticks --add-config {setting}={ticks.settings[setting]}" in difference.statement


@pytest.mark.kafka
async def test_missing_topics_are_made_as_wanted(kafka_bootstrap: str) -> None:
    config = KafkaConfig(kafka_bootstrap, topic_prefix="made", partitions=3)
    plan = topics.plan(config, await topics.describe(config))
    assert len(plan.missing) == 10
    await topics.create(config, plan.missing[:4])
    await topics.create(config, plan.missing)  # those that exist by now are no error
    found = await topics.describe(config)
    assert len(found["made.ticks"].settings) == 4
    assert topics.plan(config, found) == topics.TopicPlan()
    assert topics.plan(dataclasses.replace(config, partitions=4), found).misfits


@pytest.mark.kafka
async def test_a_refused_topic_says_why(kafka_bootstrap: str) -> None:
    config = KafkaConfig(kafka_bootstrap, topic_prefix="refused", replication_factor=9)
    with pytest.raises(TopicNotCreated, match=r"topic refused\.ticks: .*replication"):
        await topics.create(config, topics.wanted_topics(config)[:1])


async def test_no_kafka_is_said_in_one_line() -> None:
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1 ") as error:
        await topics.describe(KafkaConfig("127.0.0.1:1"))
    assert error.value.retriable
