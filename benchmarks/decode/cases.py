"""The cases: which bytes, who reads them, and the least that ours must be faster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.decode import ours, peers
from benchmarks.decode.columns import Reader, check_equal
from benchmarks.decode.corpus import (
    Corpus,
    Sender,
    flow_replies,
    longport_flow_replies,
    longport_pushes,
    reversed_fields,
    with_repeats,
)
from codec.clock import MarketClock
from codec.longport.protocol import PUSH_HEADER_BYTES, RESPONSE_HEADER_BYTES
from codec.opend.decoder import OpenDDecoder
from codec.symbols import SymbolTable

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    """Another reader. It gets the first `frames` of the corpus: a pass takes it about a tenth of a second."""

    name: str
    floor: float
    frames: int
    make: Callable[[list[bytes]], Reader]


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes, our reader of all of them, and peers that read their beginning."""

    name: str
    corpus: Corpus
    ours: Callable[[Corpus], Reader]
    peers: tuple[Peer, ...]
    header_bytes: int = 44
    unit: str = "ticks"

    def readers(self, peer: Peer) -> tuple[Reader, Reader, int]:
        """Ours of the whole corpus and theirs of its beginning, found to agree; and the rows of the beginning."""
        beginning = self.corpus.first(peer.frames)
        theirs = peer.make(beginning.bodies(peer.frames, self.header_bytes))
        mine = self.ours(beginning)
        mine.prepare()
        check_equal(self.name, peer.name, mine.columns(), theirs.columns())
        return self.ours(self.corpus), theirs, beginning.tick_count


@dataclass(slots=True)
class Corpora:
    """Made from a seed when they are first asked for: all tick frames together have at least 64 MB."""

    seed: int = 1
    corpus_bytes: int = 18 * _MIB
    """The least of each of the four corpora of tick frames."""
    _sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        self._sender = Sender(self.seed)

    def cases(self) -> list[Case]:
        """All of them; the corpora are made here."""
        push_1, push_10 = self._sender.pushes(1, self.corpus_bytes), self._sender.pushes(10, self.corpus_bytes)
        pull_1000 = self._sender.pulls(1000, self.corpus_bytes)
        general = reversed_fields(push_10.first(12_000))
        repeating = with_repeats(push_10.first(8_000), self.seed)
        ticks = ours.Ticks.opend
        upb, pulled_upb = peers.Upb, functools.partial(peers.Upb, pulled=True)
        futu, pulled_futu = functools.partial(peers.Futu, pulled=False), functools.partial(peers.Futu, pulled=True)
        return [
            Case(
                "opend_push_1",
                push_1,
                ticks,
                (
                    Peer("ptars", 12, 60_000, peers.Ptars),
                    Peer("upb", 60, 30_000, upb),
                    Peer("futu", 5000, 300, futu),
                ),
            ),
            Case(
                "opend_push_10",
                push_10,
                ticks,
                (Peer("ptars", 6, 12_000, peers.Ptars), Peer("upb", 30, 6_000, upb), Peer("futu", 800, 200, futu)),
            ),
            Case(
                "opend_pull_1000",
                pull_1000,
                ticks,
                (
                    Peer("ptars", 6, 120, peers.Ptars),
                    Peer("upb", 30, 60, pulled_upb),
                    Peer("futu", 250, 8, pulled_futu),
                ),
            ),
            Case("opend_general", general, ticks, (Peer("ptars", 3.5, 12_000, peers.Ptars),)),
            Case("opend_whole", repeating, _fresh, (Peer("upb", 20, 6_000, peers.UpbFresh),)),
            Case("opend_sha1", repeating, _fresh_checked, (Peer("upb", 5, 6_000, peers.UpbFresh),)),
            Case("bytes_to_record", push_10.first(8_000), _records, (Peer("upb", 10, 4_000, peers.UpbRecords),)),
            *(
                Case(
                    f"longport_push_{each}",
                    longport_pushes(self.seed, each, self.corpus_bytes // 3),
                    ours.Ticks.longport,
                    (Peer("upb", 20, 60_000 // each, peers.UpbLongport),),
                    header_bytes=PUSH_HEADER_BYTES,
                )
                for each in (1, 20)
            ),
            Case(
                "flow_331",
                flow_replies(self.seed, max(1, self.corpus_bytes // (90 << 10))),
                functools.partial(ours.Flows, longport=False),
                (Peer("upb", 15, 200, peers.UpbFlows),),
                unit="lines",
            ),
            Case(
                "longport_flow_330",
                longport_flow_replies(self.seed, max(1, self.corpus_bytes // (60 << 10))),
                functools.partial(ours.Flows, longport=True),
                (Peer("upb", 15, 300, peers.UpbLongportFlows),),
                header_bytes=RESPONSE_HEADER_BYTES,
                unit="lines",
            ),
        ]

    def one_frame(self) -> Corpus:
        """A single push of a single tick."""
        return self._sender.pushes(1, 1)


def _decoder(*, checks_sha1: bool) -> OpenDDecoder:
    return OpenDDecoder(SymbolTable(ours.PARTITIONS), MarketClock(), checks_sha1=checks_sha1)


def _fresh(corpus: Corpus) -> ours.FreshTicks:
    return ours.FreshTicks(corpus, _decoder(checks_sha1=False))


def _fresh_checked(corpus: Corpus) -> ours.FreshTicks:
    return ours.FreshTicks(corpus, _decoder(checks_sha1=True))


def _records(corpus: Corpus) -> ours.Records:
    return ours.Records(corpus, _decoder(checks_sha1=False))
