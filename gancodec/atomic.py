"""Write a file whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

OPEN_FILES = ("/proc/self/fd", "/proc/thread-self/fd", "/dev/fd")
LISTS = "system.posix_acl_access"  # the attribute that holds them
LINKS = 40  # that are followed to an open file, as many as Linux does


def descriptor(name: str | Path) -> int | None:
    """The number of the open file that a name such as /dev/stdout or /dev/fd/3 stands for; None for other names."""
    path = str(name)
    for _ in range(LINKS):
        folder, last = os.path.split(os.path.abspath(path))
        if last.isdecimal() and len(last) < 10 and os.path.realpath(folder) in map(os.path.realpath, OPEN_FILES):
            return int(last)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def write(target: Path, data: bytes, times: os.stat_result | None = None, *, new: bool = False) -> None:
    """`replace` for a target that the user names: links are followed, and what is no plain file, or is open already,
    is written into, as a rename would take its place."""
    if (number := descriptor(target)) is not None:
        with os.fdopen(os.dup(number), "wb") as handle:
            handle.write(data)
    elif (old := _status(target)) is not None and not stat.S_ISREG(old.st_mode):
        target.write_bytes(data)
    else:
        replace(Path(os.path.realpath(target)), data, times, new=new)


def replace(target: Path, data: bytes, times: os.stat_result | None = None, *, new: bool = False) -> None:
    """Write `data` beside `target`, then rename it into place, with the modification time of `times` if given.

    The mode of a file that is replaced stays, and its owner, group, access lists and attributes where they may be set;
    other hard links to it keep the old content. With `new` nothing is replaced.

    Raises OSError, FileExistsError for a target that is there in spite of `new`; no part of the file is left behind
    then.
    """
    temporary = target.with_name(f".gancodec-{os.urandom(6).hex()}.tmp")
    old = None if new else _status(target)
    mode = 0o666 if old is None else old.st_mode & 0o600  # nobody else, until it has all that the old one has
    try:
        with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as handle:
            handle.write(data)
            handle.flush()
            if old is not None and hasattr(os, "fchown"):
                _take_over(handle.fileno(), target, old)
            os.fsync(handle.fileno())
        if times is not None:
            os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))
        if new:
            _claim(temporary, target)
        else:
            os.replace(temporary, target)
    except BaseException:  # also Ctrl-C: no half-written file stays behind
        temporary.unlink(missing_ok=True)
        raise


def _status(target: Path) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(target)
    return None


def _take_over(handle: int, target: Path, old: os.stat_result) -> None:
    """Give the new file what the old one has; a group that is not the old one's may do no more than everybody."""
    mode = old.st_mode & 0o777
    try:
        with suppress(PermissionError):
            os.fchown(handle, old.st_uid, -1)
        os.fchown(handle, -1, old.st_gid)
        _copy_attributes(handle, target)
    except OSError:
        mode &= 0o707 | (mode & 0o007) << 3
    os.fchmod(handle, mode)


def _copy_attributes(handle: int, target: Path) -> None:
    """Those of users, and access lists, whose failure is raised."""
    names: list[str] = []
    with suppress(OSError, AttributeError):  # a file system, or a system, without them
        names = os.listxattr(target)
        os.removexattr(handle, LISTS)  # its folder's default for new files
    for name in names:
        with suppress(*(() if name == LISTS else (OSError,))):
            if name == LISTS or name.startswith("user."):
                os.setxattr(handle, name, os.getxattr(target, name))


def _claim(temporary: Path, target: Path) -> None:
    """Rename to a name that nobody has; FileExistsError where somebody has it."""
    try:
        os.link(temporary, target)
        temporary.unlink()
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: an empty file holds the name for a moment
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            os.replace(temporary, target)
        except BaseException:
            target.unlink()
            raise
