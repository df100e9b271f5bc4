from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CapitalFlowIntradayRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class CapitalFlowIntradayResponse(_message.Message):
    __slots__ = ("symbol", "capital_flow_lines")
    class CapitalFlowLine(_message.Message):
        __slots__ = ("inflow", "timestamp")
        INFLOW_FIELD_NUMBER: _ClassVar[int]
        TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
        inflow: str
        timestamp: int
        def __init__(self, inflow: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_FLOW_LINES_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    capital_flow_lines: _containers.RepeatedCompositeFieldContainer[CapitalFlowIntradayResponse.CapitalFlowLine]
    def __init__(self, symbol: _Optional[str] = ..., capital_flow_lines: _Optional[_Iterable[_Union[CapitalFlowIntradayResponse.CapitalFlowLine, _Mapping]]] = ...) -> None: ...

class SecurityRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class CapitalDistributionResponse(_message.Message):
    __slots__ = ("symbol", "timestamp", "capital_in", "capital_out")
    class CapitalDistribution(_message.Message):
        __slots__ = ("large", "medium", "small")
        LARGE_FIELD_NUMBER: _ClassVar[int]
        MEDIUM_FIELD_NUMBER: _ClassVar[int]
        SMALL_FIELD_NUMBER: _ClassVar[int]
        large: str
        medium: str
        small: str
        def __init__(self, large: _Optional[str] = ..., medium: _Optional[str] = ..., small: _Optional[str] = ...) -> None: ...
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_IN_FIELD_NUMBER: _ClassVar[int]
    CAPITAL_OUT_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: int
    capital_in: CapitalDistributionResponse.CapitalDistribution
    capital_out: CapitalDistributionResponse.CapitalDistribution
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[int] = ..., capital_in: _Optional[_Union[CapitalDistributionResponse.CapitalDistribution, _Mapping]] = ..., capital_out: _Optional[_Union[CapitalDistributionResponse.CapitalDistribution, _Mapping]] = ...) -> None: ...
