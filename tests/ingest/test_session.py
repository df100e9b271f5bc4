"""The OpenD session, frame by frame and second by second."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from codec.opend.protocol import HEADER_BYTES, ProtoId, pack_frame
from ingest.letters import PAYLOAD_BYTES_MAX
from ingest.opend import session as session_module
from ingest.opend.events import Closed, DeadLetter, Failed, Notified, Pulled, Ready, Replied, UnknownMessage
from ingest.opend.session import LocalProtocolError, Signal, State
from ingest.pending import PENDING_MAX
from protos.opend import global_state_pb2, init_connect_pb2, keep_alive_pb2, subscription_pb2
from tests.ingest import wire
from tests.ingest.talk import BODY_BYTES_MAX, Talk, make_decoder, seconds

HK = "HK.00700"
STATE_REQUEST = global_state_pb2.GetGlobalStateRequest(c2s=global_state_pb2.GetGlobalStateC2S(userID=0))


def ask(talk: Talk, proto_id: ProtoId = ProtoId.GET_GLOBAL_STATE, *, at_s: float = 0) -> int:
    """Queue a request; its serial. What it asks does not matter to the session."""
    return talk.session.request(proto_id, STATE_REQUEST, seconds(at_s))


def state_frame(serial: int, *, server: int = 1011) -> bytes:
    s2c = global_state_pb2.GetGlobalStateS2C(
        marketHK=3, marketUS=0, marketSH=0, marketSZ=0, marketHKFuture=0, qotLogined=True, trdLogined=False,
        serverVer=server, serverBuildNo=1, time=wire.START_S,
    )  # fmt: skip
    response = global_state_pb2.GetGlobalStateResponse(retType=0, s2c=s2c)
    return pack_frame(ProtoId.GET_GLOBAL_STATE, serial, response.SerializeToString())


# The greeting.


def test_it_greets_without_being_told() -> None:
    [(proto_id, serial, body)] = Talk().sent()
    request = init_connect_pb2.InitConnectRequest.FromString(body)
    assert (proto_id, serial) == (ProtoId.INIT_CONNECT, 1)
    assert request.c2s.recvNotify
    assert request.c2s.packetEncAlgo == -1
    assert request.c2s.pushProtoFmt == 0


def test_an_accepted_greeting_makes_it_ready() -> None:
    assert Talk().session.state is State.GREETING
    talk = Talk()
    [event] = talk.hear(wire.accept_frame(connection=77, keep_alive_s=10))
    assert event == Ready(connection_id=77, login_user_id=5, server_version=1011, keep_alive_s=10)
    assert talk.session.state is State.READY


def test_a_refused_greeting_closes_with_the_gateways_words() -> None:
    talk = Talk()
    [event] = talk.hear(wire.refusal_frame(ProtoId.INIT_CONNECT, 1, "too many connections"))
    assert isinstance(event, Closed)
    assert "too many connections" in event.reason
    assert talk.session.state is State.CLOSED


def test_an_unanswered_greeting_closes_after_the_time_out() -> None:
    talk = Talk()
    assert talk.session.deadline_ns() == seconds(12)
    assert talk.session.tick(seconds(11.9), 0) == []
    [event] = talk.session.tick(seconds(12), 0)
    assert isinstance(event, Closed)
    assert "InitConnect" in event.reason
    assert talk.session.deadline_ns() is None


@pytest.mark.parametrize(
    "frame",
    [
        wire.with_bad_sha1(wire.accept_frame()),
        pack_frame(ProtoId.INIT_CONNECT, 1, b"\x08"),
        pack_frame(ProtoId.INIT_CONNECT, 1, b""),
        pack_frame(ProtoId.INIT_CONNECT, 1, b"\x08\x00\x22\x02\x08\x01"),  # most required fields are missing
        wire.bad_json_frame(ProtoId.INIT_CONNECT, 1),
    ],
    ids=["bad sha1", "truncated", "empty", "incomplete", "json"],
)
def test_an_answer_to_the_greeting_that_cannot_be_read_closes(frame: bytes) -> None:
    talk = Talk()
    letter, closed = talk.hear(frame)
    assert isinstance(letter, DeadLetter)
    assert isinstance(closed, Closed)
    assert talk.session.state is State.CLOSED


def test_pushes_may_come_before_the_greeting_is_answered() -> None:
    talk = Talk()
    events = talk.hear(wire.push_frame(HK, wire.make_ticks([1])), wire.notice_frame(), wire.accept_frame())
    assert [type(event) for event in events] == [Notified, Ready]
    assert talk.sequences == [wire.sequence_of(1)]


# Requests and their answers.


def test_answers_are_matched_by_serial_whatever_their_order() -> None:
    talk = Talk(greeted=True)
    first, second = ask(talk), ask(talk)
    assert [serial for _, serial, _ in talk.sent()] == [first, second] == [2, 3]
    [event] = talk.hear(state_frame(second, server=2))
    assert isinstance(event, Replied)
    assert event.serial == second
    [event] = talk.hear(wire.push_frame(HK, wire.make_ticks([1, 2])), state_frame(first, server=1))
    assert isinstance(event, Replied)
    assert event.serial == first
    assert isinstance(event.reply, global_state_pb2.GetGlobalStateResponse)
    assert event.reply.s2c.serverVer == 1
    assert len(talk.sequences) == 2


def test_an_answer_of_another_protocol_id_answers_nothing() -> None:
    talk = Talk(greeted=True)
    serial = ask(talk, ProtoId.SUB)
    assert talk.hear(state_frame(serial)) == []
    assert talk.hear(wire.pull_frame(HK, wire.make_ticks([1]), serial=serial)) == []
    [event] = talk.hear(wire.subscribed_frame(serial))
    assert isinstance(event, Replied)


def test_an_answer_is_given_once() -> None:
    talk = Talk(greeted=True)
    serial = ask(talk)
    assert len(talk.hear(state_frame(serial), state_frame(serial))) == 1


def test_a_pulls_ticks_are_named_by_their_rows() -> None:
    talk = Talk(greeted=True)
    serial = ask(talk, ProtoId.GET_TICKER)
    [event] = talk.hear(
        wire.push_frame(HK, wire.make_ticks([8, 9])),
        wire.pull_frame(HK, wire.make_ticks(range(5), push_type=None), serial=serial),
        wire.push_frame(HK, wire.make_ticks([10])),
    )
    assert isinstance(event, Pulled)
    assert (event.serial, event.first_row, event.rows) == (serial, 2, 5)
    assert talk.sequences == [wire.sequence_of(number) for number in (8, 9, 0, 1, 2, 3, 4, 10)]


def test_a_late_answer_is_no_event_but_its_ticks_are_kept() -> None:
    talk = Talk(greeted=True)
    state, pull = ask(talk), ask(talk, ProtoId.GET_TICKER)
    failures = talk.session.tick(seconds(12), 0)
    assert [(type(event), event.serial) for event in failures if isinstance(event, Failed)] == [
        (Failed, state),
        (Failed, pull),
    ]
    assert all(isinstance(event, Failed) and event.timed_out for event in failures)
    assert talk.hear(state_frame(state), wire.pull_frame(HK, wire.make_ticks([1, 2]), serial=pull), at_s=13) == []
    assert len(talk.sequences) == 2


def test_a_refusal_carries_the_gateways_code_and_text() -> None:
    talk = Talk(greeted=True)
    for proto_id in (ProtoId.SUB, ProtoId.GET_TICKER, ProtoId.GET_GLOBAL_STATE):
        serial = ask(talk, proto_id)
        [event] = talk.hear(wire.refusal_frame(proto_id, serial, "no right", ret_type=-1, code=9))
        assert event == Failed(serial, proto_id, -1, 9, "no right", timed_out=False)


def test_a_refusal_without_words_says_so() -> None:
    talk = Talk(greeted=True)
    serial = ask(talk)
    response = subscription_pb2.SubResponse(retType=-400)
    [event] = talk.hear(pack_frame(ProtoId.GET_GLOBAL_STATE, serial, response.SerializeToString()))
    assert event == Failed(serial, ProtoId.GET_GLOBAL_STATE, -400, 0, "no reason given", timed_out=False)


@pytest.mark.parametrize("proto_id", [ProtoId.UPDATE_TICKER, ProtoId.NOTIFY])
@pytest.mark.parametrize("kind", ["refused", "bad sha1", "truncated", "empty", "json"])
def test_a_pushs_serial_means_nothing(proto_id: ProtoId, kind: str) -> None:
    """Whatever is wrong with a push whose serial happens to be that of a request, the request stays pending."""
    talk = Talk(greeted=True)
    serial = ask(talk, ProtoId.SUB)
    frames = {
        "refused": wire.refusal_frame(proto_id, serial),
        "bad sha1": wire.with_bad_sha1(wire.refusal_frame(proto_id, serial)),
        "truncated": pack_frame(proto_id, serial, b"\x08"),
        "empty": pack_frame(proto_id, serial, b""),
        "json": wire.bad_json_frame(proto_id, serial),
    }
    events = talk.hear(frames[kind])
    assert len(events) == 1
    assert not (isinstance(events[0], Failed) and events[0].serial == serial)
    [answer] = talk.hear(wire.subscribed_frame(serial))
    assert isinstance(answer, Replied)


def test_requests_are_refused_in_the_wrong_state() -> None:
    talk = Talk()
    with pytest.raises(LocalProtocolError, match="GET_GLOBAL_STATE"):
        ask(talk)
    talk.hear(wire.accept_frame())
    ask(talk)
    talk.session.end("over")
    with pytest.raises(LocalProtocolError):
        ask(talk)


def test_unanswered_requests_are_bounded() -> None:
    talk = Talk(greeted=True)
    serials = [ask(talk) for _ in range(PENDING_MAX)]
    with pytest.raises(LocalProtocolError, match=str(PENDING_MAX)):
        ask(talk)
    talk.hear(state_frame(serials[5]))
    assert ask(talk) == serials[-1] + 1


# Time.


def test_keep_alive_goes_out_at_four_fifths_of_the_interval() -> None:
    talk = Talk()
    talk.hear(wire.accept_frame(keep_alive_s=10), at_s=1)
    talk.sent()
    assert talk.session.deadline_ns() == seconds(9)
    assert talk.session.tick(seconds(8.9), 1_000) == []
    assert talk.sent() == []
    assert talk.session.tick(seconds(9), 1_001) == []
    [(proto_id, serial, body)] = talk.sent()
    assert proto_id == ProtoId.KEEP_ALIVE
    assert keep_alive_pb2.KeepAliveRequest.FromString(body).c2s.time == 1_001
    assert talk.hear(wire.alive_frame(serial), at_s=9.1) == []
    assert talk.session.deadline_ns() == seconds(17)


def test_an_unanswered_keep_alive_alone_closes_nothing() -> None:
    talk = Talk(greeted=True)
    for at_s in range(8, 100, 8):
        talk.hear(wire.push_frame(HK, wire.make_ticks([at_s])), at_s=at_s)
        assert talk.session.tick(seconds(at_s), 0) == []
        assert [proto_id for proto_id, _, _ in talk.sent()] == [ProtoId.KEEP_ALIVE]


def test_a_gateway_that_wants_no_keep_alive_gets_none() -> None:
    talk = Talk()
    talk.hear(wire.accept_frame(keep_alive_s=0))
    talk.sent()
    assert talk.session.deadline_ns() == seconds(33)
    assert talk.session.tick(seconds(32), 0) == []
    assert talk.sent() == []


def test_silence_closes_after_33_seconds() -> None:
    talk = Talk(greeted=True)
    talk.hear(wire.push_frame(HK, wire.make_ticks([1])), at_s=5)
    assert not any(isinstance(event, Closed) for event in talk.session.tick(seconds(37.9), 0))
    [event] = talk.session.tick(seconds(38), 0)
    assert isinstance(event, Closed)
    assert "33 s" in event.reason
    assert talk.session.tick(seconds(99), 0) == []


def test_any_byte_breaks_the_silence() -> None:
    talk = Talk(greeted=True)
    frame = wire.push_frame(HK, wire.make_ticks([1]))
    for at, at_s in enumerate(range(30, 300, 30)):
        assert talk.hear(frame[at : at + 1], at_s=at_s) == []
        assert talk.session.tick(seconds(at_s + 29), 0) == []


def test_ticking_at_each_deadline_is_enough() -> None:
    """What a driver does: nothing is due before `deadline_ns`, and something is at it."""
    talk = Talk(greeted=True)
    ask(talk)
    talk.sent()
    closed = None
    for _ in range(50):
        deadline_ns = talk.session.deadline_ns()
        if deadline_ns is None:
            break
        assert talk.session.tick(deadline_ns - 1, 0) == []
        assert talk.sent() == []
        before = talk.session.deadline_ns()
        events = talk.session.tick(deadline_ns, 0)
        assert events or talk.session.deadline_ns() != before, "a deadline at which nothing happens is a busy loop"
        talk.sent()
        closed = next((event for event in events if isinstance(event, Closed)), closed)
    assert isinstance(closed, Closed)


def test_nothing_is_late_while_reading_is_held() -> None:
    """A full journal stops reading for as long as it is full: the gateway's silence is ours then."""
    talk = Talk(greeted=True)
    serial = ask(talk, ProtoId.GET_TICKER, at_s=1)
    talk.sent()
    talk.session.hold(seconds(5))
    kept_alive = 0
    for at_s in range(6, 600):
        deadline_ns = talk.session.deadline_ns()
        assert deadline_ns is not None
        if deadline_ns <= seconds(at_s):
            assert talk.session.tick(seconds(at_s), 0) == []
            kept_alive += [proto_id for proto_id, _, _ in talk.sent()] == [ProtoId.KEEP_ALIVE]
    assert kept_alive > 70, "the gateway must still know that we are there"
    talk.session.resume(seconds(600))
    [event] = talk.hear(wire.pull_frame(HK, wire.make_ticks([1]), serial=serial), at_s=600)
    assert isinstance(event, Pulled)


