"""Results of different methods held against each other on common times."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow import plot
from wflow.arrays import floats, random_seed
from wflow.comparison.verdict import Verdict, judge
from wflow.distances import l1, moments, wasserstein2_with_method
from wflow.errors import InputError
from wflow.results import Result

MANY, SHOWN = 20, 12  # of more common times than MANY, SHOWN are printed, evenly
SAME_TIME = 1e-9  # of the largest time: frames this near are at one time
COLUMNS = ("w2", "l1", "mean", "covariance", "energy")
# Per-step series that are no costs.
MEASURED = ("time", "dt", "energy", "error", "dissipation", "balance", "mass", "minimum", "maximum", "outflow")
HEADS = ("time", "against", "W2", "L1", "|mean|", "|cov|", "energy")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `compare` gives: printed as a table; `rows` has one dict for each time and result but the first.

    Keys of a row: `time`; `reference` and `other`, the names; `w2` and `w2_method`, which says how it was found;
    `l1`; `mean`, the Euclidean norm of the difference of the means, and `covariance`, the Frobenius norm; `energy`,
    other minus reference; `energy_reference`, `energy_other`. What is not known is nan. `states` are those at the last
    common time; `verdicts`, one for each result but the first, say whether it differs there by more than a sample
    would; `costs` are steps and what steppers count, summed, by name; `notes` say why energies are nan.
    """

    names: tuple[str, ...]
    rows: list[dict[str, Any]]
    states: tuple[Any, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    costs: tuple[dict[str, float], ...] = ()
    functional: str = ""
    notes: tuple[str, ...] = ()

    def plot(self, path: str | Path | None = None) -> Any:
        """W2, L1 and energies over time as a matplotlib figure, saved where a path (.png, .svg, .pdf) is given."""
        return plot.comparison(self, path)

    def overlay(self, path: str | Path | None = None) -> Any:
        """The states at the last common time over each other, as a matplotlib figure, saved where a path is given."""
        title = [line for line in (self.functional, f"t = {self.rows[-1]['time']:g}") if line]
        return plot.overlay(self.states, self.names, path, title)

    def __str__(self) -> str:
        cells = [list(HEADS)]
        rows = self._shown()
        for row in rows:
            numbers = [_short(row[name]) for name in COLUMNS]
            cells.append([f"{row['time']:g}", row["other"], *numbers])
        widths = [max(len(line[k]) for line in cells) for k in range(len(HEADS))]
        lines = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
        last = {row["other"]: row["w2_method"] for row in self.rows}
        common = len(self.rows) // max(1, len(last))
        notes = (
            [f"{SHOWN} of {common} common times; all are in `rows`, or by --json"] if len(rows) < len(self.rows) else []
        )
        notes += [f"W2 of {name}: {method}" for name, method in last.items()]
        for name, cost in zip(self.names, self.costs, strict=False):
            notes.append(f"cost of {name}: " + ", ".join(f"{value:g} {what}" for what, value in cost.items() if value))
        notes += [*self.notes, *(str(verdict) for verdict in self.verdicts)]
        return "\n".join([f"reference: {self.names[0]}", *lines, *notes])

    __repr__ = __str__

    def _shown(self) -> list[dict[str, Any]]:
        """The rows that are printed."""
        each = len(self.names) - 1
        common = len(self.rows) // each
        if common <= MANY:
            return self.rows
        times = np.round(np.linspace(0, common - 1, SHOWN)).astype(int)
        return [row for k in times for row in self.rows[each * k : each * (k + 1)]]


def compare(
    a: Result,
    b: Result,
    *more: Result,
    names: Sequence[str] | None = None,
    times: ArrayLike | None = None,
    rng: Any = 0,
) -> Comparison:
    """Hold results against the first one at the times where all have a frame; nothing is interpolated in time.

    `times` picks among the common times; `names` stand in the table and the plot. W2 as in `wf.wasserstein2`. L1 =
    ∫|q - q'| needs densities: it is taken on the grid of the reference, else of the other, else on a box around
    both. A density on another grid is brought over by its cumulative mass (second order, keeps mass and sign);
    particles by a kernel estimate with the bandwidth of Botev, whose own error, 0.02 to 0.1 at 2e4 particles, is the
    floor; Gaussians at cell centres; points and d > 3 have nan. `energy` is nan where the functionals differ, and where
    p is a `Gibbs` and one of the two states a density: a grid scales p to mass 1, other states do not, and of a
    reverse-KL log Z lies between the energies. Printed are all common times up to 20, else 12 of them. Clouds end in a
    verdict by W2, mean and covariance, see `Verdict`. Raises `InputError` where no frames coincide.

    >>> from wflow import Gaussian, Potential, run
    >>> fast, slow = (run(Potential("x**2 / 2"), Gaussian([m], 1.0), t_end=1.0, save="ends") for m in (1.0, 3.0))
    >>> round(compare(fast, slow).rows[0]["w2"], 12)
    2.0
    """
    results = (a, b, *more)
    chosen = _names(results, names)
    seed = random_seed(rng)
    apart = [_energies_apart(a, other) for other in results[1:]]
    rows = []
    for indices in _frames(results, times):
        states = [result.states[i] for result, i in zip(results, indices, strict=True)]
        energies = [_energy(result, i) for result, i in zip(results, indices, strict=True)]
        time = float(a.times[indices[0]])
        for k in range(1, len(results)):
            row = {"time": time, "reference": chosen[0], "other": chosen[k]}
            row |= _differences(states[0], states[k], seed)
            row["energy"] = np.nan if apart[k - 1] else _minus(energies[k], energies[0])
            rows.append(row | {"energy_reference": energies[0], "energy_other": energies[k]})
    verdicts = _verdicts(states, rows[-len(results) + 1 :], seed)
    return Comparison(
        chosen,
        rows,
        tuple(states),
        verdicts,
        tuple(_cost(result) for result in results),
        str(a.info.get("functional", "")),
        tuple(f"energy of {name}: {why}" for name, why in zip(chosen[1:], apart, strict=True) if why),
    )


def _energies_apart(a: Result, b: Result) -> str:
    """Why the energies of two results cannot be subtracted; empty where they can."""
    text = str(a.info.get("functional"))
    if a.info.get("functional") != b.info.get("functional"):
        return "of another functional"
    if "Gibbs(" in text and (a.info.get("state") == "density") != (b.info.get("state") == "density"):
        return "a grid scales p of Gibbs to mass 1, other states take exp(-V/temperature): apart by log Z of it or more"
    return ""


def _verdicts(states: Sequence[Any], last: list[dict[str, Any]], seed: int) -> tuple[Verdict, ...]:
    return tuple(
        judge(row["other"], row["time"], states[0], q, row, seed) for q, row in zip(states[1:], last, strict=True)
    )


def _cost(result: Result) -> dict[str, float]:
    """Steps, and what was counted in them."""
    steps = result.steps
    counted = [name for name in steps if name not in MEASURED]
    return {"steps": float(len(steps.get("time", ()))), **{name: float(np.nansum(steps[name])) for name in counted}}


def _differences(a: Any, b: Any, seed: int) -> dict[str, Any]:
    value, method = wasserstein2_with_method(a, b, seed)
    one, other = moments(a), moments(b)
    return {
        "w2": value,
        "w2_method": method,
        "l1": l1(a, b),
        "mean": float(np.linalg.norm(one[0] - other[0])),
        "covariance": float(np.linalg.norm(one[1] - other[1])),
    }


def _names(results: Sequence[Any], names: Sequence[str] | None) -> tuple[str, ...]:
    for result in results:
        if not isinstance(result, Result):
            raise InputError(f"compare takes results of wf.run or wf.load, got {type(result).__name__}")
    dims = [result.states[0].dim for result in results]
    if len(set(dims)) > 1:
        raise InputError(f"compare needs results of the same dimension, got {dims}")
    if names is None:
        kinds = [str(result.info.get("state", "result")) for result in results]
        return tuple(k if kinds.count(k) == 1 else f"{k} {i + 1}" for i, k in enumerate(kinds))
    if len(names) != len(results):
        raise InputError(f"names has {len(names)} entries for {len(results)} results")
    return tuple(str(name) for name in names)


def _frames(results: Sequence[Result], times: ArrayLike | None) -> list[tuple[int, ...]]:
    """For each common time the index of the frame in every result."""
    near = SAME_TIME * max(float(result.times[-1]) for result in results)
    found = []
    for time in results[0].times:
        indices = tuple(int(np.argmin(np.abs(result.times - time))) for result in results)
        if all(abs(r.times[i] - time) <= near for r, i in zip(results, indices, strict=True)):
            found.append(indices)
    common = results[0].times[[indices[0] for indices in found]]
    if times is not None:
        wanted = np.atleast_1d(floats("times", times))
        missing = [float(t) for t in wanted if not np.any(np.abs(common - t) <= near)]
        if missing:
            raise InputError(f"not all results have frames at {missing}; they share {np.round(common, 6).tolist()}")
        return [found[int(np.argmin(np.abs(common - t)))] for t in wanted]
    if not len(found) or (len(found) == 1 and common[0] == 0.0 and all(len(r.times) > 1 for r in results)):
        raise InputError(
            "the results have no frames at the same times (but perhaps the start); run them with the same t_end and "
            "save, for example save=np.linspace(0, t_end, 11)"
        )
    return found


def _energy(result: Result, index: int) -> float:
    series = result.diagnostics.get("energy")
    return np.nan if series is None else float(series[index])


def _minus(a: float, b: float) -> float:
    return a - b if np.isfinite(a) and np.isfinite(b) else np.nan


def _short(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"
