"""Messages that are whole packets, and the first one that is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.conditions import ConditionTable
from codec.longport.decoder import LongportDecoder, Refused
from codec.longport.messages import whole_messages
from codec.symbols import SymbolTable
from tests.codec.longport import packing
from tests.codec.longport.feeding import padded

packets = st.one_of(
    st.builds(packing.push, st.binary(max_size=300), st.just(1), signed=st.booleans(), compressed=st.booleans()),
    st.builds(packing.response, st.binary(max_size=30), st.just(2), signed=st.booleans()),
    st.builds(packing.request, st.binary(max_size=30), st.just(1)),
)
whole = st.lists(packets, max_size=3).map(b"".join)
ragged = st.one_of(
    st.tuples(whole, packets, st.integers(1, 400)).map(lambda drawn: drawn[0] + drawn[1][: -drawn[2]]),
    st.tuples(whole, st.binary(min_size=1, max_size=20)).map(b"".join),
)


def says_whole(message: bytes) -> bool:
    """What the decoder makes of a message alone: it refuses the part that is no whole packet."""
    decoder = LongportDecoder(SymbolTable(1), ConditionTable(), MarketClock())
    notes = decoder.decode_message(padded(message), 0, len(message), 0, TickBuffer(100)).notes
    torn = ("the message is cut off", "a packet begins with")
    return not any(isinstance(note, Refused) and note.detail.startswith(torn) for note in notes)


@given(messages=st.lists(st.one_of(whole, whole, ragged), max_size=6), before=st.binary(max_size=9))
def test_the_first_message_that_is_not_whole_packets(messages: list[bytes], before: bytes) -> None:
    source = padded(before + b"".join(messages))
    ends = len(before) + np.cumsum([len(message) for message in messages], dtype=np.int64)
    expected = next((index for index, message in enumerate(messages) if not says_whole(message)), len(messages))
    assert whole_messages(source, len(before), ends, 0) == expected
    if expected < len(messages):
        assert whole_messages(source, int(ends[expected]), ends, expected + 1) > expected
