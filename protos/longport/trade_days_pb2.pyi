from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class MarketTradeDayRequest(_message.Message):
    __slots__ = ("market", "beg_day", "end_day")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    BEG_DAY_FIELD_NUMBER: _ClassVar[int]
    END_DAY_FIELD_NUMBER: _ClassVar[int]
    market: str
    beg_day: str
    end_day: str
    def __init__(self, market: _Optional[str] = ..., beg_day: _Optional[str] = ..., end_day: _Optional[str] = ...) -> None: ...

class MarketTradeDayResponse(_message.Message):
    __slots__ = ("trade_day", "half_trade_day")
    TRADE_DAY_FIELD_NUMBER: _ClassVar[int]
    HALF_TRADE_DAY_FIELD_NUMBER: _ClassVar[int]
    trade_day: _containers.RepeatedScalarFieldContainer[str]
    half_trade_day: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, trade_day: _Optional[_Iterable[str]] = ..., half_trade_day: _Optional[_Iterable[str]] = ...) -> None: ...
