"""SVGD: the Stein metric against its published sum, its laws, and the Gaussian it must find."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose

import wflow as wf
from wflow.flows import make_flow
from wflow.metrics import Stein, median_width


def cloud(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return wf.Particles(0.7 * rng.standard_normal((n, d)) + 0.5, rng.uniform(0.5, 1.5, n))


def liu_wang(x, weights, force, width, temperature=1.0):
    """Σⱼ wⱼ [k(xⱼ, xᵢ) force(xⱼ) + T ∇ⱼ k(xⱼ, xᵢ)], pair by pair."""
    out = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            k = np.exp(-np.sum((x[i] - x[j]) ** 2) / (2 * width**2))
            out[i] += weights[j] * k * (force[j] + temperature * (x[i] - x[j]) / width**2)
    return out


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_direction_is_the_published_sum(d):
    state, target = cloud(60, d), wf.Gaussian(np.full(d, 0.2), 1.3)
    flow = make_flow(wf.FDivergence("reverse-kl", target), state, metric=Stein(0.8))
    expected = liu_wang(state.positions, state.weights, target.score(state.positions), 0.8)
    assert_allclose(flow.rate(0.0, state), expected, atol=1e-13)


def test_entropy_with_potential_interaction_and_drift_is_the_same_flow():
    """ε (entropy) + V has the force -∇V and ε as the weight of the second term; a drift is not smoothed."""
    state = cloud(50, 2)
    F = 0.3 * wf.Entropy() + wf.Potential("x**4/4 + y**2") + wf.Interaction("(x**2 + y**2)/2")
    x, w = state.positions, state.weights
    force = -np.stack([x[:, 0] ** 3, 2 * x[:, 1]], axis=1) - (x - w @ x)
    flow = make_flow(F, state, metric=Stein(0.6), drift=["1", "x"])
    expected = liu_wang(x, w, force, 0.6, 0.3) + np.stack([np.ones(len(x)), x[:, 0]], axis=1)
    assert_allclose(flow.rate(0.0, state), expected, atol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_mesh_gives_the_same_direction(d):
    """Beyond a few hundred particles sums go by the mesh, within half a percent of the pairs."""
    state, target = cloud(4000, d), wf.Gaussian(np.zeros(d), 1.0)
    rate = make_flow(wf.FDivergence("reverse-kl", target), state, metric=Stein(0.5)).rate(0.0, state)
    some = np.random.default_rng(0).permutation(4000)[:50]
    x, w, force = state.positions, state.weights, target.score(state.positions)
    between = x[some][:, None] - x
    k = np.exp(-np.sum(between**2, axis=2) / (2 * 0.5**2))
    exact = k @ (w[:, None] * force) + np.einsum("ij,j,ijk->ik", k, w, between) / 0.5**2
    assert np.abs(rate[some] - exact).max() < 0.005 * np.abs(exact).max()
    assert_allclose(rate[some], exact, atol=0.005)


def test_the_median_rule():
    x = np.random.default_rng(0).standard_normal((101, 2))
    distances = np.linalg.norm(x[:, None] - x, axis=2)[np.triu_indices(101, 1)]
    assert_allclose(median_width(x), np.sqrt(0.5 * np.median(distances) ** 2 / np.log(102)))
    assert median_width(x[:1]) == 1.0
    state = wf.Particles(x)
    F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0))
    by_rule = make_flow(F, state, metric=Stein()).rate(0.0, state)
    assert_allclose(by_rule, make_flow(F, state, metric=Stein(median_width(x))).rate(0.0, state))


@pytest.mark.parametrize("stepper", [wf.steppers.ExplicitEuler(), wf.steppers.BogackiShampine()])
def test_svgd_finds_a_gaussian(stepper):
    """With a kernel as wide as the cloud its first two moments come right; |error| falls far below the start's."""
    target = wf.Gaussian([1.0, -1.0], [0.5, 2.0])
    start = wf.Particles(np.random.default_rng(0).standard_normal((150, 2)))
    dt = 0.5 if isinstance(stepper, wf.steppers.ExplicitEuler) else None
    F = wf.FDivergence("reverse-kl", target)
    result = wf.run(F, start, t_end=60.0, dt=dt, stepper=stepper, metric=Stein(2.0), save="ends")
    assert result.status.good
    assert_allclose(result.final.mean, target.mean, atol=0.02)
    assert_allclose(np.diag(result.final.cov), [0.5, 2.0], rtol=0.1)
    assert "dissipation" not in result.diagnostics
    assert result.diagnostics["energy"][-1] < 0.1 * result.diagnostics["energy"][0]


def test_at_rest_the_stein_identity_holds():
    """SVGD stops where every function of the kernel's space has zero Stein expectation: E[∇log p k + ∇k] = 0."""
    p = wf.GaussianMixture([[-1.5], [1.5]], 0.5)
    start = wf.Particles(np.random.default_rng(0).uniform(-1, 3, (60, 1)))
    F = wf.FDivergence("reverse-kl", p)
    final = wf.run(F, start, t_end=150.0, metric=Stein(0.5), tol=1e-4, save="ends").final
    flow = make_flow(F, final, metric=Stein(0.5))
    assert np.abs(flow.rate(0.0, final)).max() < 1e-2 * np.abs(flow.rate(0.0, start)).max()


def test_one_particle_climbs_to_the_mode():
    F = wf.FDivergence("reverse-kl", wf.Gaussian([2.0], 0.5))
    final = wf.run(F, wf.Particles([[0.0]]), t_end=1.0, metric=Stein(), tol=1e-7, save="ends", estimator=0.3).final
    assert_allclose(final.positions, 2.0 - 2.0 * np.exp(-2.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("functional", "state", "options", "message"),
    [
        (wf.PowerEntropy(2), cloud(9, 1), {}, "entropies and reverse KL"),
        (wf.Blob(wf.Entropy(), 0.1), cloud(9, 1), {}, "entropies and reverse KL"),
        (wf.Entropy(), wf.Particles([[0.5]], domain=wf.Grid(0, 1, 2)), {}, "no walls"),
        (wf.Potential("x**2"), wf.Point([1.0]), {}, "defined on Particles"),
        (wf.Entropy(), cloud(9, 1), {"stepper": wf.steppers.Langevin(), "dt": 0.1}, "Langevin form"),
        (wf.Entropy(), wf.Particles(np.ones((9, 1))), {"estimator": 0.1}, "median distance of the particles is zero"),
    ],
)
def test_what_stein_cannot_serve_is_refused(functional, state, options, message):
    with pytest.raises(wf.InputError, match=message):
        wf.run(functional, state, t_end=0.5, metric=Stein(), **options)


def test_bad_bandwidths_are_refused():
    with pytest.raises(wf.InputError, match="did you mean 'median'"):
        Stein("medain")
    with pytest.raises(wf.InputError, match="positive and finite"):
        Stein(0.0)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("n", [250, 20_000])
def test_bits_do_not_depend_on_the_number_of_threads(n):
    state = cloud(n, 2)
    flow = make_flow(wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0)), state, metric=Stein(0.2))
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(flow.rate(0.0, state).tobytes())
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert found[0] == found[1]
