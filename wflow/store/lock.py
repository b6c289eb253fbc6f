"""One writer to a file, held by a lock that ends with its process."""

import fcntl
import os
from pathlib import Path

from wflow.errors import FileError


def acquire(path: Path) -> int:
    """Lock a small file beside `path`, as `path` itself is replaced while it is written; return the handle.

    Raises `FileError` if another writer holds it.
    """
    beside = _beside(path)
    while True:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
            os.close(handle)
            raise FileError(f"{path} is being written by process {owner}; wait for it or take another name") from None
        except BaseException:
            os.close(handle)
            raise
        if _same(handle, beside):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
        os.close(handle)


def release(path: Path, handle: int) -> None:
    """Give the lock back and remove its file, while it is still held."""
    _beside(path).unlink(missing_ok=True)
    os.close(handle)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _same(handle: int, path: Path) -> bool:
    """Whether the file that was locked still has its name: the last owner may have removed it in between."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
