"""Which Kafka partition a symbol belongs to."""

from __future__ import annotations

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2, unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    length = len(data)
    mixed = (0x9747B28C ^ length) & _MASK
    whole = length - length % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * 0x5BD1E995 & _MASK
        word = (word ^ (word >> 24)) * 0x5BD1E995 & _MASK
        mixed = (mixed * 0x5BD1E995 & _MASK) ^ word
    tail = data[whole:]
    if tail:
        mixed = (mixed ^ int.from_bytes(tail, "little")) * 0x5BD1E995 & _MASK
    mixed = (mixed ^ (mixed >> 13)) * 0x5BD1E995 & _MASK
    return mixed ^ (mixed >> 15)


def partition_of(symbol: str, partition_count: int) -> int:
    """Where Kafka's default partitioner puts a record whose key is `symbol`."""
    return (murmur2(symbol.encode()) & 0x7FFFFFFF) % partition_count
