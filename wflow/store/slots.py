"""Checkpoints: named arrays as bytes with a checksum, in two slots of which the older is overwritten."""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

NAME = "checkpoint"
DIMS = ("checkpoint_slot", "checkpoint_block", "checkpoint_byte")
BLOCK = 1024
MARK = b"wflowcp1"
HEAD = struct.Struct("<8sIIQ")  # mark, CRC-32 of all that follows it, length of the table, length of the whole
KINDS = ("<f8", "<i8", "<u8")


@dataclass(frozen=True)
class Checkpoint:
    """Arrays from which a run goes on, and how many frames and steps of the file come before; `number` counts."""

    number: int
    frames: int
    steps: int
    arrays: dict[str, np.ndarray]


def encode(point: Checkpoint) -> bytes:
    """The checkpoint as bytes: a table in JSON, then the numbers. Memory order is kept, as sums depend on it."""
    table: list[list[object]] = []
    parts: list[bytes] = []
    for name, values in point.arrays.items():
        array = np.asarray(values)
        kind = {"f": "<f8", "u": "<u8"}.get(array.dtype.kind, "<i8")
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        table.append([name, kind, order, list(array.shape)])
        parts.append(array.astype(kind).tobytes("F" if order == "F" else "C"))
    text = json.dumps([point.number, point.frames, point.steps, table]).encode()
    body = text + b"".join(parts)
    rest = struct.pack("<IQ", len(text), HEAD.size + len(body)) + body
    return MARK + struct.pack("<I", zlib.crc32(rest)) + rest


def decode(data: bytes) -> Checkpoint | None:
    """The checkpoint in a slot, None where there is no whole one. Nothing is allocated but for what the bytes hold."""
    if len(data) < HEAD.size:
        return None
    mark, total, length, size = HEAD.unpack_from(data)
    if mark != MARK or size > len(data) or zlib.crc32(data[12:size]) != total:
        return None
    try:
        number, frames, steps, table = json.loads(data[HEAD.size : HEAD.size + length])
        place, arrays = HEAD.size + length, {}
        for name, kind, order, shape in table:
            arrays[str(name)], place = _array(data[:size], place, kind, order, shape)
        if not all(type(count) is int and count >= 0 for count in (number, frames, steps)):
            raise ValueError("not counts")
        return Checkpoint(number, frames, steps, arrays)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _array(data: bytes, place: int, kind: str, order: str, shape: list[int]) -> tuple[np.ndarray, int]:
    if kind not in KINDS or order not in ("C", "F") or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("not a table of this package")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if place + 8 * count > len(data):
        raise ValueError("the table claims more than there is")
    flat = np.frombuffer(data, kind, count, place).copy()
    return flat.reshape(shape, order="F" if order == "F" else "C"), place + 8 * count


def newest(slots: np.ndarray, limits: Mapping[str, int]) -> Checkpoint | None:
    """The newest whole checkpoint of both slots, (2, blocks, BLOCK), that speaks of no more than is committed."""
    found = [decode(slot.tobytes()) for slot in slots]
    whole = [p for p in found if p and p.frames <= limits["committed"] and p.steps <= limits["committed_steps"]]
    return max(whole, key=lambda point: point.number, default=None)


def blocks(size: int) -> int:
    """Blocks for a checkpoint of `size` bytes, with an eighth to spare."""
    return -(-(size + size // 8) // BLOCK)
