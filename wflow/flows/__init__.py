"""A functional and a metric put on a state. Only this layer knows both functionals and states.

Which functional goes with which state is decided here, and refused with the reason:

| | Density | Particles | Gaussian | Point |
|---|---|---|---|---|
| FDivergence, Entropy, PowerEntropy, InternalEnergy | yes | by an estimate | by quadrature | no: it has none |
| Potential | yes | yes | by quadrature | yes |
| Interaction | yes | yes | by quadrature | no: a point does not interact with itself |
| L1, Box, Ball | no | no | no | yes, by proximal steps |
| Dirichlet, FisherInformation, ValueFunctional | yes | no: they have no cells | no | no |
| Blob | no: take the functional itself | yes, exactly | no: take the functional itself | no: it has no density |
"""

from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.estimators import Box, as_estimator
from wflow.expression import as_vector_field
from wflow.flows.blob import make_part
from wflow.flows.density import DensityFlow
from wflow.flows.diffusion import Diffusion
from wflow.flows.driven import make_driven
from wflow.flows.gaussian import GaussianFlow, resolved
from wflow.flows.interactions import InteractionPart
from wflow.flows.nodes import carried
from wflow.flows.particles import ParticleFlow
from wflow.flows.point import PointFlow
from wflow.flows.pointwise import Parts, Pointwise
from wflow.flows.protocol import Facts, Flow, Memory, Solve, Split
from wflow.flows.reaction import check_reaction
from wflow.flows.reference import LIFT, LOWEST, Reference, reference
from wflow.flows.terms import Terms, sort_terms
from wflow.flows.transport import Drift
from wflow.flows.variation import Variation
from wflow.flows.ways import density_estimator, pair_sums
from wflow.functionals import Functional, Logarithmic
from wflow.grid import Grid
from wflow.metrics import Euclidean, FisherRao, Stein, Wasserstein, WassersteinFisherRao, as_metric
from wflow.states import Density, Gaussian, Particles, Point
from wflow.targets import Target, Uniform

BLOB_REFUSED: dict[type, str] = {
    Density: "a density on a grid",
    Gaussian: "a Gaussian",
    Point: "a Point, which has no density",
}
HOLDS = {Density: "cells", Point: "point"}
FLOWS = (DensityFlow, GaussianFlow, ParticleFlow, PointFlow)


def make_flow(
    functional: Functional | None,
    state: Any,
    metric: Any = None,
    drift: Any = None,
    estimator: Any = None,
    rtol: float = 1e-12,
) -> Flow:
    """The flow of a functional on a state; everything that can be wrong with the pair is refused here."""
    if not isinstance(state, Density | Particles | Point | Gaussian):
        raise InputError(f"a state is a Density, Particles, Point or Gaussian, got {type(state).__name__}")
    if functional is None and drift is None:
        raise InputError("there is nothing to follow: give a functional, a drift, or both")
    terms = sort_terms(functional, state.dim, BLOB_REFUSED.get(type(state)), HOLDS.get(type(state), ""))
    chosen = as_metric(metric, state)
    extra = None if drift is None else as_vector_field(drift, state.dim)
    if estimator is not None and not isinstance(state, Particles):
        raise InputError(f"an estimator goes with particles only, not with {type(state).__name__}")
    if isinstance(state, Density):
        return _density_flow(terms, chosen, state, extra, rtol)
    if isinstance(state, Particles):
        return _particle_flow(terms, chosen, state, extra, estimator, rtol)
    if isinstance(state, Gaussian):
        return _gaussian_flow(terms, chosen, state, extra, rtol)
    if terms.densities:
        raise InputError("a Point has no density: this energy is infinite on a Dirac; take Particles or a Density")
    if terms.interactions:
        raise InputError("a single Point does not interact with itself; take Particles")
    if extra is not None and not chosen.flat:
        raise InputError(
            f"a drift is a velocity of x, which {type(chosen).__name__} does not add to its own directions"
        )
    if terms.simple and (extra is not None or not isinstance(chosen, Euclidean | Wasserstein)):
        raise InputError(f"{terms.simple[0][1]!r} takes proximal steps in the Euclidean metric, without a drift")
    return PointFlow(terms.potential, chosen, extra, rtol, terms.simple)