def test_time_goes_on_after_reading_was_held() -> None:
    talk = Talk(greeted=True)
    serial = ask(talk, at_s=1)
    talk.session.hold(seconds(5))
    talk.session.resume(seconds(605))
    assert talk.session.tick(seconds(612.9), 0) == []
    [failed] = talk.session.tick(seconds(613), 0)
    assert isinstance(failed, Failed)
    assert failed.serial == serial
    [closed] = talk.session.tick(seconds(633), 0)
    assert isinstance(closed, Closed)


# What must not be there.


def test_an_unknown_protocol_id_is_reported_each_time() -> None:
    talk = Talk(greeted=True)
    events = talk.hear(
        pack_frame(4242, 9, b"whatever"), pack_frame(4242, 10, b"\x00"), pack_frame(3005, 0, b"\x08\x00")
    )
    assert events == [UnknownMessage(4242), UnknownMessage(4242), UnknownMessage(3005)]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (wire.with_bad_sha1(wire.push_frame(HK, wire.make_ticks([1]))), "bad_sha1"),
        (pack_frame(ProtoId.UPDATE_TICKER, 0, b""), "empty_body"),
        (pack_frame(ProtoId.UPDATE_TICKER, 0, b"\x08\x00\x22\x7f"), "undecodable"),
        (wire.bad_json_frame(ProtoId.UPDATE_TICKER, 0), "undecodable"),
        (pack_frame(ProtoId.NOTIFY, 0, b"\x08\x00\x22\x7f"), "undecodable"),
    ],
    ids=["bad sha1", "empty", "truncated", "json", "notice"],
)
def test_a_bad_frame_is_a_dead_letter_and_its_neighbours_are_kept(frame: bytes, reason: str) -> None:
    talk = Talk(greeted=True)
    [letter] = talk.hear(wire.push_frame(HK, wire.make_ticks([1])), frame, wire.push_frame(HK, wire.make_ticks([2])))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason
    assert letter.payload == frame
    assert letter.payload_bytes == len(frame)
    assert letter.symbol_id is None
    assert talk.sequences == [wire.sequence_of(1), wire.sequence_of(2)]
    assert talk.session.state is State.READY


