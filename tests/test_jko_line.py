"""JKO on the line where it is hard: every functional from every kind of start, at any step; and beside a reaction."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_laws import never_up

import wflow as wf
from wflow.errors import Status
from wflow.functionals.densities import DIVERGENCES
from wflow.steppers import JKO, VariationalBDF2

GRID = wf.Grid(-5.0, 5.0, 40)
X = GRID.centers[0]
RNG = np.random.default_rng(3)
STARTS = {
    "one cell": np.eye(40)[10],
    "two walls": np.eye(40)[0] + np.eye(40)[-1],
    "top hat": np.where(np.abs(X + 2.5) < 1.0, 1.0, 0.0),
    "narrow blobs": np.exp(np.logaddexp(-200.0 * (X - 4.0) ** 2, -200.0 * (X + 4.0) ** 2)),
    "random cells": 10.0 ** RNG.uniform(-6, 0, 40),
    "random vacuum": np.where(RNG.random(40) < 0.4, 0.0, 10.0 ** RNG.uniform(-6, 0, 40)),
}
TARGETS = {"narrow": wf.Gaussian([0.0], 0.1), "apart": wf.GaussianMixture([[-2.0], [2.0]], 0.05)}
ENERGIES = {f"{name}, {key}": wf.FDivergence(name, p) for name in DIVERGENCES for key, p in TARGETS.items()}
ENERGIES |= {f"alpha {a:g}, apart": wf.FDivergence("alpha", TARGETS["apart"], alpha=a) for a in (-1.0, 0.5, 3.0)}
ENERGIES |= {
    "entropy": wf.Entropy(),
    "m=8": wf.PowerEntropy(8),
    "m=1/2": wf.PowerEntropy(0.5),
    "U": wf.InternalEnergy("q**1.5 + q*log(q)"),
    "V": wf.Potential("sin(5*x)"),
    "cold hill": 0.01 * wf.Entropy() + wf.Potential("x"),
    "m=3 + hill": 0.01 * wf.PowerEntropy(3) + wf.Potential("-x**2/2"),
    "m=1/2 + wells": wf.PowerEntropy(0.5) + wf.Potential("(x**2 - 1)**2"),
    "W": wf.Interaction("-exp(-x**2)"),
    "m=2 + W": wf.PowerEntropy(2) + wf.Interaction("exp(-x**2)"),
    "chi2 + W": wf.FDivergence("chi2", TARGETS["narrow"]) + wf.Interaction("abs(x)"),
    "two targets": wf.FDivergence("jensen-shannon", TARGETS["narrow"]) + wf.FDivergence("kl", TARGETS["apart"]),
}


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("name", ENERGIES)
def test_every_functional_from_every_start_at_any_step(name):
    """Complete, with mass, sign and a falling energy; the merit of each step no larger than at its start."""
    for values in STARTS.values():
        for dt in (1e-3, 10.0):
            q = wf.Density(GRID, values)
            result = wf.run(ENERGIES[name], q, dt=dt, steps=2, stepper=JKO(), save="all")
            assert result.status is Status.COMPLETE
            assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
            assert result.diagnostics["minimum"].min() >= 0.0
            energies = result.diagnostics["energy"]
            assert never_up(energies)
            assert np.isinf(energies).sum() <= 1  # from a vacuum of infinite energy
            # Of the first step also F + W2²/2τ falls, on the cells; of later ones in quantiles.
            merit, slack = energies[1] + result.steps["distance"][0] ** 2 / (2 * dt), 1e-12 * (1 + abs(energies[0]))
            assert merit <= energies[0] + slack


@pytest.mark.parametrize("name", ["m=2 + hill", "W"])
def test_the_energy_counted_in_quantiles_is_near_that_of_the_cells(name):
    """Of second order in the cells, at the end of a run: a quarter of the gap on twice as many."""
    gaps, energies = [], {"m=2 + hill": wf.PowerEntropy(2) + wf.Potential("-x**2/2"), **ENERGIES}
    for n in (60, 120):
        q = wf.Density(wf.Grid(-5.0, 5.0, n), wf.Gaussian([-1.0], 1.0))
        result = wf.run(energies[name], q, dt=0.1, steps=3, stepper=JKO(), save="ends")
        gaps.append(abs(result.diagnostics["energy"][-1] - wf.energy(energies[name], result.final)))
    assert 0.0 < gaps[0] < 0.02
    assert gaps[1] < 0.35 * gaps[0]


REACTION = wf.metrics.WassersteinFisherRao()


@pytest.mark.parametrize("stepper", [JKO(), VariationalBDF2()], ids=["JKO", "BDF2"])
def test_beside_a_reaction_it_is_split(stepper):
    """Towards the flow of Wasserstein and Fisher–Rao at once, mass kept, the energy falling: at order 1, and by BDF2
    thirty times nearer, where the cells, gone to after each step, are all that is left."""
    F, T = wf.FDivergence("reverse-kl", wf.Gibbs("x**2/2 + x")), 0.2
    q = wf.Density(wf.Grid(0, 1, 80), lambda x: 1 + 0.5 * np.cos(np.pi * x[:, 0]) + 0.2 * np.cos(2 * np.pi * x[:, 0]))
    flow = wf.run(F, q, t_end=T, tol=3e-6, metric=REACTION, save="ends").final.values
    errors = []
    for steps in (8, 16):
        result = wf.run(F, q, dt=T / steps, steps=steps, stepper=stepper, metric=REACTION, save="all")
        assert result.status is Status.COMPLETE
        assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
        assert np.all(np.diff(result.diagnostics["energy"]) < 0.0)
        errors.append(np.abs(result.final.values - flow).mean())
    if stepper.order == 1:
        assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1
    else:
        assert errors[1] < 7.2e-4 / 30  # JKO's of as many steps is 7.2e-4
