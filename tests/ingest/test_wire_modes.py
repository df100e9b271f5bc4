"""A session whose bodies are JSON, encrypted or both: what it says, and what it makes of what it hears."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from Crypto.Cipher import PKCS1_v1_5
from Crypto.PublicKey import RSA
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from codec.opend.cipher import RsaCipher
from codec.opend.protocol import HEADER, HEADER_BYTES, BodyFormat, ProtoId, pack_frame
from ingest.opend.encryption import WireMode
from ingest.opend.events import Closed, DeadLetter, Failed, Notified, Pulled, Ready, Replied
from ingest.opend.session import REQUEST_TIMEOUT_NS, State
from protos.opend import common_pb2, init_connect_pb2, ticker_pb2
from tests.ingest import wire
from tests.ingest.dressed import accept_frame, dress, seal, undress, wire_mode
from tests.ingest.talk import Talk, make_decoder, seconds
from tests.ingest.test_chunking import (
    Outcome,
    Piece,
    answers,
    converse,
    cuts,
    last_words,
    other_pushes,
    pieces_of_ticks,
)
from tests.support.keys import rsa_pem
from tests.support.sdk import MODES, aes_of, is_json

HK = "HK.00700"
ENCRYPTED = [mode for mode in MODES if aes_of(mode)]
PULL = ticker_pb2.GetTickerRequest(
    c2s=ticker_pb2.GetTickerC2S(security=common_pb2.Security(market=1, code="00700"), maxRetNum=1000)
)


def heard(mode: str, outgoing: bytes) -> list[tuple[int, int, bytes]]:
    """Protocol id, format and plain body of each request; its SHA-1 is of the plain body."""
    requests, at = [], 0
    while at < len(outgoing):
        _, proto_id, body_format, _, _, body_bytes, digest, _ = HEADER.unpack_from(outgoing, at)
        body = undress(mode, proto_id, outgoing[at + HEADER_BYTES : at + HEADER_BYTES + body_bytes])
        assert hashlib.sha1(body).digest() == digest
        requests.append((proto_id, body_format, body))
        at += HEADER_BYTES + body_bytes
    return requests


def greeted(mode: str) -> Talk:
    talk = Talk(wire_mode=wire_mode(mode))
    talk.session.take_outgoing()
    [ready] = talk.hear(accept_frame(mode))
    assert isinstance(ready, Ready)
    return talk


# What it says.


@pytest.mark.parametrize("mode", MODES)
def test_it_greets_in_its_mode(mode: str) -> None:
    [(proto_id, body_format, body)] = heard(mode, Talk(wire_mode=wire_mode(mode)).session.take_outgoing())
    assert (proto_id, body_format) == (ProtoId.INIT_CONNECT, is_json(mode))
    said: Any
    if is_json(mode):
        said = json.loads(body)["c2s"]
        assert (said["clientVer"], said["clientID"], said["recvNotify"]) == (300, "ticktape", True)
    else:
        c2s = init_connect_pb2.InitConnectRequest.FromString(body).c2s
        said = {"packetEncAlgo": c2s.packetEncAlgo, "pushProtoFmt": c2s.pushProtoFmt}
    assert said["packetEncAlgo"] == (2 if aes_of(mode) else -1)
    assert said["pushProtoFmt"] == (1 if is_json(mode) else 0)


@pytest.mark.parametrize("mode", MODES)
def test_requests_and_keep_alive_travel_as_the_greeting(mode: str) -> None:
    talk = greeted(mode)
    talk.session.request(ProtoId.GET_TICKER, PULL, seconds(1))
    talk.session.tick(seconds(9), wire.START_S)
    pull, alive = heard(mode, talk.session.take_outgoing())
    assert [pull[:2], alive[:2]] == [(ProtoId.GET_TICKER, is_json(mode)), (ProtoId.KEEP_ALIVE, is_json(mode))]
    if is_json(mode):
        assert json.loads(pull[2]) == {"c2s": {"security": {"market": 1, "code": "00700"}, "maxRetNum": 1000}}
        assert json.loads(alive[2]) == {"c2s": {"time": str(wire.START_S)}}, "64-bit integers are strings"
    else:
        assert pull[2] == PULL.SerializeToString()


# What it hears.


@settings(max_examples=80, deadline=None, phases=set(Phase) - {Phase.explain})
@given(
    mode=st.sampled_from([mode for mode in MODES if mode != "plain"]),
    after=st.lists(st.one_of(pieces_of_ticks, pieces_of_ticks, other_pushes, answers), max_size=10),
    last=last_words,
    sizes=cuts,
    capacity=st.integers(40, 200),
)
def test_in_every_mode_and_any_chunking_the_same_comes_of_it(
    mode: str, after: Sequence[Piece], last: Piece, sizes: Sequence[int], capacity: int
) -> None:
    plain = [b"".join(piece.data for piece in after), last.data]
    told = converse([wire.accept_frame(), *plain], itertools.repeat(1 << 20), 4096)
    parts = [accept_frame(mode), *(dress(mode, part) for part in plain)]
    whole = converse(parts, itertools.repeat(1 << 20), 4096, wire_mode(mode))
    cut = converse(parts, itertools.cycle(sizes), capacity, wire_mode(mode))
    assert cut.rows == whole.rows == told.rows
    assert cut.events == whole.events
    assert comparable(mode, whole) == comparable(mode, told)


def comparable(mode: str, outcome: Outcome) -> list[object]:
    """Events; of dead letters in JSON only what does not depend on the format."""
    if not is_json(mode):
        return outcome.events
    return [
        replace(event, payload=b"", payload_bytes=0, detail="") if isinstance(event, DeadLetter) else
        replace(event, text="") if isinstance(event, Failed) else event
        for event in outcome.events
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["cbc", "ecb", "json-cbc"])
def test_a_connection_cut_at_any_byte_is_followed_by_a_clean_one(mode: str) -> None:
    decoder, stream = make_decoder(), accept_frame(mode)
    stream += dress(mode, b"".join(wire.push_frame(HK, wire.make_ticks([number])) for number in (1, 2)))
    for cut in range(len(stream) + 1):
        first = Talk(decoder, wire_mode=wire_mode(mode))
        if cut:
            first.hear(stream[:cut])
        first.session.end("cut")
        second = Talk(decoder, wire_mode=wire_mode(mode))
        [ready] = second.hear(stream)
        assert isinstance(ready, Ready)
        assert second.sequences == [wire.sequence_of(1), wire.sequence_of(2)]


@pytest.mark.parametrize("mode", ENCRYPTED)
@pytest.mark.parametrize("spoilt", ["block", "length", "padding"])
def test_a_frame_that_cannot_be_opened_is_a_dead_letter_and_its_neighbours_are_not(mode: str, spoilt: str) -> None:
    talk = greeted(mode)
    frames = [dress(mode, wire.push_frame(HK, wire.make_ticks([number]))) for number in (1, 2, 3)]
    bad = bytearray(frames[1])
    if spoilt == "length":
        bad = bytearray(HEADER.pack(*HEADER.unpack_from(bad)[:5], len(bad) - HEADER_BYTES - 1, bytes(20), bytes(8)))
        bad += frames[1][HEADER_BYTES:-1]
    elif spoilt == "padding":
        bad[-17 if aes_of(mode) == "cbc" else -1] ^= 0xF0
    else:
        bad[HEADER_BYTES + 20] ^= 1
    [letter] = talk.hear(frames[0], bytes(bad), frames[2])
    assert isinstance(letter, DeadLetter)
    assert letter.reason == ("bad_sha1" if spoilt == "block" else "undecryptable")
    assert letter.loses_ticks
    assert letter.payload_bytes == (len(letter.payload) if spoilt == "block" else len(bad))
    assert talk.sequences == [wire.sequence_of(1), wire.sequence_of(3)]
    assert talk.session.state is State.READY


@settings(max_examples=150, deadline=None, phases=set(Phase) - {Phase.explain})
@given(mode=st.sampled_from(ENCRYPTED), data=st.data())
def test_whatever_comes_ends_in_events(mode: str, data: st.DataObject) -> None:
    """Bytes changed anywhere, the greeting's answer included, raise nothing and leave no frame half read."""
    pushes = [dress(mode, wire.push_frame(HK, wire.make_ticks([number]))) for number in range(4)]
    stream = bytearray(accept_frame(mode) + b"".join(pushes))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    talk = Talk(wire_mode=wire_mode(mode))
    cut = data.draw(st.integers(0, len(stream)))
    events = [*talk.hear(bytes(stream[:cut])), *talk.hear(bytes(stream[cut:])), *talk.session.end("the end")]
    assert sum(isinstance(event, Closed) for event in events) == 1
    told = sum(isinstance(event, DeadLetter) for event in events)
    assert len(talk.sequences) + told <= 6


