from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TradeSession(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMAL_TRADE: _ClassVar[TradeSession]
    PRE_TRADE: _ClassVar[TradeSession]
    POST_TRADE: _ClassVar[TradeSession]
    OVERNIGHT_TRADE: _ClassVar[TradeSession]
NORMAL_TRADE: TradeSession
PRE_TRADE: TradeSession
POST_TRADE: TradeSession
OVERNIGHT_TRADE: TradeSession

class Trade(_message.Message):
    __slots__ = ("price", "volume", "timestamp", "trade_type", "direction", "trade_session")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TRADE_TYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    TRADE_SESSION_FIELD_NUMBER: _ClassVar[int]
    price: str
    volume: int
    timestamp: int
    trade_type: str
    direction: int
    trade_session: TradeSession
    def __init__(self, price: _Optional[str] = ..., volume: _Optional[int] = ..., timestamp: _Optional[int] = ..., trade_type: _Optional[str] = ..., direction: _Optional[int] = ..., trade_session: _Optional[_Union[TradeSession, str]] = ...) -> None: ...

class PushTrade(_message.Message):
    __slots__ = ("symbol", "sequence", "trade")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TRADE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    sequence: int
    trade: _containers.RepeatedCompositeFieldContainer[Trade]
    def __init__(self, symbol: _Optional[str] = ..., sequence: _Optional[int] = ..., trade: _Optional[_Iterable[_Union[Trade, _Mapping]]] = ...) -> None: ...

class SecurityTradeRequest(_message.Message):
    __slots__ = ("symbol", "count")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    count: int
    def __init__(self, symbol: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class SecurityTradeResponse(_message.Message):
    __slots__ = ("symbol", "trades")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    trades: _containers.RepeatedCompositeFieldContainer[Trade]
    def __init__(self, symbol: _Optional[str] = ..., trades: _Optional[_Iterable[_Union[Trade, _Mapping]]] = ...) -> None: ...
