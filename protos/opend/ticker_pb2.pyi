from protos.opend import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ticker(_message.Message):
    __slots__ = ("time", "sequence", "dir", "price", "volume", "turnover", "recvTime", "type", "typeSign", "pushDataType", "timestamp", "hpVolume")
    TIME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    RECVTIME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TYPESIGN_FIELD_NUMBER: _ClassVar[int]
    PUSHDATATYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    HPVOLUME_FIELD_NUMBER: _ClassVar[int]
    time: str
    sequence: int
    dir: int
    price: float
    volume: int
    turnover: float
    recvTime: float
    type: int
    typeSign: int
    pushDataType: int
    timestamp: float
    hpVolume: float
    def __init__(self, time: _Optional[str] = ..., sequence: _Optional[int] = ..., dir: _Optional[int] = ..., price: _Optional[float] = ..., volume: _Optional[int] = ..., turnover: _Optional[float] = ..., recvTime: _Optional[float] = ..., type: _Optional[int] = ..., typeSign: _Optional[int] = ..., pushDataType: _Optional[int] = ..., timestamp: _Optional[float] = ..., hpVolume: _Optional[float] = ...) -> None: ...

class GetTickerC2S(_message.Message):
    __slots__ = ("security", "maxRetNum", "header")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    MAXRETNUM_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    security: _common_pb2.Security
    maxRetNum: int
    header: _common_pb2.QotHeader
    def __init__(self, security: _Optional[_Union[_common_pb2.Security, _Mapping]] = ..., maxRetNum: _Optional[int] = ..., header: _Optional[_Union[_common_pb2.QotHeader, _Mapping]] = ...) -> None: ...

class GetTickerRequest(_message.Message):
    __slots__ = ("c2s",)
    C2S_FIELD_NUMBER: _ClassVar[int]
    c2s: GetTickerC2S
    def __init__(self, c2s: _Optional[_Union[GetTickerC2S, _Mapping]] = ...) -> None: ...

class GetTickerS2C(_message.Message):
    __slots__ = ("security", "tickerList", "name")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    TICKERLIST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    security: _common_pb2.Security
    tickerList: _containers.RepeatedCompositeFieldContainer[Ticker]
    name: str
    def __init__(self, security: _Optional[_Union[_common_pb2.Security, _Mapping]] = ..., tickerList: _Optional[_Iterable[_Union[Ticker, _Mapping]]] = ..., name: _Optional[str] = ...) -> None: ...

class GetTickerResponse(_message.Message):
    __slots__ = ("retType", "retMsg", "errCode", "s2c")
    RETTYPE_FIELD_NUMBER: _ClassVar[int]
    RETMSG_FIELD_NUMBER: _ClassVar[int]
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    S2C_FIELD_NUMBER: _ClassVar[int]
    retType: int
    retMsg: str
    errCode: int
    s2c: GetTickerS2C
    def __init__(self, retType: _Optional[int] = ..., retMsg: _Optional[str] = ..., errCode: _Optional[int] = ..., s2c: _Optional[_Union[GetTickerS2C, _Mapping]] = ...) -> None: ...

class UpdateTickerS2C(_message.Message):
    __slots__ = ("security", "tickerList", "name")
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    TICKERLIST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    security: _common_pb2.Security
    tickerList: _containers.RepeatedCompositeFieldContainer[Ticker]
    name: str
    def __init__(self, security: _Optional[_Union[_common_pb2.Security, _Mapping]] = ..., tickerList: _Optional[_Iterable[_Union[Ticker, _Mapping]]] = ..., name: _Optional[str] = ...) -> None: ...

class UpdateTickerResponse(_message.Message):
    __slots__ = ("retType", "retMsg", "errCode", "s2c")
    RETTYPE_FIELD_NUMBER: _ClassVar[int]
    RETMSG_FIELD_NUMBER: _ClassVar[int]
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    S2C_FIELD_NUMBER: _ClassVar[int]
    retType: int
    retMsg: str
    errCode: int
    s2c: UpdateTickerS2C
    def __init__(self, retType: _Optional[int] = ..., retMsg: _Optional[str] = ..., errCode: _Optional[int] = ..., s2c: _Optional[_Union[UpdateTickerS2C, _Mapping]] = ...) -> None: ...