def test_one_bad_tick_is_a_dead_letter_and_its_neighbours_are_kept() -> None:
    talk = Talk(greeted=True)
    ticks = [wire.make_tick(1), wire.make_tick(2, price=float("nan")), wire.make_tick(3)]
    frame = wire.push_frame(HK, ticks)
    [letter] = talk.hear(frame)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.loses_ticks, letter.payload) == ("bad_row", False, frame)
    assert letter.symbol_id == 0
    assert talk.sequences == [wire.sequence_of(1), wire.sequence_of(3)]


@pytest.mark.parametrize(
    ("proto_id", "loses_ticks"),
    [
        (ProtoId.UPDATE_TICKER, True),
        (4242, True),
        (ProtoId.NOTIFY, False),
        (ProtoId.GET_TICKER, False),
        (ProtoId.SUB, False),
    ],
)
def test_only_pushes_lose_ticks_with_their_frame(proto_id: int, loses_ticks: bool) -> None:
    """An answer that was lost fails its request, which is asked again; a push is gone."""
    [letter] = Talk(greeted=True).hear(wire.with_bad_sha1(pack_frame(proto_id, 99, b"\x08\x00")))
    assert isinstance(letter, DeadLetter)
    assert letter.loses_ticks is loses_ticks


@pytest.mark.parametrize("proto_id", [ProtoId.SUB, ProtoId.GET_TICKER, ProtoId.GET_GLOBAL_STATE])
@pytest.mark.parametrize("kind", ["bad sha1", "truncated", "empty", "json"])
def test_an_answer_that_cannot_be_read_fails_its_request(proto_id: ProtoId, kind: str) -> None:
    talk = Talk(greeted=True)
    serial = ask(talk, proto_id)
    frames = {
        "bad sha1": wire.with_bad_sha1(wire.refusal_frame(proto_id, serial)),
        "truncated": pack_frame(proto_id, serial, b"\x08\x00\x22\x7f"),
        "empty": pack_frame(proto_id, serial, b""),
        "json": wire.bad_json_frame(proto_id, serial),
    }
    letter, failed = talk.hear(frames[kind])
    assert isinstance(letter, DeadLetter)
    assert isinstance(failed, Failed)
    assert (failed.serial, failed.proto_id) == (serial, proto_id)


