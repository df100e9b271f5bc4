"""A request on a connection that has closed a moment ago fails as one on a broken connection does.

uvloop raises RuntimeError for it, where asyncio's own loop says nothing. aiokafka takes that for a
mistake of its own: the routine that keeps a consumer in its group ends, for good and without a word
to the group.
"""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def install() -> None:
    """Let it be so for every client of this process."""
    AIOKafkaConnection.send = _send_or_lose


def _send_or_lose(connection: AIOKafkaConnection, *arguments: Any, **options: Any) -> Any:
    try:
        return _send(connection, *arguments, **options)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} has closed: {error}") from error
