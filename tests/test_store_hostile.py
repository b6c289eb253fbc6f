"""The store and files that are hostile, foreign or damaged: each refused, with what was found."""

import json
import struct
import zlib

import h5py
import numpy as np
import pytest
from store_cases import agrees, cloud, grid, write

from wflow.errors import FileError
from wflow.store import Reader, slots, verify


def raw(path, change):
    """Change a streamed file with plain h5py."""
    write(path, grid(1), 2)
    with h5py.File(path, "r+") as file:
        change(file)


def claim(file):
    space = h5py.h5s.create_simple((2**40,))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1024,))
    plist.set_deflate(1)
    h5py.h5d.create(file.id, b"huge", h5py.h5t.NATIVE_DOUBLE, space, plist)


def virtual(file):
    source = h5py.VirtualLayout((3,), "f8")
    source[:] = h5py.VirtualSource("/etc/passwd", "a", (3,))
    file.create_virtual_dataset("v", source)


def drop(file):
    del file["time"]


HOSTILE = {
    "keeps its data in another file": lambda f: f.create_dataset("e", (4,), "f8", external=[("/etc/passwd", 0, 32)]),
    "an external link": lambda f: f.__setitem__("l", h5py.ExternalLink("/etc/passwd", "/a")),
    "a soft link": lambda f: f.__setitem__("l", h5py.SoftLink("/density")),
    "a virtual dataset": virtual,
    "claims 8796093022208 bytes, but only 0 are stored": claim,
    "has the filter 32000": lambda f: f.create_dataset("z", data=np.zeros(99), compression="lzf"),
    "plain numbers": lambda f: f.create_dataset("s", data=["text"]),
    "lacks the datasets time": drop,
    "no attribute wflow_schema": lambda f: f.attrs.__delitem__("wflow_schema"),
    "its schema is 2.0": lambda f: f.attrs.__setitem__("wflow_schema", [2, 0]),
    "lacks the attributes status": lambda f: f.attrs.__delitem__("status"),
    "not a count": lambda f: f.attrs.__setitem__("committed", -1),
    "4 are committed": lambda f: f.attrs.__setitem__("committed", 4),
    "have no names": lambda f: f["density"].attrs.__delitem__("dimensions"),
}


@pytest.mark.parametrize("told", HOSTILE)
def test_hostile_files_are_refused(tmp_path, told):
    raw(tmp_path / "a.h5", HOSTILE[told])
    with pytest.raises(FileError, match=told):
        Reader(tmp_path / "a.h5")
    assert told in verify(tmp_path / "a.h5")[0]


def test_a_later_minor_schema_and_foreign_attributes_do_no_harm(tmp_path):
    def change(file):
        file.attrs["wflow_schema"] = [1, 7]
        file.attrs["flag"] = True
        file.attrs["comment"] = "of variable length"
        file.create_group("later")["inner"] = h5py.ExternalLink("/etc/passwd", "/a")

    raw(tmp_path / "a.h5", change)
    agrees(tmp_path / "a.h5", grid(1), 2)
    with Reader(tmp_path / "a.h5") as file:
        assert not {"flag", "comment"} & set(file.attributes)


def test_what_is_no_file_of_ours_is_told(tmp_path):
    path = write(tmp_path / "a.h5", cloud(), 3, "complete")
    (tmp_path / "text.h5").write_text("dear diary")
    (tmp_path / "short.h5").write_bytes(path.read_bytes()[:9000])
    cases = {"none.h5": "No such file", "text.h5": "not an HDF5 file", "short.h5": "truncated file", ".": "not a file"}
    for name, told in cases.items():
        for live in (False, True):
            with pytest.raises(FileError, match=told):
                Reader(tmp_path / name, live=live)
        assert len(verify(tmp_path / name)) == 1


def test_any_changed_or_missing_byte_of_a_completed_file_is_found(tmp_path):
    whole = write(tmp_path / "a.h5", cloud(), 3, "complete").read_bytes()
    other = tmp_path / "b.h5"
    assert verify(tmp_path / "a.h5") == []
    for place in range(0, len(whole), len(whole) // 150):
        other.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert verify(other), place
    for size in (*range(0, len(whole), len(whole) // 40), len(whole) - 1):
        other.write_bytes(whole[:size])
        assert verify(other), size
    other.write_bytes(whole + b"\n")
    assert "missing" in verify(other)[0]


@pytest.mark.parametrize(
    ("name", "told"), [("density", "1 frames damaged"), ("step_time", "1 steps"), ("target", "'target' is damaged")]
)
def test_a_flipped_bit_in_a_file_left_running_is_found(tmp_path, name, told):
    path = write(tmp_path / "a.h5", grid(1), 2)
    with h5py.File(path) as file:
        place = file[name].id.get_offset() + 8
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert told in " ".join(verify(path))


def slot(table, body=b"", number=1):
    """A slot with a valid checksum around any table."""
    text = json.dumps([number, 0, 0, table]).encode()
    rest = struct.pack("<IQ", len(text), slots.HEAD.size + len(text) + len(body)) + text + body
    return slots.MARK + struct.pack("<I", zlib.crc32(rest)) + rest


@pytest.mark.parametrize(
    "data",
    [
        slot([["a", "<f8", "C", [2**60]]]),
        slot([["a", "<f8", "C", [2**40, 2**40]]]),
        slot([["a", "<f8", "C", [-1]]], bytes(8)),
        slot([["a", "|O", "C", [1]]], bytes(8)),
        slot([["a", "<f8", "K", [1]]], bytes(8)),
        slot([["a", "<f8", "C", ["1"]]], bytes(8)),
        slot([["a", "<f8"]], bytes(8)),
        slot("text"),
        slot(7),
        slot([["a", "<f8", "C", [1.5]]], bytes(16)),
        slots.MARK + bytes(40),
        b"",
    ],
)
def test_a_checkpoint_that_claims_what_is_not_there_is_none(data):
    assert slots.decode(data.ljust(2048, b"\0")) is None


def test_a_checkpoint_beyond_what_is_committed_is_not_used(tmp_path):
    assert slots.decode(slot([["a", "<f8", "C", [1]]], bytes(8))).arrays["a"].tolist() == [0.0]
    room = np.zeros((2, 2, slots.BLOCK), np.uint8)
    for k, frames in enumerate((3, 4)):
        data = slots.encode(slots.Checkpoint(k + 1, frames, 0, {}))
        room[k].reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
    for committed, number in ((4, 2), (3, 1)):
        assert slots.newest(room, {"committed": committed, "committed_steps": 0}).number == number
    assert slots.newest(room, {"committed": 2, "committed_steps": 0}) is None


@pytest.mark.parametrize(("shape", "kind"), [((2, 8), "u1"), ((3, 1, 8), "u1"), ((2, 1, 8), "f8")])
def test_a_checkpoint_of_another_form_is_refused(tmp_path, shape, kind):
    def change(file):
        item = file.create_dataset("checkpoint", data=np.zeros(shape, kind))
        item.attrs.create("dimensions", np.array([b"a"] * len(shape)))

    raw(tmp_path / "a.h5", change)
    with Reader(tmp_path / "a.h5") as file, pytest.raises(FileError, match="not two slots of bytes"):
        file.checkpoint()