@pytest.mark.parametrize("mode", ENCRYPTED)
def test_an_answer_that_cannot_be_opened_fails_its_request(mode: str) -> None:
    talk = greeted(mode)
    serial = talk.session.request(ProtoId.SUB, PULL, seconds(0))
    letter, failed = talk.hear(pack_frame(ProtoId.SUB, serial, b"in plain, by mistake"))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.loses_ticks) == ("undecryptable", False)
    assert isinstance(failed, Failed)
    assert failed.serial == serial


@pytest.mark.parametrize("mode", ENCRYPTED)
def test_letters_hold_the_plain_frame(mode: str) -> None:
    frame = wire.push_frame(HK, [wire.make_tick(1, price=float("nan"))])
    [letter] = greeted(mode).hear(dress(mode, frame))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_row"
    if is_json(mode):
        assert b'"tickerList"' in letter.payload
    else:
        assert letter.payload == frame


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("proto_id", [ProtoId.INIT_CONNECT, ProtoId.GET_USER_INFO, 1006])
def test_of_secret_bodies_the_header_alone_is_kept_and_nothing_quoted(mode: str, proto_id: int) -> None:
    talk = greeted(mode)
    bodies = [json.dumps({"retType": 0, "s2c": {"connAESKey": [wire.SECRET]}}).encode(), wire.SECRET.encode()]
    for body in bodies:
        for sent in (body, seal(mode, ProtoId.SUB, body)):
            for event in talk.hear(
                pack_frame(proto_id, 99, body, BodyFormat.JSON, sealed=sent),
                wire.with_bad_sha1(pack_frame(proto_id, 99, body, BodyFormat.JSON, sealed=sent)),
            ):
                if isinstance(event, DeadLetter):
                    assert len(event.payload) == HEADER_BYTES
                assert wire.SECRET not in str(event)


