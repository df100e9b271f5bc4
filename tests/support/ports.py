"""Ports that stay free while the server behind them is dead."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_FIRST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS = 1000


def steady_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now, below those that the system gives to outgoing connections.

    Such a connection would otherwise take the port of a server that is being started again, or, trying
    to reach it, connect to itself.
    """
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for _ in range(_ATTEMPTS):
            if len(ports) == count:
                return ports
            port = random.randrange(_FIRST, end)
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
    raise RuntimeError(f"no {count} free ports from {_FIRST} to {end}")
