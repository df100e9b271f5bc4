"""What a pull (3010) calls its symbol: read of single replies only, as the tick kernel steps over it."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from codec.opend.json_bodies import UndecodableJson, to_protobuf
from codec.opend.protocol import HEADER, HEADER_BYTES, BodyFormat
from protos.opend import ticker_pb2


def pulled_name(frame: bytes) -> str:
    """The name in a whole plain frame, in either format; empty where there is none, or none that can be read."""
    body_format, body = HEADER.unpack_from(frame)[2], frame[HEADER_BYTES:]
    try:
        if body_format == BodyFormat.JSON:
            body = to_protobuf(body, ticker_pb2.GetTickerResponse).body
        return ticker_pb2.GetTickerResponse.FromString(body).s2c.name
    except (DecodeError, UndecodableJson, UnicodeDecodeError):
        return ""
