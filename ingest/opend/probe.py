"""A one-shot visit to an OpenD: does it answer, is it logged in, what may we subscribe?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import Message

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.errors import TicktapeError
from codec.opend.decoder import OpenDDecoder
from codec.opend.protocol import ProtoId
from codec.symbols import SymbolTable
from ingest.opend.encryption import PLAIN, WireMode
from ingest.opend.events import Closed, Failed, Ready, Replied
from ingest.opend.gateway_state import GatewayState
from ingest.opend.remedies import Ailment
from ingest.opend.rights import Rights
from ingest.opend.session import OpenDSession
from ingest.opend.streams import Stream, open_stream
from protos.opend import global_state_pb2, subscription_pb2, user_info_pb2

_READ_BYTES = 64 << 10


class GatewayUnreachable(TicktapeError):
    """The gateway did not answer as an OpenD does."""

    retriable = True


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What one visit learned.

    Attributes
    ----------
    quote_logged_in : whether OpenD has its own login to the quote servers
    ailment : what keeps it from sending ticks, with the remedy
    rights : what the login may see; empty when OpenD does not say
    quota_used, quota_left : subscription units of this login, over all its connections
    round_trip_s : of GetGlobalState
    """

    server_version: int
    login_user_id: int
    quote_logged_in: bool
    ailment: Ailment | None
    rights: Rights
    quota_used: int
    quota_left: int
    round_trip_s: float


async def probe_gateway(host: str, port: int, timeout_s: float = 5.0, *, wire: WireMode = PLAIN) -> ProbeReport:
    """Connect, ask for the global state, the login's rights and its subscription quota, and leave.

    Raises
    ------
    GatewayUnreachable
        No connection, no answer within `timeout_s`, a refusal, or something that is no OpenD.
    """
    try:
        async with asyncio.timeout(timeout_s):
            stream = await open_stream(host, port, wire)
            try:
                return await _visit(stream, wire)
            finally:
                stream.abort()
    except TimeoutError:
        raise GatewayUnreachable(
            f"{host}:{port} did not answer as an OpenD within {timeout_s:g} s; {wire.hint}"
        ) from None
    except OSError as error:
        raise GatewayUnreachable(f"cannot connect to {host}:{port}: {error.strerror or error}") from error


async def _visit(stream: Stream, wire: WireMode) -> ProbeReport:
    decoder = OpenDDecoder(SymbolTable(1), MarketClock(), checks_sha1=wire.has_sha1)
    session = OpenDSession(decoder, now_ns=time.monotonic_ns(), wire=wire)
    ticks, waiting = TickBuffer(1), b""
    ready: Ready | None = None
    replies: dict[ProtoId, Message] = {}
    unanswered = {ProtoId.GET_GLOBAL_STATE, ProtoId.GET_USER_INFO, ProtoId.GET_SUB_INFO}
    asked_s = 0.0
    while unanswered:
        stream.write(session.take_outgoing())
        chunk = await stream.read(_READ_BYTES)
        if not chunk:
            raise GatewayUnreachable(f"the gateway closed the connection during the greeting; {wire.hint}")
        waiting += chunk
        source = np.frombuffer(bytearray(waiting + bytes(PAD_BYTES)), np.uint8)
        now_ns = time.monotonic_ns()
        received = session.receive(source, 0, len(waiting), now_ns=now_ns, recv_ns=time.time_ns(), ticks=ticks)
        waiting = waiting[received.consumed :]
        for event in received.events:
            match event:
                case Ready():
                    ready, asked_s = event, time.monotonic()
                    state = global_state_pb2.GetGlobalStateC2S(userID=event.login_user_id)
                    session.request(ProtoId.GET_GLOBAL_STATE, global_state_pb2.GetGlobalStateRequest(c2s=state), now_ns)
                    user = user_info_pb2.GetUserInfoC2S()
                    session.request(ProtoId.GET_USER_INFO, user_info_pb2.GetUserInfoRequest(c2s=user), now_ns)
                    quota = subscription_pb2.GetSubInfoC2S(isReqAllConn=True)
                    session.request(ProtoId.GET_SUB_INFO, subscription_pb2.GetSubInfoRequest(c2s=quota), now_ns)
                case Replied():
                    replies[event.proto_id] = event.reply
                    unanswered.discard(event.proto_id)
                case Failed(proto_id=ProtoId.GET_USER_INFO):
                    unanswered.discard(ProtoId.GET_USER_INFO)
                case Failed():
                    raise GatewayUnreachable(f"{ProtoId(event.proto_id).name} failed: {event.text}")
                case Closed():
                    raise GatewayUnreachable(event.reason)
                case _:
                    pass
    assert ready is not None
    state_reply, quota_reply = replies[ProtoId.GET_GLOBAL_STATE], replies[ProtoId.GET_SUB_INFO]
    user_reply = replies.get(ProtoId.GET_USER_INFO)
    assert isinstance(state_reply, global_state_pb2.GetGlobalStateResponse)
    assert isinstance(quota_reply, subscription_pb2.GetSubInfoResponse)
    assert isinstance(user_reply, user_info_pb2.GetUserInfoResponse | None)
    told = GatewayState()
    told.global_state(state_reply.s2c)
    return ProbeReport(
        server_version=ready.server_version,
        login_user_id=ready.login_user_id,
        quote_logged_in=told.logged_in,
        ailment=told.trouble,
        rights=Rights.of(user_reply.s2c) if user_reply is not None else Rights(),
        quota_used=quota_reply.s2c.totalUsedQuota,
        quota_left=quota_reply.s2c.remainQuota,
        round_trip_s=time.monotonic() - asked_s,
    )
