"""Control state and the guards of the folder."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from sinks.journal import ControlState, ControlStateError, JournalOnNetworkFileSystem
from sinks.journal.guards import file_system_of, refuse_network_file_system


def test_a_snapshot_and_its_position_move_together(tmp_path: Path) -> None:
    control = ControlState(tmp_path)
    assert control.get_snapshot("window") is None
    control.put_snapshot("window", 5, b"five")
    control.put_snapshot("window", 9, b"nine")
    assert control.get_snapshot("window") == (9, b"nine")
    assert control.positions() == {"window": 9}
    with pytest.raises(OverflowError):
        control.put_snapshot("window", 2**70, b"does not fit the position")  # the blob is written first
    assert control.get_snapshot("window") == (9, b"nine")
    control.close()


def test_blobs_are_kept_by_name(tmp_path: Path) -> None:
    control = ControlState(tmp_path)
    assert control.get_blob("quota") is None
    control.put_blob("quota", b"one")
    control.put_blob("quota", b"two")
    control.close()
    assert ControlState(tmp_path).get_blob("quota") == b"two"


def test_threads_and_connections_share_it(tmp_path: Path) -> None:
    states = [ControlState(tmp_path) for _ in range(2)]

    def commit_many(state: ControlState, name: str) -> None:
        for position in range(100):
            state.commit(name, position)

    threads = [threading.Thread(target=commit_many, args=(states[i % 2], f"reader-{i}")) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states[0].positions() == {f"reader-{i}": 99 for i in range(4)}


def test_a_lock_held_too_long_is_an_error_that_may_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.journal.control._BUSY_S_MAX", 0.05)
    control = ControlState(tmp_path)
    other = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ControlStateError) as error:
        control.commit("reader", 1)
    assert error.value.retriable
    other.execute("ROLLBACK")
    control.commit("reader", 1)


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:40 / /mnt/share rw,relatime - nfs4 server:/export rw,vers=4.2
31 30 254:16 / /mnt/share/local rw,relatime - xfs /dev/vdb rw
32 22 0:41 / /mnt/my\\040disk rw,relatime - fuse.sshfs host:/ rw
33 22 0:42 / /srv rw,relatime - tmpfs tmpfs rw
34 22 0:43 / /srv rw,relatime master:7 propagate_from:2 - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "file_system"),
    [
        ("/var/journal", "ext4"),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/journal", "nfs4"),
        ("/mnt/share/local/journal", "xfs"),
        ("/mnt/sharelocal", "ext4"),
        ("/mnt/my disk/journal", "fuse.sshfs"),
        ("/srv/journal", "cifs"),
    ],
)
def test_the_nearest_and_last_mount_decides(path: str, file_system: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == file_system


@pytest.mark.parametrize("file_system", ["nfs4", "cifs", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_system: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 / / rw - {file_system} source rw\n")
    monkeypatch.setattr("sinks.journal.guards._MOUNTINFO", mounts)
    with pytest.raises(JournalOnNetworkFileSystem, match=f"{file_system}.*local disk"):
        refuse_network_file_system(tmp_path)
    mounts.write_text("1 1 0:1 / / rw - ext4 source rw\n")
    refuse_network_file_system(tmp_path)
