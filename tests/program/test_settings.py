"""Every way to write a configuration wrongly ends in words that name the key, the place and the remedy."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticktape.settings import BadSettings, Settings, find_config, load_settings
from ticktape.settings.fields import Address
from ticktape.settings.units import format_bytes, parse_bytes, parse_duration

KAFKA = '[kafka]\nbootstrap_servers = "a"\n'
GATEWAY = '[[gateway]]\nname = "opend-1"\nkind = "opend"\n'
SUBSCRIPTION = '[[subscription]]\ngateway = "opend-1"\nsymbols = ["HK.00700"]\n'


@pytest.fixture
def write(tmp_path: Path) -> Path:
    return tmp_path / "ticktape.toml"


def load(file: Path, text: str, **environ: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ)


def complaint(file: Path, text: str, **environ: str) -> str:
    with pytest.raises(BadSettings) as caught:
        load(file, text, **environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (KAFKA + "partitons = 3", ":3: [kafka] partitons is no known key; did you mean partitions?"),
        ("[jurnal]\n", ":1: [jurnal] is no known section; did you mean journal?"),
        ("[kafka]\npartitions = 3", ":1: [kafka] bootstrap_servers is missing"),
        (KAFKA + "partitions = 0", ":3: [kafka] partitions must be greater than or equal to 1"),
        (KAFKA + 'partitions = "x"', ":3: [kafka] partitions must be a whole number, not 'x'"),
        (KAFKA + 'compression = "gzip"', "compression must be 'zstd', 'lz4' or 'none', not 'gzip'"),
        (KAFKA + 'password = "hunter2"', ":3: [kafka] password is a secret"),
        (KAFKA + "min_insync_replicas = 2", "exceeds replication_factor 1"),
        (KAFKA + 'security_protocol = "SASL_SSL"', "needs sasl_mechanism, username and password"),
        (KAFKA + 'cert_file = "x"', "cert_file and key_file go together"),
        (KAFKA + 'topic_prefix = "a b"', "topic_prefix must be up to 200 letters, digits"),
        ('[journal]\nmax_bytes = "20Gb"', ":2: [journal] max_bytes must be a size such as 20GiB"),
        ("[journal]\nmax_bytes = 0", ":2: [journal] max_bytes must be greater than 0"),
        ("[clickhouse]\nflush_interval = 500", "flush_interval must be a duration with its unit"),
        ('[clickhouse]\nflush_interval = "0s"', ":2: [clickhouse] flush_interval must be longer than '0s'"),
        ('[clickhouse]\nurl = "localhost:8123"', "url must be chdb://folder or http(s)://user@host:8123"),
        ('[clickhouse]\nurl = "http://me:pw@host:8123"', "url must not hold a password"),
        ('[clickhouse]\npassword_file = "none"', "password_file cannot be read"),
        ('[clickhouse]\ndatabase = "a;b"', "database must be letters, digits and _"),
        ('[http]\nlisten = "8808"', ":2: [http] listen must be host:port"),
        ('[http]\nlisten = "127.0.0.1:70000"', "listen must be host:port"),
        ('[http]\nlisten = "0.0.0.0:8808"', "listen = 0.0.0.0:8808 can be reached from other machines: set token_file"),
        ("[gateway]\n", ":1: [gateway] is a list: write [[gateway]] with two brackets"),
        ('gateway = ["x"]', "must be a table"),
        ("kafka = 3", "[kafka] must be a table of keys, not 3"),
        (GATEWAY + 'urll = "x"', ":4: gateway opend-1: urll is no known key; did you mean url?"),
        (GATEWAY + 'url = "tcp://x"', "gateway opend-1: url must be tcp://host:port or ws://host:port"),
        (GATEWAY + 'url = "ws://x"', "gateway opend-1: url names no port: OpenD's WebSocket port has no default"),
        (
            GATEWAY + 'url = "ws://x:1"\nbody_format = "json"',
            "body_format json is not spoken on OpenD's WebSocket port",
        ),
        (GATEWAY + 'url = "wss://x:1"\nrsa_key_file = "k"', "rsa_key_file is not used on OpenD's WebSocket port"),
        (GATEWAY + 'url = "tcp://x:70000"', "with a port of at most 65535"),
        (GATEWAY + 'websocket_key = "k"', "use websocket_key_file or TICKTAPE_GATEWAY__OPEND_1__WEBSOCKET_KEY"),
        (GATEWAY + "quota_share = 2.0", "quota_share must be less than or equal to 1"),
        ('[[gateway]]\nname = "a"', "gateway a: kind is missing"),
        ('[[gateway]]\nname = "a"\nkind = "opnd"', "kind must be 'opend', 'longport', 'flow-list', not 'opnd'"),
        ('[[gateway]]\nname = "a__b"\nkind = "opend"', "name must be letters and digits"),
        (GATEWAY + '[[gateway]]\nname = "OPEND_1"\nkind = "opend"', "name 'OPEND_1' repeats 'opend-1'"),
        (
            GATEWAY + SUBSCRIPTION.replace("opend-1", "opend-2"),
            "gateway names 'opend-2', which is no gateway; did you mean opend-1?",
        ),
        (
            GATEWAY + SUBSCRIPTION + 'feeds = ["tics"]',
            ":7: subscription number 1: feeds names 'tics', which is no feed; did you mean",
        ),
        (
            GATEWAY + SUBSCRIPTION + 'feeds = ["capital_flow_summary"]',
            "'capital_flow_summary', which gateway opend-1 does not have",
        ),
        (GATEWAY + SUBSCRIPTION + "feeds = []", "feeds is empty"),
        (GATEWAY + SUBSCRIPTION.replace("HK.", "XX."), "'XX.00700' is not a symbol: no market is called that"),
        (GATEWAY + '[[subscription]]\ngateway = "opend-1"', "names no symbol: set symbols or symbols_file"),
        (GATEWAY + SUBSCRIPTION + 'symbols_file = "none.txt"', "symbols_file cannot be read"),
        ("[kafka\n", "not TOML"),
    ],
)
def test_a_wrong_configuration_is_explained(write: Path, text: str, expected: str) -> None:
    message = complaint(write, text)
    assert expected in message
    assert message.startswith(str(write))


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(write: Path) -> None:
    text = '[http]\nlissten = ""\n[journal]\nmax_bytes = "x"\n' + GATEWAY + "frame = 1\n"
    lines = complaint(write, text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "4", "8"]


def test_no_secret_is_ever_shown(write: Path) -> None:
    text = '[kafka]\nbootstrap_servers = "a"\npassword = "hunter2"\npartitions = 0\n'
    assert "hunter2" not in complaint(write, text)
    settings = load(write, '[kafka]\nbootstrap_servers = "a"\n', TICKTAPE_KAFKA__PASSWORD="hunter2")
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_secret_is_read_from_its_file_beside_the_configuration(write: Path) -> None:
    (write.parent / "secret").write_text("hunter2\n")
    settings = load(write, '[clickhouse]\npassword_file = "secret"\n')
    assert settings.clickhouse.password is not None
    assert settings.clickhouse.password.get_secret_value() == "hunter2"


def test_the_environment_overrides_any_key(write: Path) -> None:
    settings = load(
        write,
        '[kafka]\nbootstrap_servers = "file:9092"\n' + GATEWAY,
        TICKTAPE_KAFKA__BOOTSTRAP_SERVERS="environment:9092",
        TICKTAPE_GATEWAY__OPEND_1__URL="tcp://elsewhere:1",
        TICKTAPE_SCHEDULE__CLOSED="2026-12-24, 2026-12-31",
        TICKTAPE_SCHEDULE__OPEN='["2026-12-26"]',
        TICKTAPE_JOURNAL__MAX_BYTES="1GiB",
        TICKTAPE_WORKER__NAME="",
        TICKTAPE_CONFIG="ignored",
        TICKTAPE_PORT="tcp://10.0.0.1:8808",
    )
    assert settings.kafka is not None
    assert settings.kafka.bootstrap_servers == "environment:9092"
    assert settings.gateway[0].url == "tcp://elsewhere:1"
    assert settings.schedule.closed == (datetime.date(2026, 12, 24), datetime.date(2026, 12, 31))
    assert settings.schedule.open == (datetime.date(2026, 12, 26),)
    assert settings.journal.max_bytes == 1 << 30


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("TICKTAPE_KAFKA__PARTITIONS", "x", "[kafka] partitions must be a whole number, not 'x'"),
        ("TICKTAPE_KAFKA__PARTITONS", "3", "[kafka] partitons is no known key; did you mean partitions?"),
        ("TICKTAPE_KAFAK__PARTITIONS", "3", "[kafak] is no known section; did you mean kafka?"),
        ("TICKTAPE_GATEWAY__OPEND_2__URL", "x", "no gateway is called that; did you mean opend_1?"),
        ("TICKTAPE_GATEWAY__OPEND_1", "x", "must be TICKTAPE_GATEWAY__NAME__KEY"),
        ("TICKTAPE_HTTP__LISTEN__PORT", "x", "must be TICKTAPE_SECTION__KEY"),
        ("TICKTAPE_SUBSCRIPTION__0__GATEWAY", "x", "only the file holds them"),
        ("TICKTAPE_SCHEDULE__CLOSED", "never", "[schedule] closed (element 1) must be a valid date"),
    ],
)
def test_a_wrong_variable_is_named(write: Path, variable: str, value: str, expected: str) -> None:
    message = complaint(write, '[kafka]\nbootstrap_servers = "a"\n' + GATEWAY, **{variable: value})
    assert message.startswith(f"environment variable {variable}: ")
    assert expected in message


def test_folders_start_at_the_working_directory(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write.parent / "elsewhere").mkdir()
    monkeypatch.chdir(write.parent / "elsewhere")
    settings = load(write, "")
    assert settings.journal.path == write.parent / "elsewhere/var/journal"
    assert settings.clickhouse.folder == write.parent / "elsewhere/var/clickhouse"
    assert load(write, '[clickhouse]\nurl = "chdb:///var/lib/x"\n').clickhouse.folder == Path("/var/lib/x")


def test_symbols_come_from_the_list_and_the_file_each_once_in_order(write: Path) -> None:
    (write.parent / "symbols.txt").write_text("# mine\nUS.AAPL\n\n700.HK # the same as below\n9988.HK\n")
    settings = load(write, GATEWAY + SUBSCRIPTION + 'symbols_file = "symbols.txt"\n')
    assert settings.subscription[0].symbols == ("HK.00700", "US.AAPL", "HK.09988")


def test_the_file_is_found_by_option_then_variable_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match="ticktape init"):
        find_config(None, {})
    with pytest.raises(BadSettings, match=r"other\.toml \(named by \$TICKTAPE_CONFIG\)"):
        find_config(None, {"TICKTAPE_CONFIG": "other.toml"})
    for name in ("ticktape.toml", "variable.toml", "option.toml"):
        (tmp_path / name).touch()
    environ = {"TICKTAPE_CONFIG": "variable.toml"}
    assert find_config(None, {}) == Path("ticktape.toml")
    assert find_config(None, environ) == Path("variable.toml")
    assert find_config(Path("option.toml"), environ) == Path("option.toml")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("20GiB", 20 << 30), ("500 MB", 500_000_000), ("1.5KiB", 1536), ("7", 7), (7, 7), ("3B", 3), ("1kB", 1000)],
)
def test_sizes(text: object, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "GiB", "1 GiBs", "-1GiB", "1.3B", True, 1.5, None])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_bytes(text)


@given(
    st.integers(1, 10**6), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)])
)
def test_durations(amount: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{amount}{unit[0]}") == datetime.timedelta(milliseconds=amount * unit[1])


@pytest.mark.parametrize("text", ["", "5", 5, "5 weeks", "ms", "-1s", "9999999999999d"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@given(st.integers(0, 1 << 44))
def test_a_formatted_size_reads_back_within_its_rounding(size_bytes: int) -> None:
    amount, unit = format_bytes(size_bytes).split()
    rounding = 0.05 * parse_bytes(f"1{unit}") if unit != "B" else 0
    assert abs(float(amount) * parse_bytes(f"1{unit}") - size_bytes) <= rounding * 1.01


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("host", False)]
)
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert Address(host, 1).is_loopback is loopback
