"""Orders of convergence, observed: errors against sizes, with the scatter of the orders and a band for the slope."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from wflow.arrays import Array, floats
from wflow.distances import values_on, wasserstein2
from wflow.errors import InputError, Status, choose
from wflow.plot.style import COLORS, GREY, INK, MARKERS, finished, new_figure, styled
from wflow.results import Result
from wflow.states import STATES, Density, Gaussian, Particles, Point
from wflow.store import Layout, Writer
from wflow.targets import Target

HEADS = {"l1": "L1", "l2": "L2", "linf": "Linf", "w2": "W2"}
DRIFT = 0.1  # with sizes doubled what an order still has to go is about what it went last
ROUNDING = 1e-13  # of the size of the solution: errors below it say nothing
ORDERS = (0.1, 20.0)
ROUNDS = 50


@dataclass(frozen=True)
class Fit:
    """A straight line through log(error) against log(h): error ≈ `constant` h^`order`.

    `band`: 95 % confidence limits of the order by Student's t, nan for two sizes without seeds. `scatter`: standard
    deviation of the orders between neighbouring sizes. `doubt`: why the study is not asymptotic, empty if it is.
    """

    order: float
    constant: float
    band: tuple[float, float]
    scatter: float
    doubt: str


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
                order = _slopes(self.h, errors.mean(axis=0))[k - 1] if k else np.nan
                numbers = (errors[:, k].mean(), spread, order)
                found[-1] |= dict(zip((norm, f"{norm}_spread", f"{norm}_order"), map(float, numbers), strict=True))
        return found

    def plot(self, path: str | Path | None = None) -> Any:
        """Errors against h on log scales with triangles of the fitted slopes, saved where a path is given."""
        return _picture(self, path)

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

    A study is in doubt (`asymptotic` False) with fewer than three errors, where errors do not fall, or where the last
    two orders differ by more than 0.1 beyond the noise of the seeds. Source of the estimate: Roache, J. Fluids Eng.
    116 (1994) 405. Raises `InputError` for sizes, norms and references that do not fit.

    >>> study = convergence(lambda h: 1.0 + 3.0 * h**2, [0.1, 0.05, 0.025], reference=1.0)
    >>> round(study.fits["linf"].order, 6), study.asymptotic
    (2.0, True)
    """
    given, chosen = _ordered(sizes, sizes_are), _seeds(seeds)
    columns: list[list[dict[str, float]]] = []
    seconds, before = [], None
    moving = callable(reference) and not isinstance(reference, (*STATES, Result, Target))
    for size, _ in given:
        start = time.perf_counter()
        found = [_solution(solve(size) if seeds is None else solve(size, seed)) for seed in chosen]
        seconds.append(time.perf_counter() - start)
        if reference is not None:
            truth = _solution(reference(size) if moving else reference)
            columns.append([_differences(one, truth, norms) for one in found])
        elif before is not None:
            columns.append([_differences(one, other, norms) for one, other in zip(before, found, strict=True)])
        before = found
    count, h = len(columns), np.array([step for _, step in given])
    names = [norm for norm in HEADS if norm in columns[0][0]]
    errors = {norm: np.array([[one[norm] for one in column] for column in columns]).T for norm in names}
    if reference is None:
        errors = {norm: _richardson(h, gaps) for norm, gaps in errors.items()}
    floor = ROUNDING * max(one["scale"] for column in columns for one in column)
    fits = {norm: _fit(h[:count], errors[norm], floor) for norm in names}
    levels = np.array([float(size) for size, _ in given])[:count]
    return Convergence(levels, h[:count], errors, fits, np.array(seconds)[:count], chosen, reference is not None)


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


def _solution(value: Any) -> Any:
    """A state or a target, or an array."""
    value = value.final if isinstance(value, Result) else value
    return value if isinstance(value, (*STATES, Target)) else floats("a solution", value)


def _differences(one: Any, other: Any, norms: Sequence[str] | None) -> dict[str, float]:
    """The norms asked for, and the scale of the solution."""
    found, scale = _by_value(one, other)
    if isinstance(one, STATES) and (norms is None or "w2" in norms):
        if not isinstance(other, (*STATES, Target)):
            raise InputError(f"the reference of a state is a state or a target, got {type(other).__name__}")
        found["w2"] = wasserstein2(one, other)
    for name in norms or ():
        choose(name, found, "norm for these solutions")
    return {name: found[name] for name in norms or found} | {"scale": scale}


def _by_value(one: Any, other: Any) -> tuple[dict[str, float], float]:
    """L1, L2 and Linf where they are defined, and the size of the solution."""
    if isinstance(one, Density):
        other = Density(one.grid, other) if isinstance(other, Target) else other
        if not isinstance(other, STATES) or isinstance(other, Point):
            raise InputError(f"the reference of a density is a density or a target, got {type(other).__name__}")
        gap, share = np.abs(one.values - values_on(other, one.grid)), one.grid.volume
        return _norms(gap, np.full(gap.shape, share)), float(np.abs(one.values).max())
    if isinstance(one, Particles):
        scale = float(np.abs(one.positions).max())
        if not isinstance(other, Particles) or other.positions.shape != one.positions.shape:
            return {}, scale
        return _norms(np.linalg.norm(one.positions - other.positions, axis=1), one.weights), scale
    if isinstance(one, Point | Gaussian):
        return {}, float(np.abs(one.coordinates).max())
    if np.shape(other) != np.shape(one):
        raise InputError(f"solutions must keep their shape, got {np.shape(one)} and {np.shape(other)}")
    gap, scale = np.abs(one - other), float(np.abs(one).max())
    return _norms(gap, np.full(gap.shape, 1.0 / gap.size)) if gap.ndim else {"linf": float(gap)}, scale


