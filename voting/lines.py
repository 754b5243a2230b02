"""Files of JSON lines, one value a line, that grow while they may be killed at any moment.

The last line of such a file may be half-written: it has no newline and is no JSON. Readers skip it, and the next
writer cuts it off. A last line that lacks nothing but its newline counts, and is given it.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson


def append_lines(path: str | os.PathLike[str], values: Iterable[object]) -> None:
    """Appends a line for each value to `path`, made if absent; on disk when this returns. One writer at a time.
    OSError names the file, also that of a full disk."""
    try:
        with open(path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.seek(0)
                    content = file.read()
                    start = content.rfind(b"\n") + 1
                    if _is_json(content[start:]):
                        file.write(b"\n")
                    else:
                        file.truncate(start)
            file.write(b"".join(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE) for value in values))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for every line that is not blank; none if there is no file. ValueError names the
    file and the line of what is no JSON, other than a half-written last line."""
    lines = Path(path).read_bytes().split(b"\n") if Path(path).exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == len(lines) and not _is_json(line)):
            continue
        try:
            value = orjson.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: is not JSON ({error})") from None
        yield number, value


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True
