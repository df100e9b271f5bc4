"""`ticktape init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path

from ticktape.settings import BadSettings

CONFIGURATION = """\
# ticktape's configuration. Any key may also come from the environment: TICKTAPE_KAFKA__PARTITIONS=24;
# a gateway's by its name, with - written _: TICKTAPE_GATEWAY__OPEND_1__URL=tcp://10.0.0.7:11111.
# Secrets come only from the environment or from a file (<key>_file). Commented keys show their defaults.

[worker]
# name = ""                       # who this process is; made once and kept in the journal

[journal]                         # the first durable hop: what the gateway sent survives us
path = "var/journal"              # a folder on a local disk
max_bytes = "20GiB"               # how much an outage of what follows may hold back
min_free_bytes = "2GiB"           # below this the journal counts as full
durability = "process"            # or "power": fsync each append

# [kafka]                         # without it nothing else need be installed: the writer reads the journal
# bootstrap_servers = "127.0.0.1:9092"
# topic_prefix = "ticktape"       # topics ticktape.ticks, ticktape.capital-flow, …
# group_id = "ticktape-sink"
# compression = "zstd"            # or "lz4", "none"
# partitions = 12
# replication_factor = 1          # 3 in production, with min_insync_replicas = 2
# min_insync_replicas = 1
# retention = "7d"
# security_protocol = "SASL_SSL"  # with sasl_mechanism, username, password_file; ca_file, cert_file, key_file

[clickhouse]
url = "chdb://var/clickhouse"     # embedded, in a folder; or http://user@host:8123 with password_file
database = "ticktape"
flush_interval = "500ms"          # how long rows wait for company

[http]
listen = "127.0.0.1:8808"         # of up and ingest: /status /query /livez /readyz /metrics
sink_listen = "127.0.0.1:8809"    # the same of sink
# probes_listen = "0.0.0.0:8810"  # only /livez /readyz /metrics, for other machines
# token_file = "token"            # needed to listen beyond this machine

[schedule]
calendar = "auto"                 # polls pause while a market is closed, by its calendar; "off": around the clock
# closed = [2026-09-08]           # dates on which no market trades after all, such as a typhoon's
# open = []                       # dates on which they do; the gateway's own word about a market wins over both

[[gateway]]
name = "opend-1"
kind = "opend"
source = "futu"                   # or "moomoo": whose login the OpenD holds
url = "tcp://127.0.0.1:11111"     # as in OpenD's own settings (api_port); or its WebSocket port, ws://127.0.0.1:33333,
#                                 # with that port's key in the file that websocket_key_file names
# worker = "w-0"                  # only the worker of this name takes it; else any that reads this file
# rsa_key_file = "opend.pem"      # turns encryption on: OpenD's rsa_private_key, 1024 bit, made by
#                                 # openssl genrsa -traditional -out opend.pem 1024
# body_format = "protobuf"        # or "json": bodies that a person can read on the wire, and slower
# quota_share = 1.0               # of the request quotas; less when another program uses the same login
# subscription_quota_reserve = 0  # subscription units left to others; symbols beyond the rest are refused
# frame_bytes_max = "16MiB"

# [[gateway]]                     # a LongPort account; its keys also from TICKTAPE_GATEWAY__LP__APP_KEY and so on
# name = "lp"
# kind = "longport"
# url = "wss://openapi-quote.longportapp.com/v2"
# http_url = "https://openapi.longportapp.com"
# app_key_file = "lp.key"
# app_secret_file = "lp.secret"
# access_token_file = "lp.token"

# [[gateway]]                     # a capital-flow list over HTTP; its one feed is capital_flow_summary
# name = "flows"
# kind = "flow-list"
# url = "http://127.0.0.1:9000/capital-flow"
# method = "POST"                 # or "GET", with list_format = "comma", "repeat" or "json"
# market = ""
# batch_max = 100                 # symbols a request
# headers_file = "flows.headers"  # lines of NAME: VALUE, for whatever the server wants of us

[[subscription]]                  # these follow this file while it runs: by themselves, or at once on SIGHUP
gateway = "opend-1"
symbols = ["HK.00700", "HK.09988", "US.AAPL"]   # or symbols_file = "symbols.txt", one a line, # comments
feeds = ["ticks"]                 # also capital_flow, capital_distribution, ark_dynamic, which are polled
# poll_interval = "60s"           # slower when the quotas say so: ticktape check tells
# periods = ["intraday"]          # of capital_flow; also day, week, month, which are polled after the close
# mode = "push"                   # of ticks; or "poll": pulled every poll_interval, at most 1000 a time
# session = "all"                 # of US symbols: rth | eth | all
"""


def write_configuration(file: Path, *, force: bool) -> None:
    """Write `CONFIGURATION` to `file`.

    Raises
    ------
    BadSettings
        The file is there already and `force` was not given, or it cannot be written.
    """
    try:
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(CONFIGURATION)
    except FileExistsError:
        raise BadSettings([f"{file} exists already; overwrite it with --force"]) from None
    except OSError as error:
        raise BadSettings([f"{file} cannot be written: {error.strerror}"]) from error
