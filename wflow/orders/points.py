"""The points of a study: solved one by one or in processes, and kept in a folder from which a study goes on."""

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import FileError, InputError, Status
from wflow.records import box, describe_grid
from wflow.results import Result, load
from wflow.states import STATES, kind
from wflow.store import Layout, Reader, Writer
from wflow.targets import Target

AXES = ("axis_0", "axis_1", "axis_2", "axis_3")


@dataclass(frozen=True)
class Solved:
    """What `solve` gave for one size and seed, and the seconds it took."""

    solution: Any
    seconds: float


@dataclass(frozen=True)
class Task:
    """One call of `solve`, that can be sent to another process; `path` is where the solution is kept."""

    solve: Callable[..., Any]
    size: Any
    seed: int | None
    path: Path | None

    def __call__(self) -> Solved:
        start = time.perf_counter()
        given = (self.size,) if self.seed is None else (self.size, self.seed)
        found = solution(self.solve(*given), f" at size {self.size}")
        point = Solved(found, time.perf_counter() - start)
        if self.path is not None:
            keep(self.path, point, said(self.solve))
        return point


def solve_all(
    solve: Callable[..., Any],
    sizes: Iterable[Any],
    seeds: tuple[int | None, ...],
    folder: Path | None,
    resume: bool,
    workers: int,
) -> dict[tuple[Any, int | None], Solved]:
    """The point of every size and seed. With `resume` those in the folder are taken from there."""
    tasks = {(size, seed): Task(solve, size, seed, _place(folder, size, seed)) for size in sizes for seed in seeds}
    points = {key: kept(task.path, said(solve)) for key, task in tasks.items()} if resume else {}
    left = {key: task for key, task in tasks.items() if points.get(key) is None}
    solved = dict(_each(list(left.items()), workers))
    return {key: solved[key] if key in solved else points[key] for key in tasks}  # type: ignore[misc]


def _each(tasks: list[tuple[Any, Task]], workers: int) -> Iterator[tuple[Any, Solved]]:
    if workers == 1 or len(tasks) < 2:
        yield from ((key, task()) for key, task in tasks)
        return
    try:
        pickle.dumps(tasks)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"solve cannot be sent to other processes ({error}): make it a function of a module") from None
    # Fresh processes: threads of compiled kernels do not survive a fork. The dearest come first.
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn"))
    try:
        futures = [(key, pool.submit(task)) for key, task in reversed(tasks)]
        yield from ((key, future.result()) for key, future in futures)
    finally:
        pool.shutdown(cancel_futures=True)


def solution(value: Any, where: str = "") -> Any:
    """A state or a target, or an array; refused where a run did not reach its end."""
    if isinstance(value, Result):
        if not value.status.good:
            raise InputError(f"the run{where} {value.status.value}")
        value = value.final
    return value if isinstance(value, (*STATES, Target)) else floats("a solution", value)


def said(solve: Callable[..., Any]) -> str:
    """What a function is called, or what an object says of itself."""
    name = getattr(solve, "__qualname__", None)
    return repr(solve) if name is None else f"{solve.__module__}.{name}"


def _place(folder: Path | None, size: Any, seed: int | None) -> Path | None:
    return None if folder is None else folder / f"{size}{'' if seed is None else f' seed {seed}'}.h5"


def keep(path: Path, point: Solved, name: str) -> None:
    """Write a point to a file."""
    value = point.solution
    info: dict[str, Any] = {"record": "point", "solve": name, "seconds": point.seconds}
    if isinstance(value, STATES):
        info |= {"state": kind(value), "grid": describe_grid(box(value))}
        Result(np.zeros(1), (value,), {}, {}, Status.COMPLETE, info).save(path)
        return
    if isinstance(value, Target):
        raise InputError(f"a {type(value).__name__} cannot be kept: let solve give a state, an array or a number")
    array: Array = np.atleast_1d(value)
    info["rank"] = np.ndim(value)
    layout = Layout(0, {}, (), {"solution": (AXES[: array.ndim], array)}, (), info)
    with Writer(path, layout, overwrite=True) as file:
        file.close(Status.COMPLETE.value)


def kept(path: Path | None, name: str) -> Solved | None:
    """The point in a file, None where there is no finished one; raises `InputError` for one of another study."""
    if path is None or not path.exists():
        return None
    try:
        with Reader(path) as reader:
            attributes = reader.attributes
            whole = attributes["status"] == Status.COMPLETE.value
            array = reader.static("solution") if "solution" in reader.static_names else None
    except FileError:
        return None
    if attributes.get("solve") != name:
        raise InputError(f"{path} is of {attributes.get('solve')}, not of {name}: take another folder, or resume=False")
    if not whole:
        return None
    if array is None:
        return Solved(load(path).final, float(attributes["seconds"]))
    return Solved(array if attributes["rank"] else array[0], float(attributes["seconds"]))