def energy(functional: Functional, state: Any, estimator: Any = None) -> float:
    """F at a state, a float; inf where it is infinite.

    On a density the discrete energy that its flow descends; on particles the plug-in value of `estimator`; on a
    Gaussian by quadrature.

    >>> from wflow.functionals import Potential
    >>> energy(Potential("x**2 / 2"), Point([3.0]))
    4.5
    """
    if isinstance(state, Density) and functional is not None and estimator is None:
        # The energy is defined where the flow is not: with mass in cells without target.
        terms = sort_terms(functional, state.dim, BLOB_REFUSED.get(Density), HOLDS[Density])
        return Variation(state.grid, terms, state.mass).energy(0.0, state.values)
    return make_flow(functional, state, estimator=estimator).energy(0.0, state)


def _density_flow(terms: Terms, metric: Any, state: Density, extra: Any, rtol: float) -> DensityFlow:
    grid = state.grid
    form = reference(grid, terms, state.mass)
    absorbing = any("absorbing" in pair for pair in grid.boundary)
    if absorbing and (form is None or extra is not None):
        raise InputError("absorbing sides go with f-divergences, internal energies and entropy + potential only")
    if absorbing and form is not None:
        with np.errstate(all="ignore"):
            bottom = form.generator.pressure(np.zeros(1))[0]
        if not np.isfinite(bottom):
            raise InputError("absorbing sides need a finite pressure at vacuum, which this functional does not have")
    if form is not None:
        _check_support(form, state)
    elif any(term.target is not None and _has_walls(term.target, grid) for _, term in terms.densities):
        raise InputError(
            "cells where a target is zero are walls for a divergence alone, not beside potentials, interactions or "
            "other targets: shrink the box to the support"
        )
    drift = None if extra is None else Drift(grid, extra)
    diffusion = None if form is None else Diffusion(form, terms.temperature)
    variation = Variation(grid, terms, state.mass)
    variation.check()
    if isinstance(metric, FisherRao | WassersteinFisherRao):
        walls = np.zeros(grid.cells, bool) if form is None else form.log_cells == -np.inf
        check_reaction(terms, state, metric, drift is not None, walls)
    return DensityFlow(terms, metric, variation, diffusion, drift, rtol, make_driven(terms, variation, drift))


def _has_walls(target: Target, grid: Grid) -> bool:
    return bool(np.any(target.log_density(grid.points()) == -np.inf))


def _check_support(form: Reference, state: Density) -> None:
    """Refuse a start where p is zero, or so small that float64 cannot tell it from zero."""
    depth = form.log_cells - form.log_cells.max()
    stuck = float(state.values[depth == -np.inf].sum()) * state.grid.volume
    if stuck > 0.0:
        raise InputError(
            f"the density has mass {stuck:.3g} where the target is zero; start it inside the target's support"
        )
    lowest = LOWEST - LIFT if form.linear else LOWEST
    lost = float(state.values[depth < lowest].sum()) * state.grid.volume
    if lost > 1e-12 * state.mass:
        raise InputError(
            f"the density has mass {lost:.3g} where log p lies more than {-lowest:g} below its maximum, beyond the "
            "range of float64; start it lower, raise the temperature, or take particles"
        )


