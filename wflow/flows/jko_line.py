"""The JKO step of a density on a grid of one axis: from cells to quantiles, the step there, and back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array
from wflow.flows.barriers import solve, starts
from wflow.flows.line import Divergence, Field, Pairs, log_table
from wflow.flows.nodes import LEAST, LEAST_FILLING, cells_as_nodes, opened
from wflow.flows.protocol import Memory, Solve
from wflow.flows.quantiles import Energy, Step
from wflow.flows.reference import Reference, target_logs
from wflow.flows.terms import Terms
from wflow.grid import Grid
from wflow.kernels import quantiles
from wflow.states import Density

MOST_CELLS = 2000  # with interactions, whose second derivatives are a dense matrix of up to twice as many rows
CLOSED = 1e-9  # of a cell: a gap this narrow has closed


def line_refusal(grid: Grid, terms: Terms, form: Reference | None) -> str:
    """Why there is no step in quantiles; "" where there is."""
    if grid.boundary[0] != ("no-flux", "no-flux"):
        return f"quantiles need no-flux sides, not {grid.boundary[0]}; take steppers.ImplicitEuler()"
    if terms.shapes:
        return f"{terms.shapes[0][1]!r} has no value in quantiles, only on cells; take steppers.ImplicitEuler()"
    if terms.interactions and grid.cells[0] > MOST_CELLS:
        return (
            f"with interactions it solves dense systems of twice as many rows as cells and takes at most {MOST_CELLS} "
            f"cells, got {grid.cells[0]}; take a coarser grid or steppers.ImplicitEuler()"
        )
    if form is not None and np.ptp(support := np.flatnonzero(form.log_cells > -np.inf)) >= support.size:
        gap = int(support[np.flatnonzero(np.diff(support) > 1)[0]]) + 1
        return (
            "quantiles need a target whose support is one interval, and this one is zero around "
            f"{grid.centers[0][gap]:.6g} between its parts; take steppers.ImplicitEuler()"
        )
    return ""


@dataclass(frozen=True, eq=False)
class Line:
    """Everything about a functional that the steps on one grid need; `walls` are in cells.

    `alike`: F on the cells falls with F of the quantiles (`flows.line`). Else F is counted on from the cells of the
    start by what it falls in quantiles, which is what cannot rise; F of later cells is within O(h²) of that.
    """

    grid: Grid
    energy: Energy
    table: Array
    walls: tuple[float, float]
    alike: bool

    def step(
        self,
        state: Density,
        tau: float,
        memory: Memory | None,
        ahead: float,
        rtol: float,
        level: Callable[[], float] | None = None,
    ) -> Solve:
        """argmin of W2²(·, q)/2 tau + F; `memory` holds the quantiles of the state, if it is the one they gave; None:
        those whose energy is that of the cells. `level` gives F on the cells of the state; None: F is not counted.

        With `ahead` w > 0 the distance is from q + w (q - the one before), in quantiles.
        """
        h = float(self.grid.spacing[0])
        nodes, masses, previous = self._quantiles(state, memory)
        left, right = nodes[:-1], nodes[1:]
        if previous is not None:
            left, right = left + ahead * (left - previous[:-1]), right + ahead * (right - previous[1:])
        start, full = nodes, np.ones(masses.size, dtype=bool)
        if self.energy.fills:
            full = masses > 0.0
            start = np.append(nodes[:-1][full], nodes[-1])
            start[[0, -1]] = self.walls
        step = Step(self.energy, masses[full], left[full], right[full], tau / h**2, self.walls, max(rtol, 1e-13))
        start = opened(start, step.length)
        y, count, good = solve(step, starts(step, start), start)
        values = np.zeros(self.grid.cells[0])
        quantiles.deposit(y, masses[full], self.table, values)
        values /= h
        dl, dr = y[:-1] - nodes[:-1][full], y[1:] - nodes[1:][full]
        distance = h * np.sqrt(masses[full] @ (dl * dl + dl * dr + dr * dr) / 3.0)
        kept = {"nodes": y, "masses": masses[full], "values": values}
        if full.all():
            kept["previous"] = nodes
        kept, energies = _closed(kept), None
        if level is not None and not self.alike:
            before = float(memory["energy"]) if memory and "energy" in memory else level()
            energies = before, self._fallen(before, start, y, masses[full])
            kept["energy"] = np.array(energies[1])
        return Solve(state.at(values), count, 0, good, kept, float(distance), energies)

    def _fallen(self, before: float, start: Array, end: Array, masses: Array) -> float:
        now = self.energy.value(end, masses)
        if self.energy.fills:  # what was all but empty at the start has been cut off there
            return min(before, now + self.energy.empty(self.walls))
        return before + now - self.energy.value(start, masses)

    def _quantiles(self, state: Density, memory: Memory | None) -> tuple[Array, Array, Array | None]:
        if memory and np.array_equal(memory["values"], state.values):
            return memory["nodes"], memory["masses"], memory.get("previous")
        least = LEAST_FILLING if self.energy.fills else LEAST
        return *cells_as_nodes(state.values * self.grid.spacing[0], self.table, memory is None, least), None


def _closed(kept: Memory) -> Memory:
    """Gaps that have closed are no intervals any more; what went before them then has no partner."""
    nodes, masses = kept["nodes"], kept["masses"]
    shut = (masses == 0.0) & (np.diff(nodes) <= CLOSED)
    if not shut.any():
        return kept
    keep = ~shut
    return {"nodes": np.append(nodes[:-1][keep], nodes[-1]), "masses": masses[keep], "values": kept["values"]}


def make_line(grid: Grid, terms: Terms, form: Reference | None, mass: float, time: float) -> Line:
    """The terms on the line at a time."""
    h, lower = float(grid.spacing[0]), float(grid.lower[0])
    pairs = tuple(Pairs(weight, term.field, lower, h) for weight, term in terms.interactions)
    if form is not None:
        cells, faces = _at(form, time)
        support = np.flatnonzero(cells > -np.inf)
        table = _table(cells, faces, h)
        walls = (float(support[0]), float(support[-1] + 1))
        return Line(grid, Energy((Divergence(1.0, form.generator, table),), pairs), table, walls, not pairs)
    flat = _table(np.zeros(grid.cells[0]), np.zeros(grid.cells[0] + 1), h)
    found: list[Divergence | Field] = []
    for weight, term in terms.densities:
        logs = None if term.target is None else target_logs(grid, term.target, mass)
        found.append(Divergence(weight, term.generator, flat if logs is None else _table(logs[0], logs[1][0], h)))
    if terms.potential:
        found.append(Field(terms.potential, time, lower, h))
    return Line(grid, Energy(tuple(found), pairs), flat, (0.0, float(grid.cells[0])), False)


def _table(cells: Array, faces: Array, h: float) -> Array:
    # Cells without target lie beyond the walls: any number will do there.
    cells = np.where(cells > -np.inf, cells, cells[cells > -np.inf].min())
    return log_table(cells + np.log(h), faces + np.log(h))


def _at(form: Reference, time: float) -> tuple[Array, Array]:
    """log p at cells and faces, without what it owes to interactions, which stand as pairs."""
    cells, faces = form.log_cells, form.log_faces[0]
    if form.fields is not None and form.fields.timed:
        cells = cells - form.fields.value(form.grid.points(), time)
        faces = faces - form.fields.value(form.grid.faces(0), time)
    return cells, faces
