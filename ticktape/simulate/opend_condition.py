"""What the simulated OpenD says of itself and refuses during an outage (docs/protocols/opend.md 2.3 to 2.6)."""

from __future__ import annotations

from collections.abc import Iterable

from codec.markets import HK
from codec.opend.protocol import ProtoId, pack_frame
from protos.opend import common_pb2, notify_pb2, user_info_pb2
from ticktape.simulate.faults import BACKEND_LOST, KICKED_OUT, LOGOUT, RIGHT_LOST

LEVEL_1, LEVEL_2, NO_RIGHT = 2, 3, 5
"""QotRight."""

_GTW_EVENT, _PROGRAM_STATUS, _CONN_STATUS, _QOT_RIGHT, _USED_QUOTA = 1, 2, 3, 4, 7
"""NotifyType."""
_EVENT_KICKED_OUT = 7

_PROGRAMS = {
    LOGOUT: (common_pb2.ProgramStatusType_NeedPhoneVerifyCode, "a code was sent"),
    KICKED_OUT: (common_pb2.ProgramStatusType_ForceLogout, "kicked out by another client"),
}
_REFUSALS = {
    LOGOUT: "not logged in: phone verification code needed",
    KICKED_OUT: "not logged in: kicked out by another client",
    BACKEND_LOST: "the connection to the quote server is lost",
}
_WITHOUT_LOGIN = frozenset(
    {
        ProtoId.INIT_CONNECT,
        ProtoId.GET_GLOBAL_STATE,
        ProtoId.KEEP_ALIVE,
        ProtoId.GET_USER_INFO,
        ProtoId.GET_SUB_INFO,
    }
)
"""Calls that OpenD answers from what it knows itself."""


class Condition:
    """How the simulated OpenD is.

    Attributes
    ----------
    outage : the one that lasts, by its fault's name; None when all is well
    """

    def __init__(self) -> None:
        self.outage: str | None = None

    @property
    def has_backend(self) -> bool:
        """Whether quotes reach it."""
        return self.outage not in _REFUSALS

    @property
    def program(self) -> common_pb2.ProgramStatus:
        """As GetGlobalState and Notify say it."""
        kind, text = _PROGRAMS.get(self.outage or "", (common_pb2.ProgramStatusType_Ready, ""))
        return common_pb2.ProgramStatus(type=kind, strExtDesc=text)

    def lacks_right(self, market: int) -> bool:
        """Whether the login has no quotes of a market now."""
        return self.outage == RIGHT_LOST and market == HK

    def refusal(self, proto_id: ProtoId) -> str | None:
        """Why a call is refused now, if it is."""
        return None if proto_id in _WITHOUT_LOGIN else _REFUSALS.get(self.outage or "")

    def user_info(self, user_id: int, quota: int) -> user_info_pb2.GetUserInfoS2C:
        """Who is logged in, and what it may see: options and futures of Hong Kong at the lowest level."""
        return user_info_pb2.GetUserInfoS2C(
            nickName="simulated",
            avatarUrl="",
            apiLevel="1",
            hkQotRight=self._hk_right,
            usQotRight=LEVEL_2,
            cnQotRight=LEVEL_1,
            isNeedAgreeDisclaimer=False,
            userID=user_id,
            updateType=0,
            webKey="",
            hkOptionQotRight=LEVEL_1,
            hasUSOptionQotRight=True,
            hkFutureQotRight=LEVEL_1,
            subQuota=quota,
            historyKLQuota=quota,
            usFutureQotRight=NO_RIGHT,
            usOptionQotRight=LEVEL_1,
            userAttribution=1,
            usIndexQotRight=LEVEL_1,
            usOtcQotRight=NO_RIGHT,
            usCMEFutureQotRight=NO_RIGHT,
            usCBOTFutureQotRight=NO_RIGHT,
            usNYMEXFutureQotRight=NO_RIGHT,
            usCOMEXFutureQotRight=NO_RIGHT,
            usCBOEFutureQotRight=NO_RIGHT,
            sgFutureQotRight=NO_RIGHT,
            jpFutureQotRight=NO_RIGHT,
            isAppNNOrMM=True,
            shQotRight=LEVEL_1,
            szQotRight=LEVEL_1,
        )

    def notices(self, outage: str) -> bytes:
        """The Notify frames that tell of the beginning, or the end, of an outage; none for a restart."""
        if outage == RIGHT_LOST:
            right = notify_pb2.NotifyQotRight(
                hkQotRight=self._hk_right,
                usQotRight=LEVEL_2,
                cnQotRight=LEVEL_1,
                hkOptionQotRight=LEVEL_1,
                hkFutureQotRight=LEVEL_1,
                shQotRight=LEVEL_1,
                szQotRight=LEVEL_1,
            )
            return _frames([notify_pb2.NotifyS2C(type=_QOT_RIGHT, qotRight=right)])
        if outage not in _REFUSALS:
            return b""
        told = []
        if self.outage == KICKED_OUT:
            event = notify_pb2.NotifyGtwEvent(eventType=_EVENT_KICKED_OUT, desc=_REFUSALS[KICKED_OUT])
            told.append(notify_pb2.NotifyS2C(type=_GTW_EVENT, event=event))
        if outage in _PROGRAMS:
            program = notify_pb2.NotifyProgramStatus(programStatus=self.program)
            told.append(notify_pb2.NotifyS2C(type=_PROGRAM_STATUS, programStatus=program))
        link = notify_pb2.NotifyConnectStatus(qotLogined=self.has_backend, trdLogined=self.has_backend)
        told.append(notify_pb2.NotifyS2C(type=_CONN_STATUS, connectStatus=link))
        return _frames(told)

    @property
    def _hk_right(self) -> int:
        return NO_RIGHT if self.lacks_right(HK) else LEVEL_2


def used_quota_notice(units: int) -> bytes:
    """The Notify frame that tells how many subscription units are in use."""
    used = notify_pb2.NotifyUsedQuota(usedSubQuota=units, usedKLineQuota=0)
    return _frames([notify_pb2.NotifyS2C(type=_USED_QUOTA, usedQuota=used)])


def _frames(told: Iterable[notify_pb2.NotifyS2C]) -> bytes:
    responses = (notify_pb2.NotifyResponse(retType=0, s2c=s2c) for s2c in told)
    return b"".join(pack_frame(ProtoId.NOTIFY, 0, response.SerializeToString()) for response in responses)
