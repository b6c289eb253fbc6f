"""Orders of convergence, observed: errors against sizes, with the scatter of the orders and a band for the slope."""

import csv
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import InputError, Status, choose
from wflow.orders.fitting import Fit, fitted, richardson, slopes
from wflow.orders.norms import differences
from wflow.orders.picture import HEADS, draw
from wflow.orders.points import solution, solve_all
from wflow.results import Result
from wflow.states import STATES
from wflow.store import Layout, Writer
from wflow.targets import Target

ROUNDING = 1e-13  # of the size of the solution: errors below it say nothing


@dataclass(frozen=True, eq=False, repr=False)
class Convergence:
    """What `convergence` gives: printed as a table; `rows` has one dict for each size with an error, coarsest first.

    `sizes`, `h` and `seconds` are `(k,)`; orders are taken in `h`. `errors[norm]` is `(seeds, k)`; `fits[norm]` the
    line through them. `reference`: False where the errors are estimates by Richardson, one fewer than the sizes run.
    """

    sizes: Array
    h: Array
    errors: dict[str, Array]
    fits: dict[str, Fit]
    seconds: Array
    seeds: tuple[int, ...]
    reference: bool

    @property
    def asymptotic(self) -> bool:
        """Whether no norm gives cause to doubt its order."""
        return not any(fit.doubt for fit in self.fits.values())

    @property
    def rows(self) -> list[dict[str, Any]]:
        """`size`, `h`, `seconds`, and for each norm NAME: its mean error over the seeds; NAME_spread, the standard
        error of that mean; NAME_order, the order since the size before. What is not known is nan."""
        found: list[dict[str, Any]] = []
        for k in range(len(self.h)):
            found.append({"size": float(self.sizes[k]), "h": float(self.h[k]), "seconds": float(self.seconds[k])})
            for norm, errors in self.errors.items():
                spread = errors[:, k].std(ddof=1) / len(errors) ** 0.5 if len(errors) > 1 else np.nan
                order = slopes(self.h, errors.mean(axis=0))[k - 1] if k else np.nan
                numbers = (errors[:, k].mean(), spread, order)
                found[-1] |= dict(zip((norm, f"{norm}_spread", f"{norm}_order"), map(float, numbers), strict=True))
        return found

    def plot(self, path: str | Path | None = None) -> Any:
        """Errors against h on log scales with triangles of the fitted slopes, saved where a path is given."""
        return draw(self, path)

    def save(self, path: str | Path) -> Path:
        """Write the study to an HDF5 file, replacing a file of this package that is there."""
        static: dict[str, Any] = {name: (("level",), getattr(self, name)) for name in ("sizes", "h", "seconds")}
        static |= {f"error_{norm}": (("seed", "level"), errors) for norm, errors in self.errors.items()}
        attributes: dict[str, Any] = {"record": "convergence", "study": str(self), "reference": int(self.reference)}
        attributes["fit"] = ["order", "lower", "upper", "scatter", "constant"]
        attributes |= {f"fit_{n}": [f.order, *f.band, f.scatter, f.constant] for n, f in self.fits.items()}
        seeds = {"seed": np.array(self.seeds, dtype=np.float64)}
        with Writer(path, Layout(0, seeds, (), static, (), attributes), overwrite=True) as file:
            file.close(Status.COMPLETE.value)
        return Path(path)

    def write(self, path: str | Path) -> Path:
        """Write `rows` as CSV, numbers to four digits, as times and the last digits change from machine to machine;
        the fits stand below as rows that begin with "fit"."""
        rows = [{name: _cell(name, row[name]) for name in row if name != "seconds"} for row in self.rows]
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
            for norm, fit in self.fits.items():
                file.write(
                    f"fit {norm},order {fit.order:.3f},from {fit.band[0]:.3f},to {fit.band[1]:.3f},{fit.doubt}\n"
                )
        return Path(path)

    def __str__(self) -> str:
        cells = [["size", "h", *(text for norm in self.errors for text in (HEADS[norm], "order")), "seconds"]]
        for row in self.rows:
            numbers = [_short(row[key], key) for norm in self.errors for key in (norm, f"{norm}_order")]
            cells.append([f"{row['size']:g}", f"{row['h']:.3g}", *numbers, f"{row['seconds']:.2g}"])
        widths = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
        lines = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
        head = "errors against the reference" if self.reference else "errors estimated from the next finer size"
        head += f", mean of {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""
        return "\n".join([head, *lines, *(f"{HEADS[norm]}: order {_said(fit)}" for norm, fit in self.fits.items())])

    __repr__ = __str__


