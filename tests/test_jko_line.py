"""JKO on the line where it is hard: every functional from every kind of start, at any step; and beside a reaction."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_laws import never_up

import wflow as wf
from wflow.errors import Status
from wflow.flows import carried
from wflow.flows.nodes import cells_as_nodes
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
    """Towards the flow of Wasserstein and Fisher–Rao at once, mass kept, the energy falling, at the order of each.
    Quantiles go through the reaction: gone to the cells after each step, 128 of them were 2.1e-5 away."""
    F, T = wf.FDivergence("reverse-kl", wf.Gibbs("x**2/2 + x")), 0.2
    q = wf.Density(wf.Grid(0, 1, 80), lambda x: 1 + 0.5 * np.cos(np.pi * x[:, 0]) + 0.2 * np.cos(2 * np.pi * x[:, 0]))
    flow = wf.run(F, q, t_end=T, tol=3e-6, metric=REACTION, save="ends").final.values
    fine = {"dt": T / 128, "steps": 128, "metric": REACTION, "save": "ends"}
    best = wf.run(F, q, stepper=VariationalBDF2(), **fine).final.values
    assert np.abs(best - flow).mean() < 1e-5
    errors = []
    for steps in (8, 16):
        result = wf.run(F, q, dt=T / steps, steps=steps, stepper=stepper, metric=REACTION, save="all")
        assert result.status is Status.COMPLETE
        assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
        assert np.all(np.diff(result.diagnostics["energy"]) < 0.0)
        errors.append(np.abs(result.final.values - best).mean())
    assert abs(np.log2(errors[0] / errors[1]) - stepper.order) < 0.1


def test_quantiles_that_a_reaction_fills_too_much_begin_from_the_cells():
    """Else intervals would resolve less than cells. Nodes stay, and the mass of each grows as the cells do."""
    grid = wf.Grid(0.0, 1.0, 50)
    before = wf.Density(grid, lambda x: 1.0 + x[:, 0])
    nodes, masses = cells_as_nodes(before.values * grid.volume, np.zeros((50, 3)))
    memory = {"nodes": nodes, "masses": masses, "values": before.values}
    after = wf.Density(grid, lambda x: (1.0 + x[:, 0]) * np.exp(-x[:, 0]))
    kept = carried(memory, before, after)
    assert_array_equal(kept["nodes"], nodes)
    middles = 0.5 * (nodes[1:] + nodes[:-1]) / 50
    scale = after.values[0] / before.values[0] * np.exp(0.01)
    assert_allclose(kept["masses"] / masses, scale * np.exp(-middles), rtol=2e-4)
    assert_allclose(kept["masses"].sum(), masses.sum(), rtol=1e-14)
    assert carried(memory, after, after) == {}
    assert carried(memory, before, wf.Density(grid, lambda x: np.exp(-9 * x[:, 0]))) == {}
