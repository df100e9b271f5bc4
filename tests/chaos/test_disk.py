"""A small disk: full when it is to be full, for those inside, and gone with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.chaos.disk import SmallDisk, small_disks_possible

pytestmark = pytest.mark.skipif(not small_disks_possible(), reason="no mount namespaces for us here")


def append(disk: SmallDisk, kilobytes: int) -> int:
    """The exit code of a process inside that appends to a file on the disk."""
    shell = f"head -c {kilobytes}k /dev/zero >> {disk.folder}/file"
    return subprocess.run(disk.inside(["sh", "-c", shell]), capture_output=True, check=False).returncode


def test_a_disk_that_fills_and_empties(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 1 << 20) as disk:
        assert append(disk, 100) == 0
        disk.fill()
        assert append(disk, 100) != 0
        disk.empty()
        assert append(disk, 100) == 0
        assert append(disk, 2000) != 0
        assert (disk.outside / "file").stat().st_size >= 200 << 10
        assert not (disk.folder / "file").exists()
