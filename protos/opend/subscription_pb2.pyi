from protos.opend import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubC2S(_message.Message):
    __slots__ = ("securityList", "subTypeList", "isSubOrUnSub", "isRegOrUnRegPush", "regPushRehabTypeList", "isFirstPush", "isUnsubAll", "isSubOrderBookDetail", "extendedTime", "session", "header")
    SECURITYLIST_FIELD_NUMBER: _ClassVar[int]
    SUBTYPELIST_FIELD_NUMBER: _ClassVar[int]
    ISSUBORUNSUB_FIELD_NUMBER: _ClassVar[int]
    ISREGORUNREGPUSH_FIELD_NUMBER: _ClassVar[int]
    REGPUSHREHABTYPELIST_FIELD_NUMBER: _ClassVar[int]
    ISFIRSTPUSH_FIELD_NUMBER: _ClassVar[int]
    ISUNSUBALL_FIELD_NUMBER: _ClassVar[int]
    ISSUBORDERBOOKDETAIL_FIELD_NUMBER: _ClassVar[int]
    EXTENDEDTIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    securityList: _containers.RepeatedCompositeFieldContainer[_common_pb2.Security]
    subTypeList: _containers.RepeatedScalarFieldContainer[int]
    isSubOrUnSub: bool
    isRegOrUnRegPush: bool
    regPushRehabTypeList: _containers.RepeatedScalarFieldContainer[int]
    isFirstPush: bool
    isUnsubAll: bool
    isSubOrderBookDetail: bool
    extendedTime: bool
    session: int
    header: _common_pb2.QotHeader
    def __init__(self, securityList: _Optional[_Iterable[_Union[_common_pb2.Security, _Mapping]]] = ..., subTypeList: _Optional[_Iterable[int]] = ..., isSubOrUnSub: _Optional[bool] = ..., isRegOrUnRegPush: _Optional[bool] = ..., regPushRehabTypeList: _Optional[_Iterable[int]] = ..., isFirstPush: _Optional[bool] = ..., isUnsubAll: _Optional[bool] = ..., isSubOrderBookDetail: _Optional[bool] = ..., extendedTime: _Optional[bool] = ..., session: _Optional[int] = ..., header: _Optional[_Union[_common_pb2.QotHeader, _Mapping]] = ...) -> None: ...

class SubRequest(_message.Message):
    __slots__ = ("c2s",)
    C2S_FIELD_NUMBER: _ClassVar[int]
    c2s: SubC2S
    def __init__(self, c2s: _Optional[_Union[SubC2S, _Mapping]] = ...) -> None: ...

