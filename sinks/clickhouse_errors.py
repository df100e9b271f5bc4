"""What ClickHouse's failures mean for us: try again, give the rows up, or look at the table."""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import Error

from codec.errors import TicktapeError
from codec.hidden import Hidden


class ClickHouseError(TicktapeError):
    """ClickHouse said no, or nothing.

    `code` is ClickHouse's own error number, None where no server answered.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class ClickHouseUnavailable(ClickHouseError):
    """Down, slow, full or overloaded: the same insert with the same token may be tried again."""

    retriable = True


class ClickHouseRefusedData(ClickHouseError):
    """The rows themselves do not fit: trying them again cannot help."""


class ClickHouseTableError(ClickHouseError):
    """The table, a column or the database is not there any more."""


class QueryRefused(ClickHouseError):
    """A reader's query is wrong, or is not one that only reads."""


class ClickHouseUrlInvalid(ClickHouseError):
    """The configured url or database name cannot be used."""


class ClickHouseFolderLocked(ClickHouseError):
    """Another process holds the embedded store's folder."""


class EmbeddedClickHouseMissing(ClickHouseError):
    """chdb, the embedded ClickHouse, is not installed."""


# Codes that only the content of the rows can cause (src/Common/ErrorCodes.cpp). Every code that is
# not listed counts as unavailable: an unknown failure must never cost rows.
_DATA_CODES = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        469,  # VIOLATED_CONSTRAINT
        691,  # UNKNOWN_ELEMENT_OF_ENUM
    }
)
_INCORRECT_DATA = 117
"""Also a damaged file of the server's own: only what it says of the rows' format is the rows' fault."""
_OF_THE_FORMAT = "Arrow IPC"
_TABLE_CODES = frozenset(
    {
        8,  # THERE_IS_NO_COLUMN
        10,  # NOT_FOUND_COLUMN_IN_BLOCK
        16,  # NO_SUCH_COLUMN_IN_TABLE
        20,  # NUMBER_OF_COLUMNS_DOESNT_MATCH
        47,  # UNKNOWN_IDENTIFIER
        60,  # UNKNOWN_TABLE
        81,  # UNKNOWN_DATABASE
    }
)

_MESSAGE_CHARACTERS_MAX = 4000
"""Of a page that some proxy answered instead."""
_NOISE = re.compile(
    r"^Received ClickHouse exception, code: \d+, server response: "
    r"|: \(in file/uri .*$|: While executing .*$| \(for url [^)]*\)|\s*\(version [^)]*(?:\([^)]*\))?\)",
    re.DOTALL,
)
_REPEATED_CODE = re.compile(r"(Code: \d+\. DB::Exception: )+")


def plain_message(error: Error, hidden: Hidden) -> str:
    """ClickHouse's own sentence, without temporary file names, addresses and version, and without secrets.

    The same rows get the same text each time, so that it may be stored. What answers may be no ClickHouse, and
    repeat what it was sent.
    """
    cause = error.__cause__
    if error.code is None and cause is not None:
        # urllib3 wraps what the system said in a sentence of its own for each layer.
        reason = getattr(cause, "reason", None) or cause
        text = f"no answer from ClickHouse: {str(reason).rsplit('): ', 1)[-1]}"
    else:
        text = _REPEATED_CODE.sub(r"\1", _NOISE.sub("", str(error))).strip()
    return hidden.hide_text(text)[:_MESSAGE_CHARACTERS_MAX]


def of_statement(error: Error, hidden: Hidden) -> ClickHouseError:
    """The meaning of `error`, raised by a statement of ours: it is right, so the server is not."""
    return ClickHouseUnavailable(plain_message(error, hidden), code=error.code)


def of_insert(error: Error, hidden: Hidden) -> ClickHouseError:
    """The meaning of `error`, raised by an insert."""
    code = error.code
    if code in _DATA_CODES or (code == _INCORRECT_DATA and _OF_THE_FORMAT in str(error)):
        return ClickHouseRefusedData(plain_message(error, hidden), code=code)
    if code in _TABLE_CODES:
        return ClickHouseTableError(plain_message(error, hidden), code=code)
    return ClickHouseUnavailable(plain_message(error, hidden), code=code)


def of_query(error: Error, hidden: Hidden) -> ClickHouseError:
    """The meaning of `error`, raised by a reader's query."""
    if error.code is None:
        return ClickHouseUnavailable(plain_message(error, hidden))
    return QueryRefused(plain_message(error, hidden), code=error.code)
