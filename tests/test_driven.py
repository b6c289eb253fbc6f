"""Steep divergences beside other terms on a grid: the flux of `flows/driven.py`, its laws, its order, hard starts."""

import numpy as np
import pytest
from scipy.optimize import brentq

import wflow as wf
from wflow.errors import Status
from wflow.flows import make_flow

NORMAL = wf.Gaussian([0.0], 1.0)
GRID = wf.Grid(-3, 3, 40)
STEEP = ("kl", "chi2", "hellinger", "jeffreys")
BESIDE = {
    "potential": (wf.Potential("0.5*x**2"), None),
    "interaction": (wf.Interaction("x**2/2"), None),
    "other target": (wf.FDivergence("hellinger", wf.Gaussian([1.0], 1.0)), None),
    "power": (wf.PowerEntropy(2.0), None),
    "drift": (wf.Potential("0*x"), ["-x"]),
}


def flow_of(name, more, drift, q):
    return make_flow(0.5 * wf.FDivergence(name, NORMAL) + more, q, drift=drift, rtol=1e-5)


def rough(rng, decades):
    """Cells at random over so many powers of ten."""
    return wf.Density(GRID, 10.0 ** (-decades * rng.random(GRID.cells)))


@pytest.mark.parametrize("name", STEEP)
def test_constant_potential_changes_nothing(name):
    q = rough(np.random.default_rng(0), 6.0)
    F = 0.5 * wf.FDivergence(name, NORMAL)
    alone, beside = (make_flow(G, q).rate(0.0, q) for G in (F, F + wf.Potential("1 + 0*x")))
    assert np.array_equal(alone, beside)


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("name", STEEP)
def test_laws_of_the_rate(name, beside):
    """Mass stays and, without a drift, no face raises the energy, whatever the cells hold."""
    more, drift = BESIDE[beside]
    for seed in range(10):
        q = rough(np.random.default_rng(seed), 4.0 * seed)
        flow = flow_of(name, more, drift, q)
        rate = flow.rate(0.0, q)
        assert abs(rate.sum()) <= 1e-13 * np.abs(rate).sum()
        if drift is None:
            change = flow.variation.slope(0.0, q.values) * rate
            assert change.sum() <= 1e-13 * np.abs(change).sum()


def test_one_face_never_raises_the_energy():
    """The same of every pair of cells, where no other face makes up for it."""
    grid = wf.Grid(-3, 3, 2)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        q = wf.Density(grid, 10.0 ** rng.uniform(-12.0, 0.0, 2))
        F = 0.5 * wf.FDivergence("kl", wf.Gaussian([rng.normal()], 1.0)) + wf.Potential(f"{rng.normal()}*x")
        flow = make_flow(F, q)
        assert np.sum(flow.variation.slope(0.0, q.values) * flow.rate(0.0, q)) <= 0.0


def test_at_rest_where_the_variation_is_constant():
    """-½p/q + V = λ is q = p/(2 (V - λ)), exactly at rest on the cells."""
    p = wf.Density(GRID, NORMAL).values
    height = 0.5 * GRID.centers[0] ** 2
    level = brentq(lambda c: np.sum(p / (2.0 * (height + c))) - p.sum(), 0.05, 5.0, xtol=1e-15)
    q = wf.Density(GRID, p / (2.0 * (height + level)))
    flow = flow_of("kl", wf.Potential("0.5*x**2"), None, q)
    scale = np.abs(flow.driven.diffusion.rate(0.0, q.values)).max()
    assert np.abs(flow.rate(0.0, q)).max() < 1e-12 * scale
    assert scale > 0.1


@pytest.mark.parametrize("beside", BESIDE)
def test_derivative_against_differences(beside):
    """Column by column in units of each cell's own mass, over six decades."""
    more, drift = BESIDE[beside]
    q = rough(np.random.default_rng(3), 6.0).values
    driven = flow_of("kl", more, drift, wf.Density(GRID, q)).driven
    product = driven._along(0.0, q)
    for cell in (5, 12, 34):
        share = np.zeros(q.shape)
        share[cell] = 1e-5
        difference = driven._beside(0.0, q * (1.0 + share)) - driven._beside(0.0, q * (1.0 - share))
        along = 2.0 * product(0.5 * share)  # w = ½ log u
        rounding = 1e-15 * np.abs(driven._beside(0.0, q)).max()
        assert np.abs(along - difference).max() < 1e-5 * np.abs(difference).max() + rounding
        assert np.abs(difference).max() > 10.0 * rounding


def test_order_in_space():
    """The variance at t = 0.3."""
    F = 0.5 * wf.FDivergence("kl", NORMAL) + wf.Potential("0.5*x**2")
    start = wf.Gaussian([0.5], 0.3)
    runs = [wf.run(F, wf.Density(wf.Grid(-3, 3, n), start), t_end=0.3, tol=1e-4, save="ends") for n in (20, 40, 80)]
    first, second = np.diff([run.final.cov[0, 0] for run in runs])
    assert abs(np.log2(first / second) - 2.0) < 0.1


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("name", ["kl", "hellinger"])
def test_thin_tails(name, beside):
    """From q/p = 1e-50 in the tails, which ended at t = 1e-15."""
    more, drift = BESIDE[beside]
    F = 0.5 * wf.FDivergence(name, NORMAL) + more
    run = wf.run(F, wf.Density(GRID, wf.Gaussian([0.5], 0.05)), t_end=0.05, drift=drift)
    assert run.status is Status.COMPLETE
    assert len(run.steps["dt"]) < 200
    if drift is None:
        assert np.all(np.diff(run.steps["energy"]) <= 1e-12)


def test_kernel_density_in_the_plane():
    """Log p turns by tens from cell to cell, q/p goes from e^-100 to e^100."""
    samples = np.random.default_rng(0).normal(size=(200, 2))
    F = 0.5 * wf.FDivergence("kl", wf.KernelDensity(samples, 0.1)) + wf.Potential("0.5*x**2 + 0.3*y**2")
    for width in (0.05, 1.0):
        q = wf.Density(wf.Grid([-3, -3], [3, 3], [20, 20]), wf.Gaussian([0.5, 0.5], width))
        run = wf.run(F, q, t_end=1.0, tol=1e-2)
        assert run.status is Status.COMPLETE
        assert len(run.steps["dt"]) < 150
        assert np.all(np.diff(run.steps["energy"]) <= 1e-12)
        assert abs(run.final.mass - 1.0) < 1e-12


def test_long_steps_out_of_a_vacuum():
    """The base of a trapezoidal step holds 1e12 times the mass; its digits are not believed."""
    F = 0.5 * wf.FDivergence("chi2", NORMAL)
    run = wf.run(F, wf.Density(GRID, wf.Gaussian([0.5], 0.1)), t_end=0.01)
    assert run.status is Status.COMPLETE
