"""The account: signatures, one-time passwords, sessions, limits. Time is an argument."""

from __future__ import annotations

import pytest

from ticktape.simulate.longport_account import (
    CALLS_A_SECOND_MAX,
    IN_FLIGHT_MAX,
    OTP_S,
    Account,
    BadRateLimit,
    CallRefused,
    Code,
    Keys,
    RateLimit,
    parse_rate_limits,
    signature,
)

NOW_S = 1_800_000_000.0
HEADERS = {"authorization": "tok", "x-api-key": "key", "x-timestamp": "1795241285"}
SIGNED = (
    "HMAC-SHA256 SignedHeaders=authorization;x-api-key;x-timestamp, "
    "Signature=2089783c11b3544ecde4160af5578fe18a9f0b57416cbf9f13ea9e0c83a946c3"
)


def account(**options: object) -> Account:
    values = {"session_s": 100.0, "connections_max": 2, **options}
    return Account(Keys("key", "secret", "tok"), 1, **values)  # type: ignore[arg-type]


def logged_in(account: Account, now_s: float = NOW_S) -> str:
    session, _ = account.log_in(account.issue_otp(now_s), now_s)
    return session


def test_the_signature_is_the_vendors() -> None:
    assert signature("secret", "GET", "/v1/socket/token", "", HEADERS, b"") == SIGNED


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, None),
        ({"x-api-key": "other"}, "apikey illegal"),
        ({"authorization": "other"}, "token invalid"),
        ({"x-timestamp": "1795241286"}, "signature invalid"),
        ({"x-timestamp": "soon"}, "x-timestamp must be unix seconds"),
        ({"x-api-signature": SIGNED[:-1]}, "signature invalid"),
        ({"x-api-signature": ""}, "signature invalid"),
    ],
)
def test_only_the_owner_gets_a_password(changed: dict[str, str], wrong: str | None) -> None:
    headers = {**HEADERS, "x-api-signature": SIGNED, **changed}
    assert account().knows("GET", "/v1/socket/token", "", headers, b"") == wrong


def test_a_password_serves_once_and_not_for_long() -> None:
    ours = account()
    otp, late = ours.issue_otp(NOW_S), ours.issue_otp(NOW_S)
    assert otp != late
    session, expires_ms = ours.log_in(otp, NOW_S + 1)
    assert expires_ms == (NOW_S + 1 + 100) * 1000
    assert ours.online == {session}
    for gone, now_s in ((otp, NOW_S + 2), (late, NOW_S + OTP_S), ("never issued", NOW_S)):
        with pytest.raises(CallRefused) as refused:
            ours.log_in(gone, now_s)
        assert (refused.value.status, refused.value.code) == (5, Code.UNAUTHENTICATED)


def test_a_session_is_resumed_once_by_a_new_one_until_it_expires() -> None:
    ours = account()
    first = logged_in(ours)
    ours.log_out(first)
    second, expires_ms = ours.resume(first, NOW_S + 50)
    assert second != first
    assert expires_ms == (NOW_S + 150) * 1000
    for session, now_s in ((first, NOW_S + 51), (second, NOW_S + 150)):
        with pytest.raises(CallRefused) as refused:
            ours.resume(session, now_s)
        assert refused.value.status == 5


def test_expiring_ends_every_session() -> None:
    ours = account()
    session = logged_in(ours)
    assert ours.is_valid(session, NOW_S)
    ours.expire()
    assert not ours.is_valid(session, NOW_S)


def test_so_many_connections_and_no_more() -> None:
    ours = account()
    first = logged_in(ours)
    logged_in(ours)
    with pytest.raises(CallRefused) as refused:
        logged_in(ours)
    assert (refused.value.status, refused.value.code) == (6, Code.CONNECTIONS_LIMIT)
    ours.log_out(first)
    logged_in(ours)


def test_ten_calls_in_any_second_and_five_at_once() -> None:
    ours = account()
    for call in range(CALLS_A_SECOND_MAX):
        ours.allow(17, NOW_S + call / 100)
    with pytest.raises(CallRefused) as refused:
        ours.allow(17, NOW_S + 0.99)
    assert (refused.value.status, refused.value.code) == (3, Code.RATE_LIMIT)
    ours.allow(17, NOW_S + 1.0)
    ours.in_flight = IN_FLIGHT_MAX
    with pytest.raises(CallRefused, match="at once"):
        ours.allow(17, NOW_S + 10)


def test_a_command_has_its_own_limit_if_told() -> None:
    ours = account(rate_limits=(RateLimit(17, 2, 3),))
    allowed = []
    for tenth in range(20):
        ours.allow(24, NOW_S + tenth) if tenth < 5 else None
        try:
            ours.allow(17, NOW_S + tenth / 10)
            allowed.append(tenth)
        except CallRefused:
            pass
    assert allowed == [0, 1, 2, 5, 10, 15]


def test_limits_on_the_command_line() -> None:
    assert parse_rate_limits("17:2/4, 6:5/5") == (RateLimit(17, 2, 4), RateLimit(6, 5, 5))
    assert parse_rate_limits("") == ()
    for bad in ("17", "17:2", "17:0/4", "a:1/1", "17:-1/1"):
        with pytest.raises(BadRateLimit, match="COMMAND:LIMIT/BURST"):
            parse_rate_limits(bad)


def test_keys_are_not_printed() -> None:
    assert "secret" not in repr(Keys("key", "secret", "secret too"))
