"""Time strings in ticks: each byte of them, and how they are weighed against the timestamp."""

from __future__ import annotations

import datetime

import pytest

from codec.bits import JIT_DISABLED
from codec.markets import HK, US
from codec.opend import notes as n
from codec.opend.protocol import ProtoId, pack_frame
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.codec import wire
from tests.codec.feeding import read_chunks
from tests.codec.oracle import EPOCH, MICROSECOND, Reading, read_stream


def reading_of(market: int, texts: list[bytes], timestamp: float | None = None) -> tuple[Reading, bytes]:
    """What becomes of one tick for each text, and the stream that held them."""
    message = UpdateTickerResponse(retType=0)
    message.s2c.security.market, message.s2c.security.code = market, "X"
    stamp = b"" if timestamp is None else wire.double(11, timestamp)
    rest = wire.number(2, 1) + wire.number(3, 1) + wire.double(4, 1.0) + wire.number(5, 1) + wire.double(6, 1.0)
    listed = b"".join(wire.piece(2, wire.piece(1, text) + rest + stamp) for text in texts)
    body = wire.number(1, 0) + wire.piece(4, wire.piece(1, message.s2c.security.SerializeToString()) + listed)
    stream = pack_frame(ProtoId.UPDATE_TICKER, 1, body)
    return read_chunks([stream], capacity=len(texts)), stream


def utc_text(event_us: int) -> str:
    return f"{EPOCH + event_us * MICROSECOND:%Y-%m-%d %H:%M:%S.%f}"


@pytest.mark.parametrize(
    ("market", "text", "utc"),
    [
        (HK, "2026-11-20 09:30:00", "2026-11-20 01:30:00.000000"),
        (HK, "2026-11-20 09:30:00.123", "2026-11-20 01:30:00.123000"),
        (HK, "2026-11-20 09:30:59:999", "2026-11-20 01:30:59.999000"),
        (HK, "2024-02-29 00:00:00", "2024-02-28 16:00:00.000000"),
        (US, "2026-07-01 09:30:00", "2026-07-01 13:30:00.000000"),
        (US, "2026-12-01 09:30:00", "2026-12-01 14:30:00.000000"),
        (US, "2026-11-01 01:30:00", "2026-11-01 05:30:00.000000"),  # repeated: the first
        (US, "2026-03-08 02:30:00", "2026-03-08 07:30:00.000000"),  # skipped: the offset from before
        (HK, "1990-01-01 00:00:00", "1989-12-31 16:00:00.000000"),
        (HK, "2099-12-31 23:59:59.999", "2099-12-31 15:59:59.999000"),
    ],
)
def test_texts_are_read_on_the_markets_clocks(market: int, text: str, utc: str) -> None:
    (row,) = reading_of(market, [text.encode()])[0].rows
    assert utc_text(row.ts_event_us) == utc


@pytest.mark.parametrize(
    ("text", "timestamp", "utc", "disagrees"),
    [
        ("09:30:00", 1795138200.0, "01:30:00.000000", False),
        ("09:30:00.250", 1795138200.0, "01:30:00.250000", False),  # the text is finer
        ("09:30:00", 1795138200.25, "01:30:00.250000", False),  # the timestamp is
        ("09:30:00", 1795138201.0, "01:30:00.000000", False),  # one second is agreement
        ("09:30:00", 1795138202.0, "01:30:02.000000", True),
        ("17:30:00", 1795138200.0, "01:30:00.000000", True),
        ("09:30:00", 0.0, "01:30:00.000000", False),  # zero is absent
    ],
)
def test_text_and_timestamp_are_weighed(text: str, timestamp: float, utc: str, disagrees: bool) -> None:
    reading, _ = reading_of(HK, [f"2026-11-20 {text}".encode()], timestamp)
    assert utc_text(reading.rows[0].ts_event_us) == f"2026-11-20 {utc}"
    assert reading.counters[n.TIME_DISAGREEMENTS] == disagrees


def test_the_timestamp_tells_which_of_two_equal_hours_it_was() -> None:
    for hour, fold in ((5, 0), (6, 1)):
        instant = datetime.datetime(2026, 11, 1, hour, 30, tzinfo=datetime.UTC)
        reading, _ = reading_of(US, [b"2026-11-01 01:30:00.500"], instant.timestamp())
        assert utc_text(reading.rows[0].ts_event_us) == f"2026-11-01 0{5 + fold}:30:00.500000"
        assert reading.counters[n.TIME_DISAGREEMENTS] == 0


def test_a_text_of_nul_bytes_is_no_time() -> None:
    """The cache of the last minute begins with something that such a text does not equal."""
    reading, _ = reading_of(HK, [b"\0" * 16 + b":00"])
    assert not reading.rows


@pytest.mark.parametrize("text", [b"2026-11-20 09:30:00", b"2024-02-29 19:59:59.099", b"2024-12-31 23:00:10:980"])
@pytest.mark.parametrize("warm", [False, True], ids=["first of its minute", "minute known"])
def test_every_byte_of_a_text_with_every_other_value(text: bytes, warm: bool) -> None:
    """5,888 texts that differ from a good one in one byte: read as the oracle reads them, or refused."""
    values = (0x00, 0x20, *range(0x2C, 0x3C), 0xB0, 0xFA, 0xFF) if JIT_DISABLED else range(256)
    texts = [text[:at] + bytes([byte]) + text[at + 1 :] for at in range(len(text)) for byte in values]
    for begin in range(0, len(texts), 2000):
        some = texts[begin : begin + 2000]
        found, stream = reading_of(HK, [part for each in some for part in ([text, each] if warm else [each])])
        assert found == read_stream(stream)
