"""The exact solution operator of a linear flow."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from wflow.errors import InputError, Status
from wflow.flows import Flow
from wflow.steppers.explicit import judge
from wflow.steppers.protocol import Memory, Noise, Step


@dataclass(frozen=True)
class Exponential:
    """exp(dt · L) q for a linear flow: exact in time to `tol`, so that steps go from frame to frame.

    For densities under an entropy and potentials, or reverse KL, with fields that do not depend on the time. Cost: a
    polynomial of some 5 √(dt · spectral radius) `terms`, each a pass over the cells (see `linalg.chebyshev`); where
    these are many, four to twenty implicit solves, whatever dt (`linalg.lanczos`), counted in `krylov` and `linear`.
    From so deep in the tails of the target that neither has digits, extrapolated implicit steps lead out in 1-D, 36
    solves each, counted in `linear` (`linalg.extrapolation`); on more axes the run ends as UNDEFINED.
    """

    order: ClassVar[float] = math.inf
    adaptive: ClassVar[bool] = True
    counters: ClassVar[tuple[str, ...]] = ("terms", "krylov", "linear")

    def check(self, flow: Flow, state: Any) -> None:
        if not flow.facts.linear:
            raise InputError(
                "Exponential needs a linear flow on a grid: an entropy with potentials, or reverse-kl, without "
                "interactions, drift or time; take TRBDF2"
            )

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        answer = flow.propagate(state, dt)
        status = judge(flow, answer.state) if answer.converged else Status.SOLVER_FAILED
        counts = {"krylov": answer.iterations, "linear": answer.linear, "terms": answer.terms}
        return Step(answer.state, {}, 0.0, status, counts=counts)
