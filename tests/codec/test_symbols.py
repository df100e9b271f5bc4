"""Symbols: spellings, names, ids, and the table that kernels fill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from codec import symbols
from codec.bits import JIT_DISABLED, PAD_BYTES
from codec.markets import (
    CODE_BYTES_MAX,
    HK,
    MARKET_PREFIXES,
    SH,
    SZ,
    US,
    BadSymbol,
    normalize_symbol,
    parse_symbol,
    symbol_name,
)
from codec.partition import partition_of
from codec.symbols import BAD_CODE, SYMBOLS_MAX, TABLE_FULL, SymbolTable
from tests.codec import strategies as drawn
from tests.codec.examples import examples
from tests.codec.oracle import FrameRefused, symbol_of


@pytest.mark.parametrize(
    ("text", "market", "code"),
    [
        ("HK.00700", HK, "00700"),
        ("HK.700", HK, "00700"),
        ("700.HK", HK, "00700"),
        ("hk.700", HK, "00700"),
        (" US.AAPL ", US, "AAPL"),
        ("AAPL.US", US, "AAPL"),
        ("US..DJI", US, ".DJI"),
        (".DJI.US", US, ".DJI"),
        ("US.BRK.B", US, "BRK.B"),
        ("BRK.B.US", US, "BRK.B"),
        ("SH.600519", SH, "600519"),
        ("000001.SZ", SZ, "000001"),
        ("US.HK", US, "HK"),
        ("US.AAPL261120C00190000", US, "AAPL261120C00190000"),
        ("HK.TCH261230C500000", HK, "TCH261230C500000"),
        ("HK_FUTURE.HSImain", 2, "HSImain"),
        ("CC.BTCUSD", 91, "BTCUSD"),
        ("MARKET300.X.US", 300, "X.US"),
    ],
)
def test_spellings(text: str, market: int, code: str) -> None:
    assert parse_symbol(text) == (market, code)
    assert parse_symbol(normalize_symbol(text)) == (market, code)


@pytest.mark.parametrize("text", ["", "AAPL", "XX.AAPL", "US.", ".US", "US.A B", "US.港", "US." + "X" * 65, "US.A\x7f"])
def test_texts_that_name_no_symbol(text: str) -> None:
    with pytest.raises(BadSymbol):
        parse_symbol(text)


@examples(300)
@given(market=drawn.markets, code=drawn.codes)
def test_a_name_is_read_back_as_what_it_names(market: int, code: str) -> None:
    """Unlisted markets too: windows are restored by name."""
    name = symbol_name(market, code)
    assert symbol_name(*parse_symbol(name)) == name
    assert name == symbol_of(market, code.encode())


def test_each_market_has_its_own_prefix() -> None:
    assert len(set(MARKET_PREFIXES.values())) == len(MARKET_PREFIXES)


def intern(table: SymbolTable, market: int, code: bytes, behind: bytes = b"\xff") -> int:
    """By the kernel, with other bytes behind the code."""
    source = np.frombuffer(bytearray(code + behind * PAD_BYTES), np.uint8)
    return int(symbols.intern(source, 0, len(code), market, *table.arrays))


@examples(200)
@given(
    securities=st.lists(st.tuples(drawn.markets, st.one_of(drawn.codes.map(str.encode), drawn.bad_codes)), max_size=40)
)
def test_equal_securities_get_one_id_and_different_ones_two(securities: list[tuple[int, bytes]]) -> None:
    table, ids = SymbolTable(12), dict[tuple[int, bytes], int]()
    for security in securities + securities:
        try:
            name = symbol_of(*security)
        except FrameRefused:
            assert intern(table, *security) == BAD_CODE
            continue
        id_ = intern(table, *security)
        table.resolve()
        assert table.names[id_] == name
        id_ = intern(table, *security)  # by now the older one of two spellings
        assert ids.setdefault(security, id_) == id_
        assert table.partitions[id_] == partition_of(name, 12)
    assert len({table.names[id_] for id_ in ids.values()}) == len(set(ids.values()))


def test_a_code_is_compared_to_its_last_byte() -> None:
    table = SymbolTable(1)
    codes = [b"A" * size + last for size in range(20) for last in (b"", b"B", b"C") if size or last]
    ids = [intern(table, US, code) for code in codes]
    assert len(set(ids)) == len(codes)
    assert [intern(table, US, code, behind) for code in codes for behind in (b"A", b"\0")] == [
        id_ for id_ in ids for _ in range(2)
    ]
    assert intern(table, HK, b"AB") not in ids


def home_slots(words: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """Where `intern` begins to look for US codes of `size` <= 8 bytes, each a little-endian word."""

    def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (values ^ (values >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)

    digests = mixed(np.uint64(US + (size << 32)) ^ words)
    return mixed(digests) >> np.uint64(40) & np.uint64(4 * SYMBOLS_MAX - 1)


@pytest.mark.parametrize("at", range(6))
def test_codes_of_one_slot_that_differ_in_one_byte(at: int) -> None:
    """Only a comparison of every byte tells them apart."""
    size = 6
    codes = np.random.default_rng(at).integers(ord("A"), ord("Y"), (1 << 21, size), np.uint8)
    others = codes.copy()
    others[:, at] += 1
    words, other_words = (
        np.ascontiguousarray(np.pad(each, ((0, 0), (0, 8 - size)))).view(np.uint64)[:, 0] for each in (codes, others)
    )
    places = np.flatnonzero(home_slots(words, size) == home_slots(other_words, size))
    assert len(places) > 0
    for place in places.tolist():
        table = SymbolTable(1)
        first, second = codes[place].tobytes(), others[place].tobytes()
        assert [intern(table, US, code) for code in (first, second, first, second)] == [0, 1, 0, 1]
        assert table.slots.argmax() in home_slots(words[place : place + 1], size) + np.arange(2)


def test_two_spellings_of_one_symbol_become_the_older_id() -> None:
    table = SymbolTable(4)
    first, second = intern(table, HK, b"700"), intern(table, HK, b"00700")
    assert first != second
    assert table.resolve() == range(2)
    assert table.names == ["HK.00700"] * 2
    assert intern(table, HK, b"00700") == intern(table, HK, b"700") == table.id_of(HK, "00700") == first
    ids = np.array([second, first, second], np.int32)
    table.canonicalize(ids)
    assert ids.tolist() == [first] * 3
    assert table.resolve() == range(2, 2)


@pytest.mark.parametrize("code", ["", "X" * (CODE_BYTES_MAX + 1), "A B"])
def test_a_bad_code_has_no_id(code: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        SymbolTable(1).id_of(US, code)


@pytest.mark.skipif(JIT_DISABLED, reason="65,536 symbols take a minute as plain Python")
def test_a_full_table_knows_what_it_holds_and_takes_no_more() -> None:
    table = SymbolTable(7)
    for number in range(SYMBOLS_MAX):
        assert intern(table, US, b"%d" % number) == number
    assert intern(table, US, b"x") == TABLE_FULL
    assert intern(table, US, b" ") == BAD_CODE
    assert len(table.resolve()) == SYMBOLS_MAX
    assert [intern(table, US, b"%d" % number) for number in (0, 4711, SYMBOLS_MAX - 1)] == [0, 4711, SYMBOLS_MAX - 1]
    with pytest.raises(ValueError, match="no id"):
        table.id_of(HK, "1")


@pytest.mark.skipif(JIT_DISABLED, reason="16,384 symbols take long as plain Python")
def test_long_codes_fill_the_table_before_its_ids_run_out() -> None:
    table = SymbolTable(1)
    ids = [intern(table, US, b"%064d" % number) for number in range(SYMBOLS_MAX // 4 + 1)]
    assert ids == [*range(SYMBOLS_MAX // 4), TABLE_FULL]
