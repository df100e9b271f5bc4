"""Every sample body of the vendors' pages, from a socket to ClickHouse, with and without Kafka between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codec.markets import symbol_name
from codec.opend.protocol import ProtoId, pack_frame
from protos.opend import capital_flow_pb2
from tests.ingest.scripted_opend import Peer, ScriptedOpenD
from tests.support.daemons import daemon, free_port, query_json
from tests.vectors import FlowSample, TickSample, flow_samples, tick_samples

_CONFIG = """
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[clickhouse]
url = "chdb://{folder}/clickhouse"

[http]
listen = "127.0.0.1:{http_port}"

[schedule]
calendar = "off"  # the samples come one by one, whatever the hour

[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{port}"

[[subscription]]
gateway = "opend-1"
symbols = ["HK.00700", "US.AAPL"]
feeds = ["ticks", "capital_flow"]
poll_interval = "1s"
"""
_KAFKA = """
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "e2e-samples"
group_id = "e2e-samples"
partitions = 3
"""


def _rows(samples: list[TickSample] | list[FlowSample]) -> dict[tuple[str, Any], dict[str, Any]]:
    """What the samples must become, by symbol and instant (and sequence, of ticks)."""
    rows = {}
    for sample in samples:
        for expected in sample.expected:
            row = {"symbol": symbol_name(sample.market, sample.code), **expected}
            rows[_key(row)] = row
    return rows


def _key(row: dict[str, Any]) -> tuple[str, Any]:
    return row["symbol"], int(row["sequence"]) if "sequence" in row else row["ts_event"]


@pytest.fixture(params=["journal", pytest.param("kafka", marks=pytest.mark.kafka)])
def between(request: pytest.FixtureRequest) -> str:
    """What lies between the journal and ClickHouse: more of the configuration."""
    if request.param == "journal":
        return ""
    return _KAFKA.format(bootstrap=request.getfixturevalue("kafka_bootstrap"))


async def test_every_sample_comes_out_of_clickhouse_as_it_is_documented(tmp_path: Path, between: str) -> None:
    ticks, flows = tick_samples(), flow_samples()
    polls: Iterator[FlowSample] = iter(flows)

    async def send_samples(peer: Peer) -> None:
        """Answer as a sound OpenD, with the samples where they fit."""
        pulled = False
        while True:
            proto_id, serial, body = await peer.request()
            if proto_id == ProtoId.GET_TICKER and not pulled:
                pulled = True
                for sample in ticks:
                    peer.send(pack_frame(ProtoId.GET_TICKER, serial, sample.message().SerializeToString()))
            elif proto_id == ProtoId.GET_CAPITAL_FLOW:
                asked = capital_flow_pb2.GetCapitalFlowRequest.FromString(body).c2s.security
                refusal = capital_flow_pb2.GetCapitalFlowResponse(retType=-1)
                reply = next(polls, flows[-1]).message() if asked.code == "00700" else refusal
                peer.send(pack_frame(ProtoId.GET_CAPITAL_FLOW, serial, reply.SerializeToString()))
            else:
                peer.answer(proto_id, serial, body)

    expected_ticks, expected_flows = _rows(ticks), _rows(flows)
    config, http_port = tmp_path / "ticktape.toml", free_port()
    async with ScriptedOpenD(send_samples) as opend:
        config.write_text(_CONFIG.format(folder=tmp_path, http_port=http_port, port=opend.port) + between)
        with daemon("up", config, http_port) as up:

            def stored() -> bool:
                rows = [up.metric("ticktape_rows_total", hop="stored", table=t) for t in ("ticks", "capital_flow")]
                return rows[0] >= len(expected_ticks) and rows[1] >= len(expected_flows)

            await asyncio.to_thread(up.wait_until, stored, "every sample stored")
            await asyncio.to_thread(up.stop)

    found = query_json(
        config,
        "SELECT symbol, sequence, ordinal, formatDateTime(ts_event, '%Y-%m-%dT%H:%i:%S.%f') AS ts_event,"
        " toString(trade_date) AS trade_date, price, volume, turnover, toString(direction) AS direction, trade_type,"
        " condition, toString(session) AS session FROM ticks",
    )
    _check(found, expected_ticks)
    assert {int(row["ordinal"]) for row in found} == {0}
    found = query_json(
        config,
        "SELECT symbol, formatDateTime(ts_event, '%Y-%m-%dT%H:%i:%S.%f') AS ts_event,"
        " toString(trade_date) AS trade_date, net_inflow, toString(period) AS period FROM capital_flow",
    )
    _check(found, expected_flows)
    assert query_json(config, "SELECT * FROM dead_letters") == []


def _check(found: list[dict[str, Any]], expected: dict[tuple[str, Any], dict[str, Any]]) -> None:
    """Each expected row once, and equal in every column that the samples tell."""
    assert sorted(map(_key, found)) == sorted(expected)
    for row in found:
        wanted = expected[_key(row)]
        for name in wanted.keys() & row.keys():
            got = int(row[name]) if name == "sequence" else row[name]
            assert got == wanted[name], (row, name)
