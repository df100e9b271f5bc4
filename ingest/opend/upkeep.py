"""What one connection asks its gateway about itself, and what follows for its subscriptions.

GetGlobalState is asked once a minute and after each Notify, GetUserInfo for the rights, GetSubInfo for
the quota and for what the gateway thinks we are subscribed to. No socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from codec.markets import parse_symbol, symbol_name
from codec.opend.protocol import ProtoId, SubType
from ingest.opend.gateway_state import GatewayState, LoginBack, QuotaMoved, RightsChanged, StateChange
from ingest.opend.requests import Security
from ingest.opend.rights import Rights, kind_of
from ingest.opend.subscriber import Subscriber
from ingest.opend.subscriptions import Quota
from protos.opend import global_state_pb2, notify_pb2, subscription_pb2, user_info_pb2

STATE_EVERY_NS = 60_000_000_000
STATE_IN_TROUBLE_EVERY_NS = 5_000_000_000
QUOTA_EVERY_NS = 300_000_000_000
QUOTA_LACKING_EVERY_NS = 30_000_000_000
"""A minute after others let go of units they are free: half of it is soon enough."""
ASK_AGAIN_NS = 30_000_000_000
"""After a request that failed."""

_AT_FIRST = (ProtoId.GET_GLOBAL_STATE, ProtoId.GET_USER_INFO, ProtoId.GET_SUB_INFO)
_NEVER_NS = 1 << 62


class Upkeep:
    """Keeps `state` up to date from one connection, and `subscriber` in step with it.

    Nothing is subscribed to before the first three answers, or refusals, are there.
    """

    def __init__(self, state: GatewayState, subscriber: Subscriber) -> None:
        self._state = state
        self._subscriber = subscriber
        self._user_id = 0
        self._due_ns = dict.fromkeys(_AT_FIRST, _NEVER_NS)
        self._in_flight: dict[int, ProtoId] = {}
        self._unanswered = set(_AT_FIRST)
        subscriber.held = True

    def start(self, login_user_id: int, now_ns: int) -> None:
        """The session is ready."""
        self._user_id = login_user_id
        self._due_ns = dict.fromkeys(_AT_FIRST, now_ns)

    def ask_quota(self, now_ns: int) -> None:
        """Ask soon what the login's units are."""
        self._due_ns[ProtoId.GET_SUB_INFO] = now_ns

    def next_requests(self, now_ns: int) -> list[tuple[ProtoId, Message]]:
        """What to send now; tell `sent` of each."""
        if self._subscriber.subscriptions.needs_quota:
            self.ask_quota(now_ns)
        busy = self._in_flight.values()
        return [
            (proto_id, self._message(proto_id))
            for proto_id, due_ns in self._due_ns.items()
            if due_ns <= now_ns and proto_id not in busy
        ]

    def sent(self, serial: int, proto_id: ProtoId) -> None:
        """It went out under `serial`."""
        self._in_flight[serial] = proto_id
        self._due_ns[proto_id] = _NEVER_NS

    def replied(self, serial: int, reply: Message, now_ns: int) -> list[StateChange]:
        """A request was answered; what is new, if it was one of ours."""
        if (proto_id := self._in_flight.pop(serial, None)) is None:
            return []
        match reply:
            case global_state_pb2.GetGlobalStateResponse():
                changes = self._state.global_state(reply.s2c)
            case user_info_pb2.GetUserInfoResponse():
                changes = self._state.user_info(Rights.of(reply.s2c))
                self._subscriber.subscriptions.judged_by(self._state.rights.why_not)
            case subscription_pb2.GetSubInfoResponse():
                changes = self._sub_info(reply.s2c, now_ns)
            case _:
                raise AssertionError(f"no answer to {proto_id.name}")
        self._ended(proto_id, now_ns)
        self._follow(changes, now_ns)
        return changes

    def failed(self, serial: int, now_ns: int) -> None:
        """A request failed: what it would have told stays unknown for now."""
        if (proto_id := self._in_flight.pop(serial, None)) is None:
            return
        self._ended(proto_id, now_ns)
        self._due_ns[proto_id] = now_ns + ASK_AGAIN_NS
        if proto_id is ProtoId.GET_SUB_INFO:
            self._subscriber.subscriptions.quota_unknown()
        self._follow([], now_ns)

    def notified(self, notice: notify_pb2.NotifyResponse, now_ns: int) -> list[StateChange]:
        """A Notify push; what it says is asked about at once, as one may be missed or out of order."""
        changes = self._state.notified(notice.s2c)
        self._due_ns[ProtoId.GET_GLOBAL_STATE] = now_ns
        self._follow(changes, now_ns)
        return changes

    def deadline_ns(self) -> int | None:
        """When `next_requests` has something by time alone."""
        busy = self._in_flight.values()
        due_ns = [due_ns for proto_id, due_ns in self._due_ns.items() if proto_id not in busy and due_ns < _NEVER_NS]
        return min(due_ns, default=None)

    def _message(self, proto_id: ProtoId) -> Message:
        match proto_id:
            case ProtoId.GET_GLOBAL_STATE:
                state = global_state_pb2.GetGlobalStateC2S(userID=self._user_id)
                return global_state_pb2.GetGlobalStateRequest(c2s=state)
            case ProtoId.GET_USER_INFO:
                return user_info_pb2.GetUserInfoRequest(c2s=user_info_pb2.GetUserInfoC2S())
            case _:
                sub_info = subscription_pb2.GetSubInfoC2S(isReqAllConn=True)
                return subscription_pb2.GetSubInfoRequest(c2s=sub_info)

    def _ended(self, proto_id: ProtoId, now_ns: int) -> None:
        self._unanswered.discard(proto_id)
        if self._due_ns[proto_id] < _NEVER_NS:
            return  # asked for again meanwhile
        if proto_id is ProtoId.GET_GLOBAL_STATE:
            every_ns = STATE_IN_TROUBLE_EVERY_NS if self._state.trouble else STATE_EVERY_NS
            self._due_ns[proto_id] = now_ns + every_ns
        elif proto_id is ProtoId.GET_SUB_INFO:
            lacks = self._subscriber.subscriptions.lacks_quota
            self._due_ns[proto_id] = now_ns + (QUOTA_LACKING_EVERY_NS if lacks else QUOTA_EVERY_NS)

    def _follow(self, changes: Iterable[StateChange], now_ns: int) -> None:
        """Bring the subscriptions in step with the state."""
        subscriber = self._subscriber
        for change in changes:
            match change:
                case LoginBack(first=False):
                    self._resume(subscriber.confirmed, now_ns)
                case RightsChanged():
                    subscriber.subscriptions.judged_by(self._state.rights.why_not)
                    if change.back:
                        self._resume([each for each in subscriber.confirmed if kind_of(each) in change.back], now_ns)
                case QuotaMoved() if subscriber.subscriptions.lacks_quota:
                    self.ask_quota(now_ns)
                case _:
                    pass
        subscriber.held = bool(self._unanswered) or self._state.trouble is not None

    def _resume(self, securities: Iterable[Security], now_ns: int) -> None:
        """Ticks come again: fill what was missed, and see whether the gateway still knows of us."""
        self._due_ns[ProtoId.GET_USER_INFO] = now_ns
        self.ask_quota(now_ns)
        for security in securities:
            self._subscriber.pull(security)

    def _sub_info(self, told: subscription_pb2.GetSubInfoS2C, now_ns: int) -> list[StateChange]:
        subscriptions = self._subscriber.subscriptions
        foreign: set[tuple[Security, int]] = set()
        ours: set[Security] | None = None
        for connection in told.connSubInfoList:
            pairs = {
                (_canonical(security.market, security.code), of_type.subType)
                for of_type in connection.subInfoList
                for security in of_type.securityList
            }
            if connection.isOwnConnData:
                ours = {security for security, sub_type in pairs if sub_type == SubType.TICKER}
            else:
                foreign |= {
                    (security, sub_type)
                    for security, sub_type in pairs
                    if sub_type != SubType.TICKER or security not in subscriptions.wanted
                }
        used = told.totalUsedQuota
        changes = self._state.units_in_use(used, now_ns)
        if ours is not None:
            subscriptions.held_by_gateway(ours)
        subscriptions.quota_is(Quota(used + told.remainQuota, told.remainQuota, len(foreign)))
        return changes


def _canonical(market: int, code: str) -> Security:
    """A security of the wire as we write it."""
    return parse_symbol(symbol_name(market, code))
