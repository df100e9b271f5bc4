"""The file of headers, and how secrets are hidden in what a server repeats of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.hidden import Hidden
from ingest.flow_list.headers import BadHeaders, parse_headers


def test_lines_of_name_and_value() -> None:
    text = "# the desk's\n\nAuthorization: Bearer a:b\r\n  X-Key :  k=1; q=2 \nx-key: again\n"
    assert parse_headers(text) == (("Authorization", "Bearer a:b"), ("X-Key", "k=1; q=2"), ("x-key", "again"))
    assert parse_headers("") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Good: yes\nmy-secret", "line 2 is not NAME: VALUE"),
        ("my secret: x", "line 1 is not NAME: VALUE"),
        (": my-secret", "line 1 is not NAME: VALUE"),
        ("X-Key:", "line 1: its value is empty"),
        ("X-Key: my-secret\x00", "line 1: its value holds more than printable ASCII"),
        ("X-Key: my-secret-é", "line 1: its value holds more than printable ASCII"),
        ("Host: my-secret", "line 1 names Host, which is not for a file to set"),
        ("content-length: 7", "line 1 names content-length, which is not for a file to set"),
        ("X: 1\n" * 65, "it holds 65 headers; the most are 64"),
    ],
)
def test_what_is_wrong_is_said_by_its_line_and_never_repeated(text: str, says: str) -> None:
    with pytest.raises(BadHeaders) as caught:
        parse_headers(text)
    assert str(caught.value) == says


@given(
    before=st.binary(max_size=40),
    after=st.binary(max_size=40),
    cut=st.integers(0, 40),
    secret=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=30),
)
def test_no_text_keeps_a_secret_wherever_it_is_cut(before: bytes, after: bytes, cut: int, secret: str) -> None:
    hidden = Hidden([f"Bearer {secret}"])
    whole = before + secret.encode() + after
    for shown in (hidden.cut(whole, len(before) + cut), hidden.hide(whole), hidden.hide(whole[: len(before) + cut])):
        assert secret.encode() not in shown
        assert not any(shown.endswith(secret.encode()[:size]) for size in range(6, len(secret)))


def test_ordinary_text_stays() -> None:
    hidden = Hidden(["Bearer abcdef123", "1", "yes"])
    assert hidden.hide_text("line 1 says yes: a bearer") == "line 1 says yes: a bearer"
    assert hidden.hide_text("Bearer abcdef123, abcdef123") == "***, ***"


def test_what_is_a_secret_for_certain_is_hidden_however_short() -> None:
    hidden = Hidden(["7", "tok", ""], bytes_min=1)
    assert hidden.hide_text("tok is not 17") == "*** is not 1***"
    assert Hidden([""], bytes_min=1).hide_text("nothing") == "nothing"