def convergence(
    solve: Callable[..., Any],
    sizes: Sequence[float],
    reference: Any = None,
    norms: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    sizes_are: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    workers: int = 1,
) -> Convergence:
    """Run `solve(size)` for each size; the errors, and their observed orders with scatter and confidence.

    `solve` gives a `Result` (its last state counts), a state, an array or a number. `sizes_are` "counts" (cells,
    particles, steps: orders in h = 1/size) or "steps" (h = size); without it whole numbers are counts. `reference`:
    what `solve` should give, or a target, or a function of the size that gives one of these; without it the error at
    each size but the finest is estimated by Richardson, |q_h - q_h'| / (1 - (h'/h)^p), h' the next finer size and p
    the fitted order. `seeds`: a number of seeds or the seeds themselves for stochastic runs, called as
    `solve(size, seed)`; the errors of all count. Without reference the runs of one seed must share their noise.

    `norms`: of "l1", "l2", "linf", "w2"; by default all that apply. Densities: integrals over the reference's cell
    averages on the grid of the solution (carried over exactly between nested grids, else to second order), and W2.
    Arrays: mean, root mean square and largest difference. Clouds of equal size: the same of the distances, particle
    by particle, and W2. Gaussians and points, and other clouds: W2. Numbers: "linf".

    `out`: a folder in which every solution is kept as soon as it is found; with `resume` those that are there are not
    solved again, so that a study that was killed goes on point by point, and one with more sizes adds to it. `workers`:
    processes that solve points side by side, the finest first; `solve` must then be a function of a module.

    A study is in doubt (`asymptotic` False) with fewer than three errors, where errors do not fall, or where the last
    two orders differ by more than 0.1 beyond the noise of the seeds. Source of the estimate: Roache, J. Fluids Eng.
    116 (1994) 405. Raises `InputError` for sizes, norms and references that do not fit.

    >>> study = convergence(lambda h: 1.0 + 3.0 * h**2, [0.1, 0.05, 0.025], reference=1.0)
    >>> round(study.fits["linf"].order, 6), study.asymptotic
    (2.0, True)
    """
    given, chosen = _ordered(sizes, sizes_are), _seeds(seeds)
    if resume and out is None:
        raise InputError("resume=True goes on with the solutions in a folder: give its path as out=...")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers is a number of processes of at least 1, got {workers!r}")
    for norm in norms or ():
        choose(norm, HEADS, "norm")
    asked, folder = (None,) if seeds is None else chosen, None if out is None else Path(out)
    points = solve_all(solve, [size for size, _ in given], asked, folder, resume, workers)
    levels = [(size, [points[size, seed].solution for seed in asked]) for size, _ in given]
    columns = _columns(levels, reference, norms)
    seconds = [sum(points[size, seed].seconds for seed in asked) for size, _ in given]
    count, h = len(columns), np.array([step for _, step in given])
    names = [norm for norm in HEADS if norm in columns[0][0]]
    errors = {norm: np.array([[one[norm] for one in column] for column in columns]).T for norm in names}
    if reference is None:
        errors = {norm: richardson(h, gaps) for norm, gaps in errors.items()}
    floor = ROUNDING * max(one["scale"] for column in columns for one in column)
    fits = {norm: fitted(h[:count], errors[norm], floor) for norm in names}
    counted = np.array([float(size) for size, _ in given])[:count]
    return Convergence(counted, h[:count], errors, fits, np.array(seconds)[:count], chosen, reference is not None)


def _columns(
    levels: list[tuple[Any, list[Any]]], reference: Any, norms: Sequence[str] | None
) -> list[list[dict[str, float]]]:
    """For each size the differences of every seed to the reference, or to the next finer size."""
    if reference is None:
        pairs = [(one, two) for (_, one), (_, two) in itertools.pairwise(levels)]
        return [[differences(a, b, norms) for a, b in zip(one, two, strict=True)] for one, two in pairs]
    moving = callable(reference) and not isinstance(reference, (*STATES, Result, Target))
    columns = []
    for size, found in levels:
        truth = solution(reference(size) if moving else reference)
        columns.append([differences(one, truth, norms) for one in found])
    return columns


def _ordered(sizes: Sequence[float], sizes_are: str | None) -> list[tuple[Any, float]]:
    """Sizes and their h, coarsest first."""
    values = floats("sizes", sizes)
    if values.ndim != 1 or values.size < 2 or np.any(values <= 0.0) or len(np.unique(values)) < values.size:
        raise InputError(f"sizes must be two or more different positive numbers, got {sizes}")
    guess = "counts" if all(isinstance(size, int | np.integer) for size in sizes) else "steps"
    kind = choose(sizes_are or guess, ("counts", "steps"), "kind of sizes")
    h = 1.0 / values if kind == "counts" else values
    return sorted(zip(sizes, h.tolist(), strict=True), key=lambda pair: -pair[1])


def _seeds(seeds: int | Sequence[int] | None) -> tuple[int, ...]:
    chosen = (0,) if seeds is None else tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if len(set(chosen)) < max(1, len(chosen)):
        raise InputError(f"seeds must be a number of at least 1, or different seeds, got {seeds}")
    return chosen


def _cell(name: str, value: float) -> str:
    return "" if np.isnan(value) else f"{value:.12g}" if name == "size" else f"{value:.4g}"


def _short(value: float, key: str) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}" if key.endswith("_order") else f"{value:.3e}"


def _said(fit: Fit) -> str:
    band = "" if np.isnan(fit.band[0]) else f", 95 % in [{fit.band[0]:.3f}, {fit.band[1]:.3f}]"
    scatter = "" if np.isnan(fit.scatter) else f", scatter {fit.scatter:.2g}"
    return f"{fit.order:.3f}{band}{scatter}" + (f"; NOT ASYMPTOTIC: {fit.doubt}" if fit.doubt else "")
