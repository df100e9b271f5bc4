"""Recorded input with its expected output, as values.

`opend_samples.json` holds the sample bodies of the vendors' documentation, `opend_frames.json` the
worked frames of docs/protocols/opend.md 10.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict

from protos.opend.capital_flow_pb2 import GetCapitalFlowResponse
from protos.opend.ticker_pb2 import GetTickerResponse

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class TickSample:
    """Ticks of one symbol as a vendor's page prints them, and as `ticks` must hold them.

    Attributes
    ----------
    name : the language whose page it is on
    sources : vendors that print it: `futu`, `moomoo`
    market, code : the security on OpenD's wire
    ticks : fields of each Ticker by their names in JSON bodies
    expected : columns of `ticks` by name; `ts_event` and `trade_date` as ISO 8601, in UTC
    """

    name: str
    sources: tuple[str, ...]
    market: int
    code: str
    ticks: list[dict[str, Any]]
    expected: list[dict[str, Any]]

    def message(self) -> GetTickerResponse:
        """The reply to 3010 that holds the ticks."""
        security = {"market": self.market, "code": self.code}
        return ParseDict({"retType": 0, "s2c": {"security": security, "tickerList": self.ticks}}, GetTickerResponse())


@dataclass(frozen=True)
class FlowSample:
    """Capital-flow lines of one symbol as a vendor's page prints them, and as `capital_flow` must hold them."""

    name: str
    market: int
    code: str
    last_valid_time: str
    items: list[dict[str, Any]]
    expected: list[dict[str, Any]]

    def message(self) -> GetCapitalFlowResponse:
        """The reply to 3211 that holds the lines."""
        s2c = {"flowItemList": self.items, "lastValidTime": self.last_valid_time}
        return ParseDict({"retType": 0, "s2c": s2c}, GetCapitalFlowResponse())


@dataclass(frozen=True)
class FrameVector:
    """A whole frame, header included, and the message in it by its JSON names."""

    name: str
    frame: bytes
    proto_id: int
    serial: int
    message: dict[str, Any]


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FOLDER / name).read_text(encoding="utf-8"))
    return content


def tick_samples() -> list[TickSample]:
    return [
        TickSample(
            name=each["name"],
            sources=("futu", "moomoo"),
            market=each["market"],
            code=each["code"],
            ticks=each["ticks"],
            expected=each["expected"],
        )
        for each in _read("opend_samples.json")["ticks"]
    ]


def flow_samples() -> list[FlowSample]:
    return [
        FlowSample(
            name=each["name"],
            market=each["market"],
            code=each["code"],
            last_valid_time=each["lastValidTime"],
            items=each["items"],
            expected=each["expected"],
        )
        for each in _read("opend_samples.json")["capital_flow"]
    ]


def frame_vectors() -> list[FrameVector]:
    return [
        FrameVector(each["name"], bytes.fromhex(each["hex"]), each["proto_id"], each["serial"], each["message"])
        for each in _read("opend_frames.json")["frames"]
    ]


def utc_us(iso: str) -> int:
    """Microseconds since 1970 of an expected `ts_event`."""
    instant = datetime.datetime.fromisoformat(iso).replace(tzinfo=datetime.UTC)
    return (instant - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
