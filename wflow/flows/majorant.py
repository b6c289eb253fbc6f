"""The outer iteration of a JKO step on a grid of more than one axis: the bound of `flows.objective` is made least
again and again, so that S/2τ + F falls.

What is left of an error that the blur damps to k is (1 - k)²/(1 + k²) in one iteration, so that waves of a few cells
take long where F does not hold them: in steps much shorter than h². What acts on the masses is mixed over the last few
iterations (Anderson); where that would raise S/2τ + F, it starts afresh from the best masses yet.
"""

from dataclasses import dataclass, replace

import numpy as np

from wflow.arrays import Array
from wflow.flows.objective import Objective
from wflow.linalg.anderson import Mixing
from wflow.linalg.semidual import Semidual, at, climb
from wflow.linalg.softmin import SelfTransport, logs_of, soft

NOISE = 1e-12  # of the energy, which may rise by it
THIN = 1e-3  # of the mean mass: emptier cells are not mixed, since their logarithms go far and say little
NEAR = 0.1  # a residual that is near enough to start from
AHEAD = 2.0  # how far the mixing of iterates may go beyond the last, in log b
MOST_NEWTON = 60  # of one maximisation; it takes three to six where it starts near
ROUGHEST, SHARE = 1e-3, 1e-2  # what a maximisation may leave, of the mass and of what the iteration before moved
CALMED = 3.0  # how much less has to move than before
CERTAIN = 1e-6  # of what S/2τ + F falls: what of it may be the error of potentials


@dataclass(frozen=True, eq=False)
class Iterate:
    """Masses b and how they were found.

    `own` is their transport to themselves, `dual` the one from a, with `base` acting on what comes. `squared` is
    S(a, b), `merit` S/2τ + F, `rounding` and `slack` how far that may be off by rounding and by what the dual leaves.
    `away` is how far b is from a, `moved` how much of that the last iteration did and `before` the one before it, in
    parts of the mass.
    """

    b: Array
    own: SelfTransport
    base: Array
    dual: Semidual
    squared: float = 0.0
    merit: float = np.inf
    rounding: float = 0.0
    slack: float = 0.0
    away: float = 1.0
    moved: float = 1.0
    before: float = 1.0
    newton: int = 0
    linear: int = 0

    @property
    def moving(self) -> float:
        """What of the mass may still be on its way: an iteration that moves little after one that moved more may have
        begun where its maximum was near, and say nothing of the next."""
        return max(self.moved, self.before / CALMED, self.dual.residual)

    @property
    def solved(self) -> bool:
        """Whether the maximisation was not given up."""
        return self.dual.residual <= ROUGHEST


@dataclass(frozen=True)
class Goal:
    """When an iteration ends: what a transport may leave of the mass, changes that are small as a share of what has
    moved and of the mass, iterations at most, whether S/2τ + F is to fall with each."""

    left: float = 1e-10
    share: float = 1e-3
    mass: float = 1e-8
    most: int = 60
    falling: bool = True

    def met(self, one: Iterate) -> bool:
        """Whether next to nothing has moved in the last iteration."""
        return one.moving <= max(self.share * one.away, self.mass)


def started(target: Objective, guess: Array, own: SelfTransport | None = None) -> Iterate | None:
    """Where an iteration begins with masses like the guess; None where those that follow are beyond float64."""
    b = target.held(guess)
    own = target.own(b, ROUGHEST) if own is None else own
    base = target.base(b, own.last)
    f = -soft(base - target.acting(b) + logs_of(b), target.axes)
    dual = at(target.law, target.a, base, target.axes, f)
    return None if dual is None else Iterate(b, own, base, dual)


def iterated(target: Objective, start: Iterate, goal: Goal, ceiling: float = np.inf) -> Iterate:
    """Iterates until the goal is met and S/2τ + F is at most the `ceiling`; the best of them.

    S of potentials that leave much is too small: they are found to the goal where S/2τ + F seems to rise by more than
    what they leave explains, and where that is much in the end.
    """
    best = one = _maximised(target, start, start.base, start.dual, goal.left, SHARE)
    share, memory, spent = SHARE, Mixing(target.a), [one.dual]
    for _ in range(goal.most - 1):
        if goal.met(one) and best.merit <= ceiling + best.rounding:
            break
        plain = memory.last is None
        following = _maximised(target, one, *_onward(target, one, memory), goal.left, share)
        spent.append(following.dual)
        falls = following.solved and following.merit <= best.merit + following.rounding + best.slack
        if falls or not best.solved or not goal.falling:
            best = one = following
            continue
        if share > 0.0:
            share, best = 0.0, _polished(target, best, goal.left)
            spent.append(best.dual)
        elif plain:
            best = replace(best, moved=following.moved)
            if target.damped is target:
                break
            target = target.damped
        one, memory = _again(target, best), Mixing(target.a)
    if best.slack > CERTAIN * abs(ceiling - best.merit):
        best = _polished(target, best, goal.left)
        spent.append(best.dual)
    return replace(best, newton=sum(one.iterations for one in spent), linear=sum(one.linear for one in spent))


def _maximised(target: Objective, one: Iterate, base: Array, dual: Semidual, goal: float, share: float) -> Iterate:
    """One maximisation from `base` and a start for it, to `goal` or a share of what has moved."""
    enough = min(ROUGHEST, max(goal, share * one.moved))
    dual = climb(target.law, target.a, base, target.axes, dual, enough, MOST_NEWTON)
    b, mass = target.held(dual.b), float(target.a.sum())
    moved, away = (float(np.abs(b - other).sum()) / mass for other in (one.b, target.a))
    own = target.own(b, max(goal, share * moved), one.own.last)
    squared, rounding = target.squared(dual, b, own)
    energy = target.level.value(b * (mass / b.sum()))
    merit, rounding = energy + squared / (2.0 * target.tau), NOISE * (1.0 + abs(energy)) + rounding / (2.0 * target.tau)
    slack = dual.residual * moved * mass / target.theta
    return Iterate(b, own, base, dual, squared, merit, rounding, slack, away, moved, one.moved)


def _onward(target: Objective, one: Iterate, memory: Mixing) -> tuple[Array, Semidual]:
    """The base of the next maximisation and a start for it: from a mixed base where a start is near, else from the
    last; with the masses as they are, or the potential as it is, whichever lacks less."""
    image = target.base(one.b, one.own.last)
    memory.weights = np.sqrt(one.b)
    most = AHEAD * target.law.share
    ahead = np.clip(memory.mixed(one.base, image) - image, -most, most)
    mixed = image + ahead * (one.b / (one.b + THIN * target.a.mean()))
    best: tuple[Array, Semidual] | None = None
    for base in (mixed, image):
        for f in (-soft(one.dual.g + base - one.base + logs_of(one.b), target.axes), one.dual.f):
            start = at(target.law, target.a, base, target.axes, f)
            if start is not None and (best is None or start.residual < best[1].residual):
                best = base, start
            if best is not None and best[1].residual < NEAR:
                return best
    return (image, one.dual) if best is None else best


def _polished(target: Objective, one: Iterate, goal: float) -> Iterate:
    """The same maximisation to the goal."""
    return replace(_maximised(target, one, one.base, one.dual, goal, 0.0), moved=one.moved, before=one.before)


def _again(target: Objective, one: Iterate) -> Iterate:
    """The same masses with what acts on them in another objective."""
    new = started(target, one.b, one.own)
    return one if new is None else replace(one, base=new.base, dual=new.dual)
