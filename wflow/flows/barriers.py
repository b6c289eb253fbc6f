"""How a JKO step on the line is solved: where to begin, Newton's method, and where its nodes are pressed together, a
barrier that vanishes."""

from dataclasses import replace

import numpy as np

from wflow.arrays import Array
from wflow.flows.nodes import opened
from wflow.flows.quantiles import EPS, Step
from wflow.linalg.proximal import minimise

BARRIERS = 10.0 ** -np.arange(11.0)
LATE = BARRIERS[5:]  # for a start from where Newton's method stopped
NEARNESS = 1e-3  # of the root of a barrier's weight: how well the step with it is solved, in units of the box
AT_THE_END = 1e-9
SHARES = 4.0 ** -np.arange(9.0)
FAR = 1e6


def solve(step: Step, starts: list[Array], home: Array) -> tuple[Array, int, bool]:
    """The nodes that minimise a step, from rising ones: (nodes, Newton iterations, converged).

    Where Newton's method stops short, its nodes pressed together, it goes from the same start again along a barrier,
    which ends 2e-12 (length of the box)² (mass) or less above the minimum of the merit; the lower of the two is the
    answer. The first of the `starts` serves whose answer has no larger merit than `home`.
    """
    count, y = 0, home[None]
    level, rounding = float(step.value(y)[0]), 8.0 * EPS * step.size(y)
    for start in starts:
        y, more, good = _from(step, start)
        count += more
        # Every iteration may have added its rounding.
        if good and float(step.value(y)[0]) <= level + rounding * (1 + count):
            return y[0], count, True
    return y[0], count, False


def _from(step: Step, start: Array) -> tuple[Array, int, bool]:
    y, count, good = minimise(step, start[None])
    if good or step.settled(y):
        return y, count, True
    low = float(step.value(y)[0])
    for turning, begin, barriers in ((True, start, BARRIERS), (False, start, BARRIERS), (False, y[0], LATE)):
        other, more, good = _along(replace(step, turning=turning, last={}), opened(begin, step.length), barriers)
        count += more
        above = float(step.value(other)[0]) - low
        if good and above <= _certainty(step):
            return (y if above >= 0.0 else other), count, True
    return y, count, False


def _along(step: Step, start: Array, barriers: Array) -> tuple[Array, int, bool]:
    # The weight of a barrier is a length squared. The minimiser may have nodes that meet: no step without one is left.
    y, count, good, size = start[None], 0, False, 0.01 * step.length**2
    for barrier in barriers:
        last = barrier == barriers[-1]
        goal = AT_THE_END if last else NEARNESS * float(np.sqrt(barrier))
        y, more, good = minimise(replace(step, barrier=barrier * size, rtol=goal, last={}), y, 300 if last else 60)
        count += more
    return y, count, good


def _certainty(step: Step) -> float:
    """How far above the minimum of the merit a barrier may end; ten times that, since F need not be convex."""
    return 0.2 * float(BARRIERS[-1]) * step.length**2 * float(step.masses.sum())


def starts(step: Step, home: Array) -> list[Array]:
    """Where to begin: at home, and on the way to where q/p is constant, whichever of that has the least merit; this
    first where home, being all but empty somewhere, has a merit far above."""
    if not step.energy.fills:
        return [home]
    term = step.energy.filling[0]
    edges = np.arange(len(term.table) + 1.0)
    log_cells = term.log_masses(edges)
    below = np.append(0.0, np.cumsum(np.exp(log_cells - log_cells.max())))
    levels = np.append(0.0, np.cumsum(step.masses))
    rest = np.interp(levels * (below[-1] / levels[-1]), below, edges)
    ways = [opened(home + share * (rest - home), step.length) for share in SHARES]
    merits = [float(np.nan_to_num(step.value(y[None])[0], nan=np.inf)) for y in (home, *ways)]
    best = int(np.argmin(merits[1:]))
    return [ways[best], home] if merits[0] > FAR * abs(merits[1 + best]) else [home, ways[best]]