@pytest.mark.parametrize("tail", [b"XX", b"FX", b"XT" + bytes(100)])
def test_a_wrong_magic_ends_the_session(tail: bytes) -> None:
    talk = Talk(greeted=True)
    letter, closed = talk.hear(wire.push_frame(HK, wire.make_ticks([1])), tail)
    assert isinstance(letter, DeadLetter)
    assert isinstance(closed, Closed)
    assert (letter.reason, letter.payload) == ("bad_magic", tail)
    assert len(talk.sequences) == 1
    assert talk.hear(wire.push_frame(HK, wire.make_ticks([2]))) == []
    assert len(talk.sequences) == 1


def test_a_frame_over_the_limit_ends_the_session() -> None:
    talk = Talk(greeted=True)
    frame = pack_frame(ProtoId.UPDATE_TICKER, 0, bytes(BODY_BYTES_MAX + 1))
    letter, closed = talk.hear(frame[:10_000])
    assert isinstance(letter, DeadLetter)
    assert isinstance(closed, Closed)
    assert letter.reason == "frame_too_large"
    assert str(BODY_BYTES_MAX + 1) in letter.detail
    assert letter.payload == frame[:PAYLOAD_BYTES_MAX]


def test_the_longest_allowed_frame_is_read() -> None:
    talk = Talk(greeted=True)
    frame = pack_frame(ProtoId.UPDATE_TICKER, 0, bytes(BODY_BYTES_MAX))
    [letter] = talk.hear(frame)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.payload_bytes) == ("undecodable", len(frame))
    assert letter.payload == frame[:PAYLOAD_BYTES_MAX]


