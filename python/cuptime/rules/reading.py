"""Files that others wrote, read without waiting and to a limit: what has the name may be a pipe that nobody writes to,
or a device that never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def content_of(path: Path, bytes_max: int) -> bytes:
    """The content of a regular file; of a larger one, its first `bytes_max` and one more. Blocks no longer than the
    disk does; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with open(descriptor, "rb") as file:
        return file.read(bytes_max + 1)


def is_text(name: str) -> bool:
    """Is it UTF-8 on the disk? Python keeps a byte that is not as half of a pair, which nobody can print or send."""
    return name.isascii() or not any("\ud800" <= one <= "\udfff" for one in name)


def shown_name(name: str) -> str:
    """A file's name that can be printed."""
    return os.fsencode(name).decode("utf-8", "replace")
