"""Partitions as Kafka's own clients place a record whose key is the symbol."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from codec.partition import murmur2, partition_of
from tests.codec import strategies as drawn
from tests.codec.examples import examples


@examples(300)
@given(data=st.binary(max_size=70))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


@examples(200)
@given(code=drawn.codes, partition_count=st.integers(1, 100))
def test_partitions_are_those_of_the_default_partitioner(code: str, partition_count: int) -> None:
    symbol, every = f"US.{code}", list(range(partition_count))
    assert partition_of(symbol, partition_count) == DefaultPartitioner()(symbol.encode(), every, every)


@pytest.mark.parametrize(("symbol", "hashed"), [("21", -973932308), ("foobar", -790332482), ("abc", 479470107)])
def test_values_of_kafkas_own_tests(symbol: str, hashed: int) -> None:
    """org.apache.kafka.common.utils.UtilsTest.testMurmur2"""
    assert murmur2(symbol.encode()) == hashed & 0xFFFFFFFF