def _norms(gap: Array, share: Array) -> dict[str, float]:
    return {"l1": float((share * gap).sum()), "l2": float((share * gap**2).sum()) ** 0.5, "linf": float(gap.max())}


def _slopes(h: Array, error: Array) -> Array:
    """Orders between neighbours."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.diff(np.log(error)) / np.diff(np.log(h))


def _richardson(h: Array, gaps: Array) -> Array:
    """Errors from the differences to the next finer size; the order is found with them."""
    ratio, order, errors = h[1:] / h[:-1], 1.0, gaps
    for _ in range(ROUNDS if h.size > 2 and np.all(gaps.mean(axis=0) > 0.0) else 0):
        errors = gaps / (1.0 - ratio**order)
        order = float(np.clip(np.polyfit(np.log(h[:-1]), np.log(errors.mean(axis=0)), 1)[0], *ORDERS))
    return errors


def _fit(h: Array, errors: Array, floor: float) -> Fit:
    """Least squares on the logarithms; errors at rounding are left out."""
    mean = errors.mean(axis=0)
    kept = np.isfinite(mean) & (mean > floor)
    x, y, count, seeds = np.log(h[kept]), np.log(mean[kept]), int(kept.sum()), len(errors)
    if count < 2:
        return Fit(np.nan, np.nan, (np.nan, np.nan), np.nan, "fewer than two errors are above rounding")
    centered = x - x.mean()
    order = float(centered @ y / (centered @ centered))
    residual = y - y.mean() - order * centered
    # Of log(mean error): the relative spread over the seeds, taken as one for all sizes.
    noise = float(np.mean(errors[:, kept].var(axis=0, ddof=1) / mean[kept] ** 2) / seeds) if seeds > 1 else 0.0
    variance = max(noise, float(residual @ residual) / (count - 2) if count > 2 else 0.0)
    free = count * (seeds - 1) if seeds > 1 else count - 2
    half = float(student.ppf(0.975, free) * (variance / (centered @ centered)) ** 0.5) if free else np.nan
    slopes = _slopes(h[kept], mean[kept])
    scatter = float(slopes.std(ddof=1)) if count > 2 else np.nan
    constant = float(np.exp(y.mean() - order * x.mean()))
    return Fit(order, constant, (order - half, order + half), scatter, _doubt(x, slopes, noise))


def _doubt(x: Array, slopes: Array, noise: float) -> str:
    if slopes.size < 2:
        return "fewer than three errors show no trend: take more sizes"
    if slopes[-2:].min() <= 0.0:
        return "the errors do not fall"
    # The noise of y1 - 2 y2 + y3, on the shorter of the last two steps.
    allowed = max(DRIFT, 2.0 * (6.0 * noise) ** 0.5 / float(np.abs(np.diff(x)[-2:]).min()))
    if abs(slopes[-1] - slopes[-2]) > allowed:
        return f"the order still moves, {slopes[-2]:.2f} to {slopes[-1]:.2f}: take finer sizes, or more seeds"
    return ""


def _short(value: float, key: str) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}" if key.endswith("_order") else f"{value:.3e}"


def _said(fit: Fit) -> str:
    band = "" if np.isnan(fit.band[0]) else f", 95 % in [{fit.band[0]:.3f}, {fit.band[1]:.3f}]"
    scatter = "" if np.isnan(fit.scatter) else f", scatter {fit.scatter:.2g}"
    return f"{fit.order:.3f}{band}{scatter}" + (f"; NOT ASYMPTOTIC: {fit.doubt}" if fit.doubt else "")


@styled
def _picture(study: Convergence, path: str | Path | None) -> Any:
    figure = new_figure(6.4, 5.2)
    ax = figure.subplots()
    for k, (norm, errors) in enumerate(study.errors.items()):
        color, mean, fit = COLORS[k % len(COLORS)], errors.mean(axis=0), study.fits[norm]
        ax.loglog(study.h, mean, MARKERS[k % len(MARKERS)], color=color, label=f"{HEADS[norm]}: {fit.order:.2f}")
        if np.isfinite(fit.order):
            ax.loglog(study.h, fit.constant * study.h**fit.order, color=color, linewidth=1.4)
    fit = next(iter(study.fits.values()))
    if np.isfinite(fit.order):
        left, right = np.exp(np.quantile(np.log(study.h), (0.0, 0.4)))
        low, high = (0.5 * fit.constant * end**fit.order for end in (left, right))
        ax.loglog([left, right, right, left], [low, low, high, low], color=INK, linewidth=1.2)
        ax.annotate(f"{fit.order:.2f}", (right, (low * high) ** 0.5), (5, 0), textcoords="offset points", va="center")
    ax.set(xlabel="h", ylabel="error", title="" if study.asymptotic else "not asymptotic")
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)
    ax.legend(title="norm: order")
    return finished(figure, path)