class SubS2C(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubResponse(_message.Message):
    __slots__ = ("retType", "retMsg", "errCode", "s2c")
    RETTYPE_FIELD_NUMBER: _ClassVar[int]
    RETMSG_FIELD_NUMBER: _ClassVar[int]
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    S2C_FIELD_NUMBER: _ClassVar[int]
    retType: int
    retMsg: str
    errCode: int
    s2c: SubS2C
    def __init__(self, retType: _Optional[int] = ..., retMsg: _Optional[str] = ..., errCode: _Optional[int] = ..., s2c: _Optional[_Union[SubS2C, _Mapping]] = ...) -> None: ...

class RegQotPushC2S(_message.Message):
    __slots__ = ("securityList", "subTypeList", "rehabTypeList", "isRegOrUnReg", "isFirstPush", "header")
    SECURITYLIST_FIELD_NUMBER: _ClassVar[int]
    SUBTYPELIST_FIELD_NUMBER: _ClassVar[int]
    REHABTYPELIST_FIELD_NUMBER: _ClassVar[int]
    ISREGORUNREG_FIELD_NUMBER: _ClassVar[int]
    ISFIRSTPUSH_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    securityList: _containers.RepeatedCompositeFieldContainer[_common_pb2.Security]
    subTypeList: _containers.RepeatedScalarFieldContainer[int]
    rehabTypeList: _containers.RepeatedScalarFieldContainer[int]
    isRegOrUnReg: bool
    isFirstPush: bool
    header: _common_pb2.QotHeader
    def __init__(self, securityList: _Optional[_Iterable[_Union[_common_pb2.Security, _Mapping]]] = ..., subTypeList: _Optional[_Iterable[int]] = ..., rehabTypeList: _Optional[_Iterable[int]] = ..., isRegOrUnReg: _Optional[bool] = ..., isFirstPush: _Optional[bool] = ..., header: _Optional[_Union[_common_pb2.QotHeader, _Mapping]] = ...) -> None: ...

class RegQotPushRequest(_message.Message):
    __slots__ = ("c2s",)
    C2S_FIELD_NUMBER: _ClassVar[int]
    c2s: RegQotPushC2S
    def __init__(self, c2s: _Optional[_Union[RegQotPushC2S, _Mapping]] = ...) -> None: ...

class RegQotPushS2C(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegQotPushResponse(_message.Message):
    __slots__ = ("retType", "retMsg", "errCode", "s2c")
    RETTYPE_FIELD_NUMBER: _ClassVar[int]
    RETMSG_FIELD_NUMBER: _ClassVar[int]
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    S2C_FIELD_NUMBER: _ClassVar[int]
    retType: int
    retMsg: str
    errCode: int
    s2c: RegQotPushS2C
    def __init__(self, retType: _Optional[int] = ..., retMsg: _Optional[str] = ..., errCode: _Optional[int] = ..., s2c: _Optional[_Union[RegQotPushS2C, _Mapping]] = ...) -> None: ...

class SubInfo(_message.Message):
    __slots__ = ("subType", "securityList")
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    SECURITYLIST_FIELD_NUMBER: _ClassVar[int]
    subType: int
    securityList: _containers.RepeatedCompositeFieldContainer[_common_pb2.Security]
    def __init__(self, subType: _Optional[int] = ..., securityList: _Optional[_Iterable[_Union[_common_pb2.Security, _Mapping]]] = ...) -> None: ...

class ConnSubInfo(_message.Message):
    __slots__ = ("subInfoList", "usedQuota", "isOwnConnData", "securityFirm", "optionUsedQuota")
    SUBINFOLIST_FIELD_NUMBER: _ClassVar[int]
    USEDQUOTA_FIELD_NUMBER: _ClassVar[int]
    ISOWNCONNDATA_FIELD_NUMBER: _ClassVar[int]
    SECURITYFIRM_FIELD_NUMBER: _ClassVar[int]
    OPTIONUSEDQUOTA_FIELD_NUMBER: _ClassVar[int]
    subInfoList: _containers.RepeatedCompositeFieldContainer[SubInfo]
    usedQuota: int
    isOwnConnData: bool
    securityFirm: int
    optionUsedQuota: int
    def __init__(self, subInfoList: _Optional[_Iterable[_Union[SubInfo, _Mapping]]] = ..., usedQuota: _Optional[int] = ..., isOwnConnData: _Optional[bool] = ..., securityFirm: _Optional[int] = ..., optionUsedQuota: _Optional[int] = ...) -> None: ...

class GetSubInfoC2S(_message.Message):
    __slots__ = ("isReqAllConn", "header")
    ISREQALLCONN_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    isReqAllConn: bool
    header: _common_pb2.QotHeader
    def __init__(self, isReqAllConn: _Optional[bool] = ..., header: _Optional[_Union[_common_pb2.QotHeader, _Mapping]] = ...) -> None: ...

class GetSubInfoRequest(_message.Message):
    __slots__ = ("c2s",)
    C2S_FIELD_NUMBER: _ClassVar[int]
    c2s: GetSubInfoC2S
    def __init__(self, c2s: _Optional[_Union[GetSubInfoC2S, _Mapping]] = ...) -> None: ...

class GetSubInfoS2C(_message.Message):
    __slots__ = ("connSubInfoList", "totalUsedQuota", "remainQuota", "optionUsedQuota", "optionRemainQuota")
    CONNSUBINFOLIST_FIELD_NUMBER: _ClassVar[int]
    TOTALUSEDQUOTA_FIELD_NUMBER: _ClassVar[int]
    REMAINQUOTA_FIELD_NUMBER: _ClassVar[int]
    OPTIONUSEDQUOTA_FIELD_NUMBER: _ClassVar[int]
    OPTIONREMAINQUOTA_FIELD_NUMBER: _ClassVar[int]
    connSubInfoList: _containers.RepeatedCompositeFieldContainer[ConnSubInfo]
    totalUsedQuota: int
    remainQuota: int
    optionUsedQuota: int
    optionRemainQuota: int
    def __init__(self, connSubInfoList: _Optional[_Iterable[_Union[ConnSubInfo, _Mapping]]] = ..., totalUsedQuota: _Optional[int] = ..., remainQuota: _Optional[int] = ..., optionUsedQuota: _Optional[int] = ..., optionRemainQuota: _Optional[int] = ...) -> None: ...

class GetSubInfoResponse(_message.Message):
    __slots__ = ("retType", "retMsg", "errCode", "s2c")
    RETTYPE_FIELD_NUMBER: _ClassVar[int]
    RETMSG_FIELD_NUMBER: _ClassVar[int]
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    S2C_FIELD_NUMBER: _ClassVar[int]
    retType: int
    retMsg: str
    errCode: int
    s2c: GetSubInfoS2C
    def __init__(self, retType: _Optional[int] = ..., retMsg: _Optional[str] = ..., errCode: _Optional[int] = ..., s2c: _Optional[_Union[GetSubInfoS2C, _Mapping]] = ...) -> None: ...
