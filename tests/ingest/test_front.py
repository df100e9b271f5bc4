"""A session that talks to OpenD's WebSocket front, by hand: what goes out, and what it makes of what comes."""

from __future__ import annotations

import numpy as np

from codec.opend.decoder import OpenDDecoder
from codec.opend.protocol import ProtoId
from codec.opend.websocket_packets import Command, frames_from_packets
from codec.symbols import SymbolTable
from ingest.opend.encryption import WireMode
from ingest.opend.events import Closed, DeadLetter, Event, Failed, Notified, Ready, Replied
from ingest.opend.front import Front, WebSocketPort
from protos.opend import global_state_pb2, init_web_socket_pb2, subscription_pb2
from tests.codec.longport.feeding import padded
from tests.ingest import wire
from tests.ingest.fronts import CONNECTION_ID, USER_ID, answer, greeting, packed, packet, unpacked
from tests.ingest.talk import CLOCK, Talk, seconds

PORT = WebSocketPort("ws://127.0.0.1:33333", "secret")
SUB = subscription_pb2.SubRequest(c2s=subscription_pb2.SubC2S(isSubOrUnSub=True))


class FrontTalk:
    """A session, its front, and the test on the other side."""

    def __init__(self, *, greeted: bool = True) -> None:
        mode = WireMode(websocket=PORT)
        self.front = Front(PORT)
        self.talk = Talk(OpenDDecoder(SymbolTable(12), CLOCK, checks_sha1=mode.has_sha1), wire_mode=mode)
        if greeted:
            for command, section, _ in [*self.sent(), *self._login()]:
                self.hear(answer(command, section))

    def _login(self) -> list[tuple[int, int, bytes]]:
        self.hear(greeting(1))
        return self.sent()

    def sent(self) -> list[tuple[int, int, bytes]]:
        """What goes out since it was last asked."""
        self.front.ask(self.talk.session.take_outgoing())
        packets, self.front.packets = self.front.packets, []
        return [unpacked(each) for each in packets]

    def hear(self, *packets: bytes, at_s: float = 0) -> list[Event]:
        """The front sent these messages, which came at once."""
        source, more = padded(b"".join(packets)), []
        ends = np.cumsum([len(each) for each in packets], dtype=np.int64)
        index, at, into_at = frames_from_packets(source, 0, ends, 0, 0)
        while index < len(ends):
            more.append(self.front.unusual(source[at : ends[index]].tobytes()))
            index, at, into_at = frames_from_packets(source, int(ends[index]), ends, index + 1, into_at)
        return self.talk.hear(source[:into_at].tobytes(), *more, at_s=at_s)


def test_the_key_goes_first_then_who_is_logged_in_then_the_session_is_ready() -> None:
    talk = FrontTalk(greeted=False)
    [(command, section, body)] = talk.sent()
    assert (command, section) == (Command.INIT, 1)
    c2s = init_web_socket_pb2.InitWebSocketRequest.FromString(body).c2s
    assert (c2s.websocketKey, c2s.clientID, c2s.programmingLanguage) == (
        "5ebe2294ecd0e0f08eab7690d2a6ee69",
        "ticktape",
        "Python",
    )
    assert talk.hear(greeting(1)) == []
    asked = talk.sent()
    assert [command for command, _, _ in asked] == [ProtoId.GET_USER_INFO, ProtoId.GET_GLOBAL_STATE]
    assert talk.hear(answer(*asked[1][:2])) == []
    [ready] = talk.hear(answer(*asked[0][:2]))
    assert ready == Ready(CONNECTION_ID, USER_ID, 1011, 10)
    assert talk.sent() == []
    assert talk.hear(greeting(1), answer(*asked[0][:2])) == [], "said twice"


def test_an_openD_that_does_not_say_who_is_logged_in() -> None:  # noqa: N802
    talk = FrontTalk(greeted=False)
    talk.sent()
    talk.hear(greeting(1))
    (_, section, _), _ = talk.sent()
    events = talk.hear(
        packet(ProtoId.GET_USER_INFO, section, error=1), packet(ProtoId.GET_GLOBAL_STATE, section, b"\x08")
    )
    assert events == [Ready(CONNECTION_ID, 0, 0, 10)]