def _particle_flow(
    terms: Terms, metric: Any, state: Particles, extra: Any, estimator: Any, rtol: float
) -> ParticleFlow:
    blobs = [density for _, blob in terms.blobs for density in blob.densities]
    for _, term in (*terms.densities, *blobs):
        if isinstance(term.target, Uniform):
            raise InputError("a Uniform target has no score to follow off a grid; use Entropy on a domain")
    if isinstance(metric, Stein):
        _check_stein(terms, state)
    chosen = as_estimator(estimator)
    reacting = isinstance(metric, FisherRao | WassersteinFisherRao)
    if isinstance(metric, FisherRao) and extra is not None:
        raise InputError("a drift carries mass, which metrics.FisherRao does not: take metrics.WassersteinFisherRao")
    if reacting and not chosen.gives_density and terms.densities:
        raise InputError(
            f"{chosen.text} gives no density, which metrics.{type(metric).__name__} needs; take a Kernel()"
        )
    if not chosen.gives_density and terms.densities and not terms.logarithmic:
        raise InputError(
            f"{chosen.text} gives scores but no density, which only an entropy or a reverse KL divergence can do "
            "without; take wf.estimators.Kernel()"
        )
    norms = tuple(_log_norm(term, state) for _, term in terms.densities)
    box = box_of(state.domain)
    parts = tuple(
        make_part(weight, blob, tuple(_log_norm(term, state) for _, term in blob.densities), state, box)
        for weight, blob in terms.blobs
    )
    pulls = tuple(InteractionPart(weight, term.field, state, box) for weight, term in terms.interactions)
    return ParticleFlow(terms, metric, extra, chosen, rtol, norms, box, parts, pulls)


def _check_stein(terms: Terms, state: Particles) -> None:
    if terms.blobs or (terms.densities and not terms.logarithmic):
        raise InputError(
            "metrics.Stein moves entropies and reverse KL divergences only, with potentials and interactions"
        )
    if state.domain is not None:
        raise InputError("metrics.Stein has no walls: give Particles without a domain")


def _gaussian_flow(terms: Terms, metric: Any, state: Gaussian, extra: Any, rtol: float) -> GaussianFlow:
    for _, term in terms.densities:
        if isinstance(term.target, Uniform):
            raise InputError("a Gaussian has mass outside every box, where a Uniform target has no score to follow")
        if term.target is not None and not _needs_no_norm(term):
            raise InputError(f"{term!r} on a Gaussian needs a normalised target; only reverse-kl does not")
    return resolved(terms, metric, state, extra, rtol)


def _needs_no_norm(term: Any) -> bool:
    return bool(term.target.normalized) or isinstance(term.generator, Logarithmic)


def _log_norm(term: Any, state: Particles) -> float:
    """log ∫ p over the domain of the cloud, as on a grid; without one 0 where p is normalised or need not be."""
    bounded = state.domain is not None and state.dim <= 3
    if term.target is None or (_needs_no_norm(term) and not bounded):
        return 0.0
    if state.domain is None or state.dim > 3:
        raise InputError(
            f"{term!r} on particles needs the normalising constant of its target: give Particles a bounded domain "
            "in at most 3 dimensions, a normalised target, or take reverse-kl"
        )
    return log_mass(term.target, state.domain)


def log_mass(target: Target, domain: Grid) -> float:
    """log ∫ p over a box by the midpoint rule on 2048, 512² or 96³ cells of the part of it that holds p.

    The part shrinks to the cells where log p is within 40 of its maximum until it no longer changes, so that a peak
    far narrower than the box is resolved.
    """
    lower, upper = domain.lower, domain.upper
    cells = {1: 2048, 2: 512, 3: 96}[domain.dim]
    for _ in range(8):
        fine = Grid(lower, upper, cells)
        points = fine.points()
        logs = target.log_density(points)
        top = float(logs.max())
        held = points[logs > top - 40.0]
        low = np.maximum(held.min(axis=0) - 1.5 * fine.spacing, domain.lower)
        high = np.minimum(held.max(axis=0) + 1.5 * fine.spacing, domain.upper)
        if np.all(high - low > 0.5 * (upper - lower)):
            break
        lower, upper = low, high
    return top + float(np.log(np.exp(logs - top).sum() * fine.volume))


def box_of(domain: Grid | None) -> Box | None:
    """The domain of a cloud as the estimators take it."""
    if domain is None:
        return None
    return Box(domain.lower, domain.upper, tuple(pair[0] for pair in domain.boundary))


__all__ = [
    "FLOWS",
    "Array",
    "Facts",
    "Flow",
    "Memory",
    "Parts",
    "Pointwise",
    "Solve",
    "Split",
    "box_of",
    "carried",
    "density_estimator",
    "energy",
    "log_mass",
    "make_flow",
    "pair_sums",
]
