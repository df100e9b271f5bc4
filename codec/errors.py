"""The root of every error that ticktape raises on purpose."""

from __future__ import annotations


class TicktapeError(Exception):
    """Something went wrong that we foresaw; the message is written for the person who runs us.

    `retriable` says whether doing the same again, unchanged, is safe and useful.
    """

    retriable: bool = False