@pytest.mark.parametrize("mode", ["plain", "json", "cbc"])
def test_a_greeting_that_cannot_be_read_quotes_nothing(mode: str) -> None:
    talk = Talk(wire_mode=wire_mode(mode))
    body = json.dumps({"retType": 0, "s2c": {"connAESKey": [wire.SECRET], "serverVer": wire.SECRET}}).encode()
    sealed = seal(mode, ProtoId.INIT_CONNECT, body)
    letter, closed = talk.hear(pack_frame(ProtoId.INIT_CONNECT, 1, body, BodyFormat.JSON, sealed=sealed))
    assert isinstance(letter, DeadLetter)
    assert isinstance(closed, Closed)
    assert wire.SECRET not in str((letter, closed))


@pytest.mark.parametrize("mode", ["plain", "json", "cbc", "json-cbc"])
def test_everything_that_comes_is_understood(mode: str) -> None:
    talk = greeted(mode)
    asked = [
        talk.session.request(proto_id, PULL, seconds(0)) for proto_id in (ProtoId.SUB, ProtoId.GET_TICKER, ProtoId.SUB)
    ]
    frames = (
        wire.push_frame(HK, wire.make_ticks([1])),
        wire.pull_frame(HK, wire.make_ticks([2, 3], push_type=None), serial=asked[1]),
        wire.subscribed_frame(asked[0]),
        wire.refusal_frame(ProtoId.SUB, asked[2], "no right"),
        wire.notice_frame("kicked out"),
        wire.push_frame(HK, wire.make_ticks([4])),
    )
    pulled, replied, failed, notified = talk.hear(dress(mode, b"".join(frames)))
    assert isinstance(pulled, Pulled)
    assert (pulled.first_row, pulled.rows) == (1, 2)
    assert isinstance(replied, Replied)
    assert isinstance(failed, Failed)
    assert failed.text == "no right"
    assert isinstance(notified, Notified)
    assert "kicked out" in str(notified.notice)
    assert talk.sequences == [wire.sequence_of(number) for number in (1, 2, 3, 4)]


