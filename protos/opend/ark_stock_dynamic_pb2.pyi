from protos.opend import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetArkStockDynamicC2S(_message.Message):
    __slots__ = ("security",)
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    security: _common_pb2.Security
    def __init__(self, security: _Optional[_Union[_common_pb2.Security, _Mapping]] = ...) -> None: ...

class GetArkStockDynamicRequest(_message.Message):
    __slots__ = ("c2s",)
    C2S_FIELD_NUMBER: _ClassVar[int]
    c2s: GetArkStockDynamicC2S
    def __init__(self, c2s: _Optional[_Union[GetArkStockDynamicC2S, _Mapping]] = ...) -> None: ...

class GetArkStockDynamicS2C(_message.Message):
    __slots__ = ("dynamicType", "transactionCount", "netShares", "lastTransactionTime")
    DYNAMICTYPE_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONCOUNT_FIELD_NUMBER: _ClassVar[int]
    NETSHARES_FIELD_NUMBER: _ClassVar[int]
    LASTTRANSACTIONTIME_FIELD_NUMBER: _ClassVar[int]
    dynamicType: int
    transactionCount: int
    netShares: int
    lastTransactionTime: str
    def __init__(self, dynamicType: _Optional[int] = ..., transactionCount: _Optional[int] = ..., netShares: _Optional[int] = ..., lastTransactionTime: _Optional[str] = ...) -> None: ...

class GetArkStockDynamicResponse(_message.Message):
    __slots__ = ("retType", "retMsg", "errCode", "s2c")
    RETTYPE_FIELD_NUMBER: _ClassVar[int]
    RETMSG_FIELD_NUMBER: _ClassVar[int]
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    S2C_FIELD_NUMBER: _ClassVar[int]
    retType: int
    retMsg: str
    errCode: int
    s2c: GetArkStockDynamicS2C
    def __init__(self, retType: _Optional[int] = ..., retMsg: _Optional[str] = ..., errCode: _Optional[int] = ..., s2c: _Optional[_Union[GetArkStockDynamicS2C, _Mapping]] = ...) -> None: ...
