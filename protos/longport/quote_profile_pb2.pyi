from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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

class PackageDetail(_message.Message):
    __slots__ = ("key", "name", "description", "start", "end")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    key: str
    name: str
    description: str
    start: int
    end: int
    def __init__(self, key: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class MarketPackageDetail(_message.Message):
    __slots__ = ("packages", "warning_msg")
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    WARNING_MSG_FIELD_NUMBER: _ClassVar[int]
    packages: _containers.RepeatedCompositeFieldContainer[PackageDetail]
    warning_msg: str
    def __init__(self, packages: _Optional[_Iterable[_Union[PackageDetail, _Mapping]]] = ..., warning_msg: _Optional[str] = ...) -> None: ...

class UserQuoteLevelDetail(_message.Message):
    __slots__ = ("by_package_key", "by_market_code")
    class ByPackageKeyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PackageDetail
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PackageDetail, _Mapping]] = ...) -> None: ...
    class ByMarketCodeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: MarketPackageDetail
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[MarketPackageDetail, _Mapping]] = ...) -> None: ...
    BY_PACKAGE_KEY_FIELD_NUMBER: _ClassVar[int]
    BY_MARKET_CODE_FIELD_NUMBER: _ClassVar[int]
    by_package_key: _containers.MessageMap[str, PackageDetail]
    by_market_code: _containers.MessageMap[str, MarketPackageDetail]
    def __init__(self, by_package_key: _Optional[_Mapping[str, PackageDetail]] = ..., by_market_code: _Optional[_Mapping[str, MarketPackageDetail]] = ...) -> None: ...

class UserQuoteProfileResponse(_message.Message):
    __slots__ = ("member_id", "quote_level", "subscribe_limit", "history_candlestick_limit", "rate_limit", "quote_level_detail")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_CANDLESTICK_LIMIT_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    QUOTE_LEVEL_DETAIL_FIELD_NUMBER: _ClassVar[int]
    member_id: int
    quote_level: str
    subscribe_limit: int
    history_candlestick_limit: int
    rate_limit: _containers.RepeatedCompositeFieldContainer[RateLimit]
    quote_level_detail: UserQuoteLevelDetail
    def __init__(self, member_id: _Optional[int] = ..., quote_level: _Optional[str] = ..., subscribe_limit: _Optional[int] = ..., history_candlestick_limit: _Optional[int] = ..., rate_limit: _Optional[_Iterable[_Union[RateLimit, _Mapping]]] = ..., quote_level_detail: _Optional[_Union[UserQuoteLevelDetail, _Mapping]] = ...) -> None: ...
