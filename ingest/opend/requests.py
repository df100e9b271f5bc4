"""What is asked of an OpenD about symbols: the securities and how a request names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import Message

from codec.markets import Security as Security
from codec.opend.protocol import ProtoId, SessionChoice, SubType
from protos.opend import common_pb2, subscription_pb2, ticker_pb2

PULL_TICKS = 1000
"""OpenD gives no more (docs/protocols/opend.md 3.6)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A symbol whose ticks we want.

    Attributes
    ----------
    session : which sessions of a US symbol; None elsewhere, where there is one
    push : whether its ticks are pushed; else they are pulled again and again
    """

    security: Security
    session: SessionChoice | None = None
    push: bool = True


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request is for."""

    securities: tuple[Security, ...]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send; `ticket` is given back with its serial."""

    proto_id: ProtoId
    message: Message
    ticket: Ticket


def wire_security(security: Security) -> common_pb2.Security:
    """As the wire names it."""
    return common_pb2.Security(market=security[0], code=security[1])


def sub_request(securities: Iterable[Security], session: SessionChoice | None, push: bool) -> Message:
    """Subscribe to ticks; with `push` what is cached is pushed at once."""
    c2s = subscription_pb2.SubC2S(
        securityList=map(wire_security, securities),
        subTypeList=[SubType.TICKER],
        isSubOrUnSub=True,
        isRegOrUnRegPush=push,
        isFirstPush=push,
    )
    if session is not None:
        c2s.session = session
        c2s.extendedTime = session is not SessionChoice.RTH
    return subscription_pb2.SubRequest(c2s=c2s)


def unsub_request(securities: Iterable[Security]) -> Message:
    """Unsubscribe from ticks, and have no more of them pushed."""
    c2s = subscription_pb2.SubC2S(
        securityList=map(wire_security, securities),
        subTypeList=[SubType.TICKER],
        isSubOrUnSub=False,
        isRegOrUnRegPush=False,
    )
    return subscription_pb2.SubRequest(c2s=c2s)


def pull_request(security: Security) -> Message:
    """The newest ticks that the gateway holds."""
    c2s = ticker_pb2.GetTickerC2S(security=wire_security(security), maxRetNum=PULL_TICKS)
    return ticker_pb2.GetTickerRequest(c2s=c2s)
