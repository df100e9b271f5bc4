"""The signature of the HTTP call, and keys that never show."""

from __future__ import annotations

import hashlib

from ingest.longport.signature import Credentials, signed_headers

KEYS = Credentials("key", "secret", "tok")


def test_the_vector_of_the_protocols_description() -> None:
    headers = signed_headers(KEYS, "GET", "/v1/socket/token", 1_795_241_285)
    assert headers["X-Api-Signature"] == (
        "HMAC-SHA256 SignedHeaders=authorization;x-api-key;x-timestamp, "
        "Signature=2089783c11b3544ecde4160af5578fe18a9f0b57416cbf9f13ea9e0c83a946c3"
    )
    assert (headers["X-Api-Key"], headers["Authorization"], headers["X-Timestamp"]) == ("key", "tok", "1795241285")


def test_query_and_body_are_signed_too() -> None:
    plain = signed_headers(KEYS, "POST", "/v1/x", 1)["X-Api-Signature"]
    assert signed_headers(KEYS, "POST", "/v1/x", 1, query="a=b")["X-Api-Signature"] != plain
    assert signed_headers(KEYS, "POST", "/v1/x", 1, body=b"{}")["X-Api-Signature"] != plain
    assert hashlib.sha1(b"").hexdigest() not in plain


def test_keys_do_not_show() -> None:
    assert repr(KEYS) == "Credentials()"
    assert KEYS.hidden_in("tok of key: secret") == "*** of ***: ***"
    assert Credentials("", "", "").hidden_in("nothing") == "nothing"
