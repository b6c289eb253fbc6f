"""Ornstein–Uhlenbeck in closed form on all states, and the rates at which divergences relax."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtri

import wflow as wf
from wflow import exact
from wflow.flows import make_flow
from wflow.steppers import Langevin

EULER_MARUYAMA = Langevin(scheme="euler-maruyama")
KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))


@pytest.mark.checklist("G21", "G16")
def test_ornstein_uhlenbeck_on_a_grid():
    grid = wf.Grid(-7, 7, 280)
    result = wf.run(
        KL, wf.Density(grid, wf.Gaussian([1.0], 4.0).at(np.array([[1.0, 0.8]]))), t_end=1.0, tol=1e-4, save=3
    )
    for time, q in zip(result.times, result.states, strict=True):
        mean, cov = exact.ornstein_uhlenbeck([1.0], 0.64, time)
        assert_allclose(q.mean, mean, atol=3e-4)
        assert_allclose(q.cov[0, 0] - grid.spacing[0] ** 2 / 12 * 0, cov, atol=1e-3)
        law = wf.Density(grid, wf.Gaussian(mean, cov)).values
        assert np.abs(q.values - law).sum() * grid.volume < 1e-3


@pytest.mark.checklist("G21", "G15", "G10b")
@pytest.mark.parametrize("metric", [None, wf.metrics.Natural()], ids=["Wasserstein", "Natural"])
def test_ornstein_uhlenbeck_on_a_gaussian(metric):
    """Two metrics, two curves: (.3678794412, 1.1857511753) and (.1270143312, 1.1751778561) at t = 1."""
    result = wf.run(KL, wf.Gaussian([1.0], 4.0), t_end=1.0, tol=1e-9, metric=metric)
    expected = (0.3678794412, 1.1857511753) if metric is None else (0.1270143312, 1.1751778561)
    assert_allclose([result.final.mean[0], result.final.cov[0, 0] ** 0.5], expected, atol=2e-8)


@pytest.mark.checklist("G20", "G21")
def test_ornstein_uhlenbeck_with_particles_by_the_ode():
    """The cloud of quantiles under the fitted Gaussian keeps its shape: an affine flow, exact but for the tolerance."""
    n = 60
    z = ndtri((np.arange(n) + 0.5) / n)
    z = (z - z.mean()) / z.std(ddof=1)
    result = wf.run(KL, wf.Particles((1 + 2 * z)[:, None]), t_end=1.0, tol=1e-7, estimator=wf.estimators.GaussianFit())
    mean, sd = exact.gaussian_kl_wasserstein(1.0, 2.0, 1.0)
    assert_allclose(result.final.positions[:, 0], mean + sd * z, atol=1e-5)


@pytest.mark.checklist("G20", "G21")
def test_ornstein_uhlenbeck_with_particles_by_a_kernel_density():
    """Smoothing adds σ² to the variance that the flow sees: an error of that order, which falls with the bandwidth."""
    x = wf.Gaussian([1.0], 4.0).sample(3000, 1)
    sd = exact.gaussian_kl_wasserstein(1.0, 2.0, 1.0)[1]
    result = wf.run(KL, wf.Particles(x), t_end=1.0, tol=1e-4, estimator=0.25)
    start = wf.Particles(x)
    assert_allclose(result.final.mean, start.mean * np.exp(-1), atol=2e-3)
    target = 1 + (start.cov[0, 0] - 1) * np.exp(-2)
    assert_allclose(result.final.cov[0, 0], target, rtol=0.08)
    assert abs(sd**2 - target) < 0.1


@pytest.mark.checklist("G22")
def test_ornstein_uhlenbeck_with_particles_by_the_sde():
    """Mean and variance of Euler–Maruyama follow their own recursion to 4 standard errors; a wrong one does not."""
    n, h, steps = 40_000, 0.1, 10
    x = wf.Gaussian([1.0], 4.0).sample(n, 2)
    end = wf.run(KL, wf.Particles(x), dt=h, steps=steps, stepper=EULER_MARUYAMA, rng=1, save="ends").final
    mean, var = (1 - h) ** steps * x.mean(), x.var()
    for _ in range(steps):
        var = (1 - h) ** 2 * var + 2 * h
    assert abs(end.mean[0] - mean) < 4 * np.sqrt(var / n)
    assert abs(end.cov[0, 0] - var) < 4 * var * np.sqrt(2 / n)
    # Negative control: the recursion for noise of half the size.
    wrong = x.var()
    for _ in range(steps):
        wrong = (1 - h) ** 2 * wrong + h
    assert abs(end.cov[0, 0] - wrong) > 10 * var * np.sqrt(2 / n)


@pytest.mark.checklist("G22")
@pytest.mark.parametrize(("h", "variance"), [(0.1, 1.0526316), (0.5, 1.3333333), (1.0, 2.0)])
def test_stationary_variance_of_euler_maruyama(h, variance):
    n = 100_000
    x = np.sqrt(variance) * np.random.default_rng(0).standard_normal((n, 1))
    end = wf.run(KL, wf.Particles(x), dt=h, steps=int(4 / h) + 6, stepper=EULER_MARUYAMA, rng=2, save="ends").final
    assert_allclose(end.cov[0, 0], variance, rtol=4 * np.sqrt(2 / n))
    assert_allclose(exact.euler_maruyama_variance(h), variance, rtol=1e-7)


# Relaxation.

GAPS = {"(x**2 - 1)**2": 0.227273301008, "x**4/4 - x**2/2": 0.422944645398}  # of ∂q = (q V')' + ε q'', ε = 1/2
SECOND = {
    "reverse-kl": 1, "kl": 1, "chi2": 2, "reverse-chi2": 2, "hellinger": 0.5, "jensen-shannon": 0.25, "jeffreys": 2,
    "triangular": 1, "alpha": 1,
}  # fmt: skip


@pytest.mark.checklist("G18", "G19")
@pytest.mark.parametrize("name", SECOND)
def test_every_divergence_relaxes_at_its_rate_times_the_gap(name):
    """q - p falls as exp(-f''(1) λ t), the energy at twice that, from a small disturbance; to one per cent."""
    grid = wf.Grid(-2.5, 2.5, 100)
    p = wf.Gibbs("(x**2 - 1)**2", temperature=0.5)
    q = wf.Density(grid, wf.Density(grid, p).values * (1 + 0.1 * np.tanh(2 * grid.centers[0])))
    F = wf.FDivergence(name, p, alpha=0.5 if name == "alpha" else None)
    rate = SECOND[name] * GAPS["(x**2 - 1)**2"] / 0.5
    times = np.array([1.0, 1.5, 2.5]) / rate
    result = wf.run(F, q, t_end=times[-1], tol=1e-6, save=times[:-1])
    gap = [np.abs(s.values - wf.Density(grid, p).values).sum() for s in result.states[2:]]
    span = np.diff(result.times[2:])[0]
    assert_allclose(np.log(gap[0] / gap[1]) / span, rate, rtol=0.01)
    energy = result.diagnostics["energy"][2:]
    assert_allclose(np.log(energy[0] / energy[1]) / span, 2 * rate, rtol=0.01)


def test_the_gap_of_the_discrete_generator():
    for text, gap in GAPS.items():
        grid = wf.Grid(-3, 3, 120)
        q = wf.Density(grid, np.ones(120))
        flow = make_flow(0.5 * wf.Entropy() + wf.Potential(text), q)
        matrix = np.stack([flow.rate(0.0, q.at(e)) for e in np.eye(120)], axis=1)
        rates = np.sort(np.linalg.eigvals(matrix).real)[::-1]
        assert abs(rates[0]) < 1e-10
        assert_allclose(-rates[1], gap, rtol=2e-3)
