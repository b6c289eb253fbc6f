"""What other programs read: CSV, classic netCDF and VTKHDF, from the committed frames of a wflow file.

Sources: the netCDF classic format with 64-bit offsets; VTKHDF 2.0, https://docs.vtk.org, "VTKHDF format
specification".
"""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import netcdf_file

from wflow.errors import InputError, choose
from wflow.store import files
from wflow.store.layout import STEP
from wflow.store.reader import Reader

SUFFIXES = {"csv": ".csv", "netcdf": ".nc", "vtkhdf": ".vtkhdf"}
AXES = ("x", "y", "z")
NETCDF_LIMIT = (1 << 31) - 4  # bytes of one row, or of a whole array that is written once
TOPOLOGIES = ("Vertices", "Lines", "Polygons", "Strips")


def export(path: str | os.PathLike[str], to: str, out: str | os.PathLike[str] | None = None) -> list[Path]:
    """Write the committed frames of a file in another format; the paths of what was written.

    `to`: "csv" (a row to a frame of everything that is one number there, and a second file, named .steps.csv, a row
    to a step), "netcdf" (every dataset with its dimensions and all attributes; netCDF-3, 64-bit offsets) or "vtkhdf"
    (for ParaView: densities as cells of a box, one cell thick where the dimension is below three; particles and
    points of up to three dimensions as vertices). `out` is by default the file with another suffix. A file that is
    there is replaced once the new one is whole. Cost: the file is read and written once, a frame in memory at a time
    for vtkhdf. Raises `InputError` for a format that cannot hold the file, `FileError` for trouble with files.
    """
    write = {"csv": _csv, "netcdf": _netcdf, "vtkhdf": _vtkhdf}[choose(to, SUFFIXES, "format")]
    target = Path(path).with_suffix(SUFFIXES[to]) if out is None else Path(out)
    with Reader(path) as reader, files.reported(f"cannot write {target}"):
        if target.exists() and target.samefile(reader.path):
            raise InputError(f"{target} is the file itself; give another out")
        files.make_folder(target.parent)
        return write(reader, target)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A path beside `target` that takes its name when all went well."""
    beside = target.with_name(f".{target.name}.part")
    try:
        yield beside
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _csv(reader: Reader, target: Path) -> list[Path]:
    names = [name for name in reader.names if reader.dims(name) == ("time",)]
    small = [name for name in reader.names if reader.dims(name)[1:] == ("axis",)]
    columns = {name: reader.column(name) for name in ("time", *names)}
    for name in small:
        columns |= {f"{name}_{k}": part for k, part in enumerate(reader.column(name).T)}
    written = [_table(target, columns)]
    if reader.steps:
        written.append(_table(target.with_suffix(".steps.csv"), reader.steps))
    return written


def _table(target: Path, columns: dict[str, np.ndarray]) -> Path:
    """Numbers to all their digits."""
    with _replacing(target) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return target


def _netcdf(reader: Reader, target: Path) -> list[Path]:
    framed = [*reader.names, "time"]
    series = {STEP + name: values for name, values in reader.steps.items()}
    static = {name: reader.static(name) for name in reader.static_names}
    too_large = [name for name, array in (static | series).items() if array.nbytes > NETCDF_LIMIT]
    too_large += [name for name in framed if reader.frames and reader.frame(name, 0).nbytes > NETCDF_LIMIT]
    if too_large:
        raise InputError(f"netCDF-3 cannot hold {', '.join(too_large)}: too large; the wflow file is netCDF-4 itself")
    with _replacing(target) as beside, netcdf_file(beside, "w", version=2) as file:
        file.createDimension("time", None)
        if series:
            file.createDimension("step", len(next(iter(series.values()))))
        for name, values in reader.attributes.items():
            setattr(file, name, _text_or_numbers(values))
        for name, array in (static | series).items():
            _variable(file, name, reader.dims(name), array)
        for name in framed:
            _variable(file, name, reader.dims(name), reader.column(name))
    return [target]


def _text_or_numbers(value: Any) -> Any:
    """What netCDF-3 takes: text, 32-bit integers, floats; anything else as text."""
    if isinstance(value, str):
        return value.encode() or b" "
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return array
    fits = array.dtype.kind in "iu" and array.size and np.all(np.abs(array.astype(float)) < 2**31)
    return array.astype(np.int32) if fits else str(value).encode()


def _variable(file: Any, name: str, dims: tuple[str, ...], array: np.ndarray) -> None:
    for dim, size in zip(dims, array.shape, strict=True):
        if dim not in file.dimensions:
            file.createDimension(dim, size)
    file.createVariable(name, "d", dims)[:] = array.astype(np.float64)


def _vtkhdf(reader: Reader, target: Path) -> list[Path]:
    with _replacing(target) as beside, h5py.File(beside, "w") as file:
        root, steps = file.create_group("VTKHDF"), file.create_group("VTKHDF/Steps")
        root.attrs["Version"] = np.array([2, 0])
        steps.attrs["NSteps"] = reader.frames
        steps["Values"] = reader.column("time")
        if "density" in reader.names:
            _image(reader, root, steps)
        elif "position" in reader.names:
            _points(reader, root, steps)
        else:
            raise InputError("VTKHDF is for densities, particles and points; take csv or netcdf")
    return [target]


def _image(reader: Reader, root: h5py.Group, steps: h5py.Group) -> None:
    """Cells of a box; its axes are z, y, x in the file, and missing ones are one cell thick."""
    dims = reader.dims("density")[1:]
    centers = [reader.static(axis) for axis in dims]
    lower, spacing = np.zeros(3), np.ones(3)
    for k, x in enumerate(centers):
        spacing[k] = x[1] - x[0] if len(x) > 1 else 1.0
        lower[k] = x[0] - 0.5 * spacing[k]
    spacing[len(dims) :] = spacing[: len(dims)].min()
    cells = [len(x) for x in centers] + [1] * (3 - len(dims))
    root.attrs["Type"] = np.bytes_("ImageData")
    root.attrs["WholeExtent"] = np.array([[0, n] for n in cells]).ravel()
    root.attrs["Origin"], root.attrs["Spacing"], root.attrs["Direction"] = lower, spacing, np.eye(3).ravel()
    data = root.create_dataset("CellData/density", (reader.frames, *cells[::-1]), "f8", compression="gzip", chunks=True)
    for k in range(reader.frames):
        data[k] = reader.frame("density", k).T.reshape(cells[::-1])
    steps["CellDataOffsets/density"] = np.arange(reader.frames)
    if "target" in reader.static_names:
        root["CellData/target"] = reader.static("target").T.reshape(1, *cells[::-1])
        steps["CellDataOffsets/target"] = np.zeros(reader.frames, dtype=np.int64)


def _points(reader: Reader, root: h5py.Group, steps: h5py.Group) -> None:
    """One vertex a particle: the points of all frames below each other, the vertices once."""
    frames = reader.frames
    n, dim = reader.frame("position", 0).reshape(-1, reader.frame("position", 0).shape[-1]).shape if frames else (0, 1)
    if dim > len(AXES):
        raise InputError(f"VTKHDF holds up to three dimensions, the particles have {dim}; take netcdf")
    root.attrs["Type"] = np.bytes_("PolyData")
    root["NumberOfPoints"] = np.full(frames, n)
    moving = ["position", *(name for name in reader.names if reader.dims(name) == reader.dims("position"))]
    for name in dict.fromkeys(moving):
        place = "Points" if name == "position" else f"PointData/{name}"
        data = root.create_dataset(place, (frames * n, 3), "f8", compression="gzip", chunks=True)
        for k in range(frames):
            data[k * n : (k + 1) * n, :dim] = reader.frame(name, k).reshape(n, dim)
        steps["PointOffsets" if name == "position" else f"PointDataOffsets/{name}"] = n * np.arange(frames)
    if "weight" in reader.static_names:
        root["PointData/weight"] = reader.static("weight")
        steps["PointDataOffsets/weight"] = np.zeros(frames, dtype=np.int64)
    elif "weight" in reader.names:
        root["PointData/weight"] = np.concatenate([reader.frame("weight", k) for k in range(frames)])
        steps["PointDataOffsets/weight"] = n * np.arange(frames)
    for name in TOPOLOGIES:
        count = n if name == "Vertices" else 0
        part = root.create_group(name)
        part["NumberOfCells"] = part["NumberOfConnectivityIds"] = np.full(frames, count)
        part["Connectivity"], part["Offsets"] = np.arange(count), np.arange(count + 1)
    steps["PartOffsets"], steps["NumberOfParts"] = np.arange(frames), np.ones(frames, dtype=np.int64)
    steps["CellOffsets"] = steps["ConnectivityIdOffsets"] = np.zeros((frames, len(TOPOLOGIES)), dtype=np.int64)
