from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN_TYPE: _ClassVar[SubType]
    QUOTE: _ClassVar[SubType]
    DEPTH: _ClassVar[SubType]
    BROKERS: _ClassVar[SubType]
    TRADE: _ClassVar[SubType]
UNKNOWN_TYPE: SubType
QUOTE: SubType
DEPTH: SubType
BROKERS: SubType
TRADE: SubType

class UserQuoteProfileRequest(_message.Message):
    __slots__ = ("language",)
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    language: str
    def __init__(self, language: _Optional[str] = ...) -> None: ...

class RateLimit(_message.Message):
    __slots__ = ("command", "limit", "burst")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    command: int
    limit: int
    burst: int
    def __init__(self, command: _Optional[int] = ..., limit: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...

class UserQuoteProfileResponse(_message.Message):
    __slots__ = ("member_id", "quote_level", "subscribe_limit", "history_candlestick_limit", "rate_limit")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_CANDLESTICK_LIMIT_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    member_id: int
    quote_level: str
    subscribe_limit: int
    history_candlestick_limit: int
    rate_limit: _containers.RepeatedCompositeFieldContainer[RateLimit]
    def __init__(self, member_id: _Optional[int] = ..., quote_level: _Optional[str] = ..., subscribe_limit: _Optional[int] = ..., history_candlestick_limit: _Optional[int] = ..., rate_limit: _Optional[_Iterable[_Union[RateLimit, _Mapping]]] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("symbol", "sub_type", "is_first_push")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SUB_TYPE_FIELD_NUMBER: _ClassVar[int]
    IS_FIRST_PUSH_FIELD_NUMBER: _ClassVar[int]
    symbol: _containers.RepeatedScalarFieldContainer[str]
    sub_type: _containers.RepeatedScalarFieldContainer[SubType]
    is_first_push: bool
    def __init__(self, symbol: _Optional[_Iterable[str]] = ..., sub_type: _Optional[_Iterable[_Union[SubType, str]]] = ..., is_first_push: _Optional[bool] = ...) -> None: ...

class UnsubscribeRequest(_message.Message):
    __slots__ = ("symbol", "sub_type", "unsub_all")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SUB_TYPE_FIELD_NUMBER: _ClassVar[int]
    UNSUB_ALL_FIELD_NUMBER: _ClassVar[int]
    symbol: _containers.RepeatedScalarFieldContainer[str]
    sub_type: _containers.RepeatedScalarFieldContainer[SubType]
    unsub_all: bool
    def __init__(self, symbol: _Optional[_Iterable[str]] = ..., sub_type: _Optional[_Iterable[_Union[SubType, str]]] = ..., unsub_all: _Optional[bool] = ...) -> None: ...
