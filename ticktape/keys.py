"""Files with keys and other secrets: read once, at the edge, with one clear word on what is wrong with one."""

from __future__ import annotations

from pathlib import Path

from codec.opend.cipher import BadKey, RsaCipher
from codec.opend.protocol import BodyFormat
from ingest.flow_list.headers import BadHeaders, parse_headers
from ingest.opend.encryption import WireMode
from ingest.opend.front import WebSocketPort
from ticktape.settings import BadSettings, FlowListSettings, OpenDSettings
from ticktape.settings.fields import read_text_file

_FILE_BYTES_MAX = 64 << 10
"""A key of 1024 bit has 900 bytes."""


def wire_mode(gateway: OpenDSettings) -> WireMode:
    """How to talk to this gateway. Raises BadSettings where its key cannot be used."""
    rsa, secret = gateway.rsa_key_file, gateway.websocket_key
    key = secret.get_secret_value() if secret is not None else ""
    return WireMode(
        BodyFormat[gateway.body_format.upper()],
        read_rsa_key(rsa, f"gateway {gateway.name}: rsa_key_file") if rsa else None,
        WebSocketPort(gateway.url, key) if gateway.is_websocket else None,
    )


def read_rsa_key(path: Path, named_by: str) -> RsaCipher:
    """The cipher of the private key in the file at `path`.

    Raises
    ------
    BadSettings
        It cannot be read or is not a key that OpenD takes; the text begins with `named_by`.
    """
    try:
        with path.open("rb") as file:
            pem = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise BadSettings([f"{named_by} cannot be read: {path}: {error.strerror}"]) from error
    try:
        return RsaCipher(pem)
    except BadKey as error:
        make = "make one by `openssl genrsa -traditional -out FILE 1024`"
        raise BadSettings([f"{named_by} cannot be used: {path}: {error}; {make}"]) from None


def read_headers(gateway: FlowListSettings) -> tuple[tuple[str, str], ...]:
    """Names and values of the gateway's headers_file; none where it names no file.

    Raises
    ------
    BadSettings
        It cannot be read or is not lines of `NAME: VALUE`; the text repeats none of them.
    """
    path = gateway.headers_file
    if path is None:
        return ()
    where = f"gateway {gateway.name}:"
    try:
        return parse_headers(read_text_file(path, "headers_file"))
    except ValueError as error:
        raise BadSettings([f"{where} {error}"]) from None
    except BadHeaders as error:
        raise BadSettings([f"{where} headers_file cannot be used: {path}: {error}"]) from None
