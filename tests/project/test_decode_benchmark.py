"""The decode benchmark without its clock: every reader gets the same bytes and must hand over the same columns."""

from __future__ import annotations

import pytest

from benchmarks.decode.cases import Case, Corpora, Peer
from benchmarks.decode.columns import Different, check_equal

CASES = Corpora(seed=7, corpus_bytes=200_000).cases()
PAIRS = [(case, peer) for case in CASES for peer in case.peers]


@pytest.mark.sdk
@pytest.mark.parametrize(("case", "peer"), PAIRS, ids=[f"{case.name}-{peer.name}" for case, peer in PAIRS])
def test_ours_and_each_peer_agree(case: Case, peer: Peer) -> None:
    mine, theirs, rows = case.readers(peer)
    assert 0 < rows <= case.corpus.tick_count
    for reader in (mine, theirs):
        reader.prepare()
        reader.read()


def test_a_difference_is_told_with_its_place() -> None:
    case, peer = PAIRS[1]
    columns = dict(case.ours(case.corpus).columns())
    changed = {**columns, "price": columns["price"].copy()}
    changed["price"][3] += 0.01
    with pytest.raises(Different, match="column price differs from ours at row 3"):
        check_equal(case.name, peer.name, columns, changed)


def test_the_same_seed_makes_the_same_bytes() -> None:
    again = Corpora(seed=7, corpus_bytes=200_000).cases()
    assert [case.corpus.data.tobytes() for case in again] == [case.corpus.data.tobytes() for case in CASES]
