"""Tests of guards: each runs as the program is, and again with the guard taken out, when the failure must show.

Without the second run nobody would know whether the first one tests anything.
"""

from __future__ import annotations

import pytest

with_and_without = pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "without"])
