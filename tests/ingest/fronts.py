"""What OpenD's WebSocket front sends, and one that does what a test says, on a real socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from codec.opend.protocol import HEADER_BYTES, ProtoId
from codec.opend.websocket_packets import REPLY_HEADER, REQUEST_HEADER, SIGN, Command
from protos.opend import init_web_socket_pb2
from tests.ingest import wire

CONNECTION_ID, USER_ID = 77, 5


def packet(command: int, section: int, body: bytes = b"", error: int = 0, text: str = "") -> bytes:
    """A reply or a push."""
    return REPLY_HEADER.pack(SIGN, command, section, error, text.encode()) + body


def packed(frame: bytes, section: int) -> bytes:
    """A frame as the front sends it."""
    [(proto_id, _, body)] = wire.read_frames(frame)[0]
    return packet(proto_id, section, body)


def unpacked(request: bytes) -> tuple[int, int, bytes]:
    """Command, section and body of a request."""
    sign, command, section = REQUEST_HEADER.unpack_from(request)
    assert sign == SIGN
    return command, section, request[REQUEST_HEADER.size :]


def greeting(section: int) -> bytes:
    """The answer to a key that is right."""
    s2c = init_web_socket_pb2.InitWebSocketS2C(serverTime=wire.START_S, connID=CONNECTION_ID)
    response = init_web_socket_pb2.InitWebSocketResponse(retType=0, s2c=s2c)
    return packet(Command.INIT, section, response.SerializeToString())


def answer(command: int, section: int) -> bytes:
    """What a sound front answers to all that a gateway asks but for ticks."""
    match command:
        case Command.INIT:
            return greeting(section)
        case ProtoId.GET_USER_INFO:
            return packed(wire.user_frame(0, {"userID": USER_ID}), section)
        case ProtoId.GET_GLOBAL_STATE:
            return packed(wire.state_frame(0), section)
        case ProtoId.GET_SUB_INFO:
            return packed(wire.quota_frame(0, 0, 100), section)
        case ProtoId.SUB:
            return packed(wire.subscribed_frame(0), section)
    return packet(command, section, wire.refusal_frame(command, 0, "not now")[HEADER_BYTES:])


Answers = Callable[[ServerConnection, int, int, bytes], Awaitable[bytes | None]]


@contextlib.asynccontextmanager
async def front(answers: Answers) -> AsyncIterator[str]:
    """The URL of a front that sends what `answers(peer, command, section, body)` gives."""

    async def talk(peer: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for request in peer:
                assert isinstance(request, bytes)
                command, section, body = unpacked(request)
                if (reply := await answers(peer, command, section, body)) is not None:
                    await peer.send(reply)

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        yield "ws://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