@pytest.mark.parametrize("proto_id", [1001, 1005, 1006])
@pytest.mark.parametrize("kind", ["bad sha1", "truncated", "json", "too large"])
def test_a_body_that_can_hold_a_secret_is_never_kept(proto_id: int, kind: str) -> None:
    talk = Talk(greeted=proto_id != ProtoId.INIT_CONNECT)
    serial = ask(talk, ProtoId.GET_USER_INFO) if proto_id == ProtoId.GET_USER_INFO else 1
    body = b"\x08\x00\x22\x7f" + wire.SECRET.encode()
    frames = {
        "bad sha1": wire.with_bad_sha1(pack_frame(proto_id, serial, body)),
        "truncated": pack_frame(proto_id, serial, body),
        "json": wire.bad_json_frame(proto_id, serial) + wire.SECRET.encode(),
        "too large": pack_frame(proto_id, serial, body + bytes(BODY_BYTES_MAX))[:1000],
    }
    for letter in talk.hear(frames[kind]):
        if isinstance(letter, DeadLetter) and letter.reason != "bad_magic":
            assert letter.payload == frames[kind][:HEADER_BYTES]
            assert wire.SECRET not in letter.detail


def test_a_notice_is_handed_on() -> None:
    [event] = Talk(greeted=True).hear(wire.notice_frame("kicked out"))
    assert isinstance(event, Notified)
    notice: Any = event.notice
    assert notice.s2c.event.desc == "kicked out"


