"""Which pushes a step of the simulated LongPort sends, with faults: late, again, not at all, under odd sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.longport.protocol import PUSH_HEADER_BYTES, Command
from protos.longport.trade_pb2 import PushTrade
from ticktape.simulate.faults import DROP, DUPLICATE, REORDER, Faults
from ticktape.simulate.longport_faults import REUSE, UNSEQUENCED, LatePackets, leave_out
from ticktape.simulate.longport_packets import Packets, pack_push
from ticktape.simulate.longport_trades import TradeEncoder
from ticktape.simulate.tick_store import Spans


class Pushes:
    """Makes the packets of each step.

    Attributes
    ----------
    repeats : pushes that were pushed again
    """

    def __init__(self, encoder: TradeEncoder, faults: Faults) -> None:
        self._encoder, self._faults = encoder, faults
        self._late, self._again = LatePackets(self._rng(REORDER)), LatePackets(self._rng(DUPLICATE))
        self._draws = {fault: self._rng(fault) for fault in (DROP, REUSE, UNSEQUENCED)}
        self._reusable: dict[int, PushTrade] = {}
        self.repeats = 0

    def of(self, spans: Spans) -> Packets:
        """The pushes of these trades that go out now."""
        packets = self._encoder.pushes(spans, self._drawn(UNSEQUENCED, self._encoder.pushes_of(spans)))
        reusing = self._drawn(REUSE, len(packets))
        if reusing is not None:
            packets = self._reused(packets, reusing)
        if DROP in self._faults:
            packets = leave_out(packets, self._faults.strength[DROP], self._draws[DROP])
        if share := self._faults.share(REORDER):
            packets = packets.only(~self._late.choose(packets, share))
        if DUPLICATE in self._faults:
            self.repeats += int(self._again.choose(packets, self._faults.strength[DUPLICATE]).sum())
        return packets

    def due(self, *, all_of_them: bool = False) -> Packets:
        """What was to come late and what is to come again, once a step."""
        late, again = self._late.due(all_of_them=all_of_them), self._again.due(all_of_them=all_of_them)
        if not len(again):
            return late
        both = [each.packet(index) for each in (late, again) for index in range(len(each))]
        return Packets.joined(both, [*late.symbol, *again.symbol], [*late.sequence, *again.sequence])

    def _reused(self, packets: Packets, reusing: NDArray[np.bool_]) -> Packets:
        """Some get the sequence of the push before, of their symbol, provided that they hold other trades."""
        made, sequences = [], packets.sequence.copy()
        for index, symbol in enumerate(packets.symbol.tolist()):
            packet = packets.packet(index)
            push = PushTrade.FromString(packet[PUSH_HEADER_BYTES:])
            earlier = self._reusable.pop(symbol, None)
            if reusing[index] and push.sequence and earlier is not None and earlier.trade != push.trade:
                sequences[index] = push.sequence = earlier.sequence
                packet = pack_push(Command.PUSH_TRADE, push.SerializeToString())
                self._faults.struck[REUSE] += 1
            elif push.sequence:
                self._reusable[symbol] = push
            made.append(packet)
        return Packets.joined(made, packets.symbol.tolist(), sequences.tolist())

    def _drawn(self, fault: str, packets: int) -> NDArray[np.bool_] | None:
        """(packets,) which ones a share strikes; None when the fault is off."""
        if fault not in self._faults:
            return None
        drawn: NDArray[Any] = self._draws[fault].random(packets) < self._faults.strength[fault]
        return drawn

    def _rng(self, fault: str) -> np.random.Generator:
        return np.random.default_rng(self._faults.random(fault).getrandbits(64))