def test_bodies_are_read_by_their_own_format_whichever_was_asked_for() -> None:
    for asked, sent in (("plain", "json"), ("json", "plain"), ("cbc", "json-cbc")):
        talk = greeted(asked)
        serial = talk.session.request(ProtoId.SUB, PULL, seconds(0))
        frames = wire.push_frame(HK, wire.make_ticks([1])) + wire.subscribed_frame(serial)
        [replied] = talk.hear(dress(sent, frames))
        assert isinstance(replied, Replied)
        assert talk.sequences == [wire.sequence_of(1)]


# A greeting that does not fit.


def refused(mode: str, frame: bytes) -> str:
    """Why the session closed."""
    talk = Talk(wire_mode=wire_mode(mode))
    closed = talk.hear(frame)[-1]
    assert isinstance(closed, Closed)
    assert talk.session.state is State.CLOSED
    return closed.reason


def test_a_gateway_that_does_not_encrypt_is_told_apart_from_one_with_another_key() -> None:
    assert "the gateway does not encrypt" in refused("cbc", wire.accept_frame())
    other = PKCS1_v1_5.new(RSA.import_key(rsa_pem(number=1)))
    accept = wire.accept_frame()
    body = accept[HEADER_BYTES:]
    sealed = b"".join(other.encrypt(body[at : at + 100]) for at in range(0, len(body), 100))
    frame = pack_frame(ProtoId.INIT_CONNECT, 1, body, sealed=sealed)
    assert "rsa_private_key" in refused("cbc", frame)


def test_an_encrypted_answer_to_a_plain_greeting_names_the_setting() -> None:
    assert "rsa_key_file" in refused("plain", accept_frame("cbc"))


def test_silence_after_the_greeting_names_the_setting() -> None:
    for mode in ("plain", "cbc"):
        talk = Talk(wire_mode=wire_mode(mode))
        [closed] = talk.session.tick(REQUEST_TIMEOUT_NS, wire.START_S)
        assert isinstance(closed, Closed)
        assert "rsa_key_file" in closed.reason


@pytest.mark.parametrize(("key", "vector"), [("short", None), (wire.SECRET, ""), (wire.SECRET + "0", wire.VECTOR)])
def test_keys_of_another_length_end_it_and_are_not_told(key: str, vector: str | None) -> None:
    reason = refused("cbc", dress("cbc", wire.accept_frame(key=key, vector=vector)))
    assert "cannot be used" in reason
    assert key not in reason


def test_what_comes_before_the_key_cannot_be_opened_and_the_greeting_goes_on() -> None:
    talk = Talk(wire_mode=wire_mode("cbc"))
    push = dress("cbc", wire.push_frame(HK, wire.make_ticks([1])))
    letter, ready = talk.hear(push, accept_frame("cbc"), push)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "undecryptable"
    assert isinstance(ready, Ready)
    assert talk.sequences == [wire.sequence_of(1)]


def test_an_overlong_greeting_is_not_decrypted() -> None:
    frame = pack_frame(ProtoId.INIT_CONNECT, 1, b"x", sealed=bytes(128 * 1000))
    assert "longer than RSA" in refused("cbc", frame)


def test_the_cipher_of_a_gateway_serves_all_its_connections() -> None:
    mode = WireMode(rsa=RsaCipher(rsa_pem()))
    for _ in range(2):
        talk = Talk(wire_mode=mode)
        [ready] = talk.hear(accept_frame("ecb"))
        assert isinstance(ready, Ready)
