"""The file under HDF5."""

import os
from pathlib import Path

from wflow.errors import FileError


class Disk:
    """Positioned reads and writes for HDF5; the first failure is remembered and nothing is written after it.

    HDF5 must not see the failure: it drops the data of a closing dataset silently, keeps half a file open and
    brings the process down at its end. As nothing is written after it, the file stays as a killed process leaves it.
    `check` raises it as `FileError`.
    A file opened for reading so shares nothing with other handles of the process, not even what they keep in memory.
    """

    def __init__(self, path: Path, new: bool = True) -> None:
        self.path = path
        self.handle = os.open(path, (os.O_RDWR | os.O_CREAT | os.O_TRUNC) if new else os.O_RDONLY, 0o666)
        self.place = 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place}.get(whence)
        self.place = offset + (os.fstat(self.handle).st_size if base is None else base)
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer, with zeros beyond the end; the system reads at most two gigabytes at once."""
        left = memoryview(buffer).cast("B")
        while left and (count := os.preadv(self.handle, [left], self.place)):
            self.place += count
            left = left[count:]
        left[:] = bytes(len(left))
        return len(buffer)

    def write(self, data: memoryview) -> int:
        left = memoryview(data).cast("B")
        try:
            while left and self.error is None:
                count = os.pwrite(self.handle, left, self.place)
                self.place += count
                left = left[count:]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                os.ftruncate(self.handle, size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Nothing is held back here, and a kill of the process needs no fsync."""

    def start(self) -> bytes:
        """The first eight bytes, by which kinds of files are told apart."""
        return os.pread(self.handle, 8, 0)

    def check(self) -> None:
        """Raise the failure, if there was one."""
        if self.error is not None:
            raise FileError(f"cannot write {self.path}: {self.error.strerror}") from self.error

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""
        if self.handle >= 0:
            os.close(self.handle)
        self.handle = -1

    def __del__(self) -> None:
        """For a reader that was dropped without `close`."""
        if getattr(self, "handle", -1) >= 0:
            self.close()
