"""Writing a file as a whole: whoever reads it, at any time and after any kill, finds the old one or the new one."""

import contextlib
import os
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Replaces `path` by `content`: written aside, renamed, and on the disk, file and folder, when this returns.

    OSError naming the file (a full disk does not) if it cannot be written; the old file then stays and the half-made
    one is removed. One writer a path at a time.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:  # a control-C too may leave no half-made file
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    with contextlib.suppress(OSError):  # not every system can sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def cannot_write(path: Path, error: OSError) -> OSError:
    """The error with the file in its message."""
    named = OSError(f"{path}: cannot be written: {error.strerror or error}")
    named.errno = error.errno
    return named
