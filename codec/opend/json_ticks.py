"""Ticks in JSON bodies, read in their place among the other frames of a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.columns import TickBuffer
from codec.opend.decoder import ControlFrame, Decoded, Note, OpenDDecoder, PulledTicks, Refused
from codec.opend.json_bodies import Transcript, UndecodableJson, to_protobuf
from codec.opend.protocol import HEADER_BYTES, ProtoId, pack_frame
from protos.opend import ticker_pb2

_TICK_MESSAGES: dict[int, type[Message]] = {
    ProtoId.GET_TICKER: ticker_pb2.GetTickerResponse,
    ProtoId.UPDATE_TICKER: ticker_pb2.UpdateTickerResponse,
}


def decode_either_format(
    decoder: OpenDDecoder, source: NDArray[np.uint8], start: int, stop: int, recv_ns: int, ticks: TickBuffer
) -> Decoded:
    """As `OpenDDecoder.decode`, frames with JSON bodies included: rows and notes in the order of the frames."""
    notes: list[Note] = []
    while True:
        decoded = decoder.decode(source, start, stop, recv_ns, ticks)
        if not notes and not decoded.json_ticks:
            return decoded
        notes += decoded.notes
        if not decoded.json_ticks:
            return replace(decoded, notes=notes)
        frame = notes.pop()
        assert isinstance(frame, ControlFrame)
        of_frame = decode_json_ticks(decoder, source, frame, recv_ns, ticks)
        notes += of_frame.notes
        if of_frame.needs_room:
            return replace(of_frame, notes=notes)
        start = of_frame.consumed


def decode_json_ticks(
    decoder: OpenDDecoder, source: NDArray[np.uint8], frame: ControlFrame, recv_ns: int, ticks: TickBuffer
) -> Decoded:
    """Read one 3010 or 3011 frame with a JSON body, appending its ticks to `ticks`.

    Rows, notes and counters are those that `decoder` makes of the same frame in protobuf; spans are
    the JSON frame's. A frame that the gateway itself answered with an error is left as a
    ControlFrame; it is then the session's.

    Parameters
    ----------
    source, frame : the buffer that `decoder` read, and what it noted of the frame

    Returns
    -------
    Decoded
        `consumed` is the frame's end, or its beginning with `needs_room`: empty `ticks` and call again.
    """
    span = frame.span
    end = span.at + span.size_bytes
    body = source[span.at + HEADER_BYTES : end].tobytes()
    try:
        transcript = to_protobuf(body, _TICK_MESSAGES[frame.proto_id], "tickerList")
    except UndecodableJson as error:
        return Decoded(end, [_refused_frame(frame, str(error))], needs_room=False, broken=None)
    written = pack_frame(frame.proto_id, frame.serial, transcript.body)
    padded = np.frombuffer(bytearray(written + bytes(PAD_BYTES)), np.uint8)
    decoded = decoder.decode(padded, 0, len(written), recv_ns, ticks)
    if decoded.needs_room:
        return Decoded(span.at, [], needs_room=True, broken=None)
    if decoded.broken is not None:  # longer than its JSON, and than a frame may be
        return Decoded(end, [_refused_frame(frame, decoded.broken.detail)], needs_room=False, broken=None)
    return Decoded(end, [_as_sent(note, frame, transcript) for note in decoded.notes], needs_room=False, broken=None)


def _refused_frame(frame: ControlFrame, detail: str) -> Refused:
    return Refused(frame.span, frame.proto_id, frame.serial, "undecodable", detail, None, None)


def _as_sent(note: Note, frame: ControlFrame, transcript: Transcript) -> Note:
    """A note on the protobuf frame, said of the frame that came."""
    match note:
        case PulledTicks():
            return replace(note, span=frame.span)
        case ControlFrame():
            return frame
        case Refused():
            return replace(transcript.explained(note), span=frame.span)
