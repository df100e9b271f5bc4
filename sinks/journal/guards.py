"""What keeps a journal to one local appender, and tells when the machine may have lost its end."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from sinks.journal.errors import JournalLocked, JournalOnNetworkFileSystem

_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "orangefs", "pvfs2", "smb", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip
_LOCAL_FUSE = frozenset({"fuse.ext2", "fuse.ext4", "fuse.fuse-overlayfs", "fuse.ntfs", "fuse.ntfs-3g"})
"""FUSE with a name is mostly a network (sshfs, glusterfs, s3fs, gcsfuse, …): only these are let through."""

_MOUNTINFO = Path("/proc/self/mountinfo")
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")


class FolderLock:
    """The right to append to a folder: held as long as this object, given up by the kernel if we are killed."""

    def __init__(self, folder: Path) -> None:
        """Raises JournalLocked, naming the process that holds it."""
        self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, 20, 0).strip()
            os.close(self._fd)
            raise JournalLocked(folder, int(pid) if pid.isdigit() else None) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


def boot_id() -> str:
    """Another one after each start of the machine; empty where the system does not say."""
    try:
        return _BOOT_FILE.read_text().strip()
    except OSError:
        return ""


def refuse_network_file_system(folder: Path) -> None:
    """Raises JournalOnNetworkFileSystem; without /proc there is nothing to judge by, and nothing is refused."""
    if not _MOUNTINFO.exists():
        return
    file_system = file_system_of(folder.resolve(), _MOUNTINFO.read_text())
    fuse_over_network = file_system.startswith("fuse.") and file_system not in _LOCAL_FUSE
    if file_system in _NETWORK_FILE_SYSTEMS or fuse_over_network:
        raise JournalOnNetworkFileSystem(folder, file_system)


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds the absolute `path`, by the text of /proc/self/mountinfo.

    The longest mount point that leads to `path` decides; of mounts on one point, the last.
    """
    best, file_system = -1, ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = Path(_unescape(left.split()[4]))
        if len(mount_point.parts) >= best and path.is_relative_to(mount_point):
            best, file_system = len(mount_point.parts), right.split()[0]
    return file_system


def _unescape(text: str) -> str:
    """Undo the kernel's octal escapes of blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
