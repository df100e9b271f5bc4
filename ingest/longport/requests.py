"""What is asked of LongPort about symbols, and how a request names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import Message

from codec.longport.protocol import Command
from codec.longport.wire_symbols import wire_symbol
from codec.markets import Security
from protos.longport import capital_flow_pb2, subscription_pb2, trade_pb2

PULL_TRADES = 1000
"""LongPort gives no more (docs/protocols/longport.md 4)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send."""

    command: Command
    message: Message


def spell(security: Security) -> str:
    """As the wire names it; whoever asks has seen that LongPort can spell it."""
    spelled = wire_symbol(*security)
    assert spelled is not None, security
    return spelled


def subscribe_request(securities: Iterable[Security]) -> Request:
    """Have the trades of these pushed. There is no first push of trades to ask for."""
    message = subscription_pb2.SubscribeRequest(symbol=map(spell, securities), sub_type=[subscription_pb2.TRADE])
    return Request(Command.SUBSCRIBE, message)


def unsubscribe_request(securities: Iterable[Security]) -> Request:
    """Have no more of them pushed."""
    message = subscription_pb2.UnsubscribeRequest(symbol=map(spell, securities), sub_type=[subscription_pb2.TRADE])
    return Request(Command.UNSUBSCRIBE, message)


def pull_request(security: Security) -> Request:
    """The newest trades that the gateway holds."""
    message = trade_pb2.SecurityTradeRequest(symbol=spell(security), count=PULL_TRADES)
    return Request(Command.QUERY_TRADE, message)


def poll_request(command: Command, security: Security) -> Request:
    """Capital flow, or its distribution."""
    if command is Command.QUERY_CAPITAL_FLOW_INTRADAY:
        return Request(command, capital_flow_pb2.CapitalFlowIntradayRequest(symbol=spell(security)))
    return Request(command, capital_flow_pb2.SecurityRequest(symbol=spell(security)))