def test_a_key_that_is_refused() -> None:
    for refusal, says in (
        (packet(Command.INIT, 1, error=-1, text="wrong websocketKey"), "wrong websocketKey; is websocket_key the key"),
        (packet(Command.INIT, 1), "error 0; is websocket_key the key"),
        (packet(Command.INIT, 1, b"\x08\x00\xff"), "its answer cannot be read; is websocket_key the key"),
        (packet(Command.INIT, 1, error=3, text="no link"), "the WebSocket front has no link to OpenD"),
    ):
        talk = FrontTalk(greeted=False)
        talk.sent()
        [closed] = talk.hear(refusal)
        assert isinstance(closed, Closed)
        assert closed.reason.startswith(f"InitConnect was refused: {says}")
        assert "secret" not in closed.reason


def test_requests_and_answers_keep_their_numbers() -> None:
    talk = FrontTalk()
    serials = [talk.talk.session.request(ProtoId.SUB, SUB, seconds(0)) for _ in range(2)]
    asked = talk.sent()
    assert [(command, section) for command, section, _ in asked] == [(ProtoId.SUB, serial) for serial in serials]
    assert asked[0][2] == SUB.SerializePartialToString()
    push = packed(wire.push_frame("HK.00700", wire.make_ticks([1])), 0)
    events = talk.hear(packed(wire.subscribed_frame(0), serials[1]), push, packed(wire.subscribed_frame(0), serials[0]))
    assert [event.serial for event in events if isinstance(event, Replied)] == serials[::-1]
    assert talk.talk.sequences == [wire.sequence_of(1)]


def test_keep_alive_asks_openD_itself() -> None:  # noqa: N802
    talk = FrontTalk()
    talk.talk.session.tick(seconds(9), wire.START_S)
    [(command, section, body)] = talk.sent()
    assert command == ProtoId.GET_GLOBAL_STATE
    assert section > 2**32 - 1
    assert global_state_pb2.GetGlobalStateRequest.FromString(body).c2s.userID == USER_ID
    before = talk.talk.session.deadline_ns()
    assert talk.hear(answer(command, section), at_s=9.5) == []
    assert talk.hear(answer(command, section), at_s=9.5) == [], "one answer to one KeepAlive"
    after = talk.talk.session.deadline_ns()
    assert before is not None
    assert after is not None
    assert after == seconds(17)


def test_errors_of_the_front() -> None:
    for error, timed_out, lost, says in (
        (1, True, False, "the WebSocket front had no answer from OpenD in time: 1010"),
        (2, True, False, "OpenD itself had no answer in time: 1010"),
        (3, False, True, "the WebSocket front has no link to OpenD: 1010"),
        (9, False, False, "the WebSocket front answers error 9: 1010"),
    ):
        talk = FrontTalk()
        serial = talk.talk.session.request(ProtoId.SUB, SUB, seconds(0))
        [failed] = talk.hear(packet(ProtoId.SUB, serial, error=error, text="1010"))
        assert isinstance(failed, Failed)
        assert (failed.serial, failed.timed_out, failed.text) == (serial, timed_out, says)
        assert talk.front.link_lost == lost


def test_a_lost_link_is_told_as_openD_would() -> None:  # noqa: N802
    [notified] = FrontTalk().hear(packet(Command.LINK_LOST, 0))
    assert isinstance(notified, Notified)
    assert "qotLogined: false" in str(notified.notice)


def test_what_is_no_packet_ends_it_with_a_dead_letter() -> None:
    for garbage in (b"", b"F", b"FT", b"ft-v1.0\0too short", b"ft-v2.0\0" + bytes(100), b"hello" * 20):
        talk = FrontTalk()
        push = packed(wire.push_frame("HK.00700", wire.make_ticks([1])), 0)
        letter, closed = talk.hear(push, garbage, push)
        assert isinstance(letter, DeadLetter)
        assert letter.reason == "bad_magic"
        assert garbage in letter.payload
        assert isinstance(closed, Closed)
        assert len(talk.talk.sequences) == 2


def test_an_answer_to_nobody() -> None:
    talk = FrontTalk()
    assert talk.hear(packed(wire.subscribed_frame(0), 2**40), packed(wire.subscribed_frame(0), 999)) == []
    assert PORT.key not in repr(PORT)