# Ends.


def test_the_transports_end_is_told_once() -> None:
    talk = Talk(greeted=True)
    ask(talk)
    assert talk.session.end("gone") == [Closed("gone")]
    assert talk.session.end("gone again") == []
    assert talk.session.tick(seconds(99), 0) == []
    assert talk.session.deadline_ns() is None


def test_the_state_table_is_total() -> None:
    table = session_module._TRANSITIONS
    assert set(table) == set(State)
    for state, signal in itertools.product(State, Signal):
        after = table[state].get(signal)
        if state is State.CLOSED:
            assert after in (None, State.CLOSED), "nothing leaves the end"
    assert all(signal in table[State.GREETING] for signal in Signal)
    for signal in (Signal.BROKEN, Signal.SILENT, Signal.END):
        assert table[State.READY][signal] is State.CLOSED


def test_half_a_frame_never_reaches_the_next_session() -> None:
    """Cut at every byte of a push: the next session of the same decoder reads its own frames only."""
    decoder = make_decoder()
    push, next_push = wire.push_frame(HK, wire.make_ticks([1, 2])), wire.push_frame(HK, wire.make_ticks([3]))
    for cut in range(1, len(push)):
        talk = Talk(decoder, greeted=True)
        assert talk.hear(push[:cut]) == []
        talk.session.end("the line broke")
        assert talk.sequences == []
        after = Talk(decoder, greeted=True)
        assert after.hear(next_push) == []
        assert after.sequences == [wire.sequence_of(3)]


def test_serials_begin_anew_with_each_session() -> None:
    decoder = make_decoder()
    for _ in range(2):
        assert ask(Talk(decoder, greeted=True)) == 2
