"""Where the request quotas survive a restart: in the journal's control state."""

from __future__ import annotations

from sinks.journal import Journal

_NAME = "quotas"


class JournalQuotaStore:
    """`ingest.quota_keeper.QuotaStore` over a journal that this process appends to."""

    def __init__(self, journal: Journal) -> None:
        self._control = journal.control

    def load(self) -> bytes | None:
        """What was kept last."""
        return self._control.get_blob(_NAME)

    def save(self, kept: bytes) -> None:
        """Keep it once this returns. Raises ControlStateError."""
        self._control.put_blob(_NAME, kept)
