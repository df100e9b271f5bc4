"""Ports that a simulator is to listen on."""

from __future__ import annotations

import errno

from codec.errors import TicktapeError


class PortUnavailable(TicktapeError):
    """The address is taken or not ours."""

    def __init__(self, host: str, port: int, error: OSError, option: str = "--port") -> None:
        why = "the port is in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
        super().__init__(f"cannot listen on {host}:{port}: {why}; choose another with {option}")
