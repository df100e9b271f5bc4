"""What may go wrong on purpose at the simulated LongPort, and pushes that come late or again."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ticktape.simulate.faults import DROP, DUPLICATE, LATE_STEPS_MAX, REORDER, SPLIT, STALL, Catalogue, Faults
from ticktape.simulate.longport_packets import Packets, dress

REGRESS, REUSE, UNSEQUENCED, DISCONNECT, MID_PACKET_CLOSE, CLOSE_PACKET, WS_CLOSE, EXPIRE = (
    "regress",
    "reuse",
    "unsequenced",
    "disconnect",
    "mid-packet-close",
    "close-packet",
    "ws-close",
    "expire",
)
GZIP, SIGN, SLOW_REPLY, RATE_LIMITED, SERVER_ERROR, COALESCE, AWAY = (
    "gzip",
    "sign",
    "slow-reply",
    "rate-limited",
    "server-error",
    "coalesce",
    "away",
)
LONGPORT_FAULTS = Catalogue(
    faults=MappingProxyType(
        {
            DUPLICATE: (
                0.05,
                "share of pushes that come again a little later; none without a sequence",
            ),
            DROP: (0.02, "share of pushes that do not come: only pulls have their trades"),
            REORDER: (0.01, "share of pushes that come up to 40 steps late, behind newer ones of their symbol"),
            REGRESS: (0.5, "symbols whose sequences start again lower, a second"),
            REUSE: (0.005, "share of pushes that have the sequence of an earlier one with other trades"),
            UNSEQUENCED: (0.02, "share of pushes with sequence 0"),
            GZIP: (0.1, "share of pushes and answers that are compressed"),
            SIGN: (0.1, "share of pushes and answers with a trailer behind them"),
            SPLIT: (0.05, "share of writes followed by a pause; all are cut at odd places"),
            COALESCE: (0.2, "seconds that everything sent waits, to go out at once"),
            SLOW_REPLY: (1.0, "seconds that the answer to a pull takes; pushes go on"),
            RATE_LIMITED: (0.05, "share of calls that are refused with 301606"),
            SERVER_ERROR: (0.05, "share of calls that fail with 301602"),
            DISCONNECT: (0.2, "connections closed without a word, a second"),
            MID_PACKET_CLOSE: (0.2, "connections closed in the middle of a packet, a second"),
            CLOSE_PACKET: (0.2, "connections closed with a close packet of any code, a second"),
            WS_CLOSE: (0.2, "WebSocket connections closed with a close code, a second"),
            EXPIRE: (0.05, "ends of every session, a second: clients are told so, and must log in anew"),
            STALL: (0.005, "times a second that the links there are stay up, and nothing is sent on them for 40 s"),
            AWAY: (0.02, "times a second that the gateway is gone for 3 s: it closes all, and takes nobody"),
        }
    ),
    shares=frozenset({DUPLICATE, DROP, REORDER, REUSE, UNSEQUENCED, GZIP, SIGN, SPLIT, RATE_LIMITED, SERVER_ERROR}),
    lasting=(STALL, AWAY),
    plannable=(REORDER, REGRESS, DISCONNECT, MID_PACKET_CLOSE, CLOSE_PACKET, WS_CLOSE, EXPIRE, STALL, AWAY),
)


class LatePackets:
    """Pushes to send some steps later, again or for the first time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._step = 0
        self._waiting: list[tuple[int, bytes, int, int]] = []

    def choose(self, packets: Packets, share: float) -> NDArray[np.bool_]:
        """Keep a share of these packets in mind, chosen independently, but none without a sequence; which ones."""
        chosen: NDArray[np.bool_] = (self._rng.random(len(packets)) < share) & (packets.sequence != 0)
        for index in np.flatnonzero(chosen).tolist():
            due_step = self._step + int(self._rng.integers(1, LATE_STEPS_MAX + 1))
            symbol, sequence = int(packets.symbol[index]), int(packets.sequence[index])
            self._waiting.append((due_step, packets.packet(index), symbol, sequence))
        return chosen

    def due(self, *, all_of_them: bool = False) -> Packets:
        """What to push now, once a step."""
        self._step += 1
        due = [each for each in self._waiting if all_of_them or each[0] <= self._step]
        if due:
            self._waiting = [each for each in self._waiting if not (all_of_them or each[0] <= self._step)]
        _, packets, symbols, sequences = zip(*due, strict=True) if due else ((), (), (), ())
        return Packets.joined(packets, symbols, sequences)


def leave_out(packets: Packets, share: float, rng: np.random.Generator) -> Packets:
    """Without a share of them."""
    return packets.only(rng.random(len(packets)) >= share)


class Dresser:
    """Compresses and signs packets here and there."""

    def __init__(self, faults: Faults) -> None:
        self._gzip, self._sign = faults.strength.get(GZIP, 0.0), faults.strength.get(SIGN, 0.0)
        self._random = faults.random(GZIP)

    def packet(self, packet: bytes) -> bytes:
        """One packet, as it may travel."""
        compressed, signed = self._random.random() < self._gzip, self._random.random() < self._sign
        return dress(packet, self._random, compressed=compressed, signed=signed) if compressed or signed else packet

    def packets(self, packets: Packets) -> Packets:
        """Several."""
        if not self._gzip and not self._sign:
            return packets
        dressed = [self.packet(packets.packet(index)) for index in range(len(packets))]
        return Packets.joined(dressed, packets.symbol.tolist(), packets.sequence.tolist())
