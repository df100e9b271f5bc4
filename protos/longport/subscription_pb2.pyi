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

class SubTypeList(_message.Message):
    __slots__ = ("symbol", "sub_type")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SUB_TYPE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    sub_type: _containers.RepeatedScalarFieldContainer[SubType]
    def __init__(self, symbol: _Optional[str] = ..., sub_type: _Optional[_Iterable[_Union[SubType, str]]] = ...) -> None: ...

class SubscriptionResponse(_message.Message):
    __slots__ = ("sub_list",)
    SUB_LIST_FIELD_NUMBER: _ClassVar[int]
    sub_list: _containers.RepeatedCompositeFieldContainer[SubTypeList]
    def __init__(self, sub_list: _Optional[_Iterable[_Union[SubTypeList, _Mapping]]] = ...) -> None: ...

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
