"""Targets: densities, scores, samples and mass."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import wflow as wf
from wflow.targets import TARGETS, Bounded, Target, curvature

SAMPLES = np.random.default_rng(5).normal(size=(40, 2)) * [1.0, 0.4]
MADE = {
    "gaussian": wf.Gaussian([0.5, -0.3], [[1.0, 0.4], [0.4, 0.5]]),
    "mixture": wf.GaussianMixture([[-1.0, 0.0], [1.5, 0.5]], [0.3, 0.6], [0.25, 0.75]),
    "gibbs": wf.Gibbs("(x**2 - 1)**2/2 + y**2 + x*y/4", temperature=0.7),
    "uniform": wf.Uniform([-1.0, -2.0], [2.0, 1.0]),
    "kernel": wf.KernelDensity(SAMPLES, bandwidth=(0.4, 0.3), method="direct"),
}
GRID = wf.Grid([-9, -8], [9, 8], (360, 320))
X = np.random.default_rng(0).uniform(-1.5, 1.5, (60, 2))


def test_all_targets_are_here():
    assert {type(target) for target in MADE.values()} == set(TARGETS)


@pytest.mark.parametrize("name", MADE)
def test_density_log_density_and_score_belong_together(name):
    target = MADE[name]
    assert target.dim == 2
    inside = target.density(X) > 0
    assert_allclose(np.exp(target.log_density(X)), target.density(X), rtol=1e-12)
    h = 1e-3
    for axis in range(2):
        e = h * np.eye(2)[axis]
        slope = 8 * (target.log_density(X[inside] + e) - target.log_density(X[inside] - e))
        slope -= target.log_density(X[inside] + 2 * e) - target.log_density(X[inside] - 2 * e)
        keep = np.isfinite(slope)
        assert_allclose(target.score(X[inside])[keep, axis], slope[keep] / (12 * h), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", MADE)
def test_curvature_is_symmetric_and_the_derivative_of_the_score(name):
    """And a target of a user's, which has none, takes differences of its score."""
    target, h = MADE[name], 1e-3
    found = target.hessian(X)
    assert_allclose(found, found.swapaxes(1, 2), rtol=0, atol=1e-13)
    for axis in range(2):
        e = h * np.eye(2)[axis]
        slope = 8 * (target.score(X + e) - target.score(X - e)) - (target.score(X + 2 * e) - target.score(X - 2 * e))
        assert_allclose(found[..., axis], slope / (12 * h), rtol=1e-7, atol=1e-7)
    plain = SimpleNamespace(**{part: getattr(target, part) for part in ("dim", "normalized", "density", "sample")})
    plain.log_density, plain.score = target.log_density, target.score
    assert isinstance(plain, Target)
    assert_allclose(curvature(plain, X), found, rtol=1e-7, atol=1e-7)


def test_curvature_holds_far_out():
    """Where only the nearest sample is felt it is that of one normal density."""
    for name, bandwidth in (("kernel", [0.4, 0.3]), ("gaussian", None)):
        target = MADE[name]
        far = target.hessian(np.array([[90.0, -50.0]]))[0]
        expected = -np.diag(1.0 / np.square(bandwidth)) if bandwidth else -np.linalg.inv(target.cov)
        assert_allclose(far, expected, rtol=1e-9)
    assert_allclose(MADE["mixture"].hessian(np.array([[90.0, 0.0]]))[0], -np.eye(2) / 0.6, rtol=1e-9)


@pytest.mark.checklist("M7")
@pytest.mark.parametrize("name", MADE)
def test_mass_is_one_where_it_is_claimed(name):
    target = MADE[name]
    mass = target.density(GRID.points()).sum() * GRID.volume
    assert target.normalized == (name != "gibbs")
    assert (abs(mass - 1) < 1e-9) == target.normalized


@pytest.mark.parametrize("name", ["gaussian", "mixture", "uniform", "kernel"])
def test_samples_follow_the_density(name):
    """Kolmogorov–Smirnov on two projections; and a negative control, the same samples moved by a fifth."""
    target, n = MADE[name], 4000
    x = target.sample(n, 11)
    assert x.shape == (n, 2)
    assert_allclose(x, target.sample(n, np.random.default_rng(11)))
    p = wf.Density(GRID, target)
    for axis in range(2):
        edges = GRID.lower[axis] + GRID.spacing[axis] * np.arange(GRID.cells[axis] + 1)
        law = np.concatenate([[0], np.cumsum(p.values.sum(axis=1 - axis)) * GRID.volume])

        def cdf(s, edges=edges, law=law):
            return np.interp(s, edges, law)

        assert stats.kstest(x[:, axis], cdf).pvalue > 1e-3
        assert stats.kstest(x[:, axis] + 0.2, cdf).pvalue < 1e-6


@pytest.mark.parametrize("name", [*MADE, "diagonal"])
def test_the_mass_in_a_box_is_that_of_the_density_or_a_bound_above(name):
    target = wf.Gaussian([0.5, -0.3], [1.0, 0.5]) if name == "diagonal" else MADE[name]
    assert isinstance(target, Bounded) == target.normalized
    if not target.normalized:
        return
    box = wf.Grid([-0.6, -0.5], [1.1, 4.0], (170, 450))
    held, mass = target.within(box.lower, box.upper), target.density(box.points()).sum() * box.volume
    assert 0.1 < mass < 0.6
    if name == "gaussian":
        sides = [stats.norm(m, np.sqrt(v)) for m, v in zip(target.mean, np.diag(target.cov), strict=True)]
        shares = [n.cdf(b) - n.cdf(a) for n, a, b in zip(sides, box.lower, box.upper, strict=True)]
        assert_allclose(held, min(shares), rtol=1e-12)
        assert held > mass
    else:
        assert_allclose(held, mass, rtol=3e-5 if name != "uniform" else 0.01)
    assert_allclose(target.within(np.full(2, -np.inf), np.full(2, np.inf)), 1.0, rtol=1e-14)


def test_the_mass_of_a_tail_keeps_its_digits_on_both_sides():
    p = wf.Gaussian([0.0], 1.0)
    for box in ([20.0], [21.0]), ([-21.0], [-20.0]):
        assert_allclose(p.within(*map(np.array, box)), stats.norm.sf(20.0), rtol=1e-8)


def test_gibbs_has_no_sampler_and_says_what_to_do():
    with pytest.raises(wf.InputError, match="Langevin"):
        MADE["gibbs"].sample(3)


def test_gaussian_against_scipy():
    g = MADE["gaussian"]
    assert_allclose(g.log_density(X), stats.multivariate_normal(g.mean, g.cov).logpdf(X), rtol=1e-13)


@pytest.mark.parametrize(
    ("cov", "matrix"), [(2.0, [[2, 0], [0, 2]]), ([2.0, 3.0], [[2, 0], [0, 3]]), ([[2, 1], [1, 3]], [[2, 1], [1, 3]])]
)
def test_covariance_as_number_diagonal_and_matrix(cov, matrix):
    assert_allclose(wf.Gaussian([0, 0], cov).cov, matrix)
    assert_allclose(
        wf.GaussianMixture([[0, 0]], np.array(cov)[None] if np.ndim(cov) else cov).components[0].cov, matrix
    )


def test_temperature_and_dimension_of_gibbs():
    v = "x**2/2"
    assert wf.Gibbs(v).dim == 1
    assert wf.Gibbs("y").dim == 2
    assert wf.Gibbs(v, dim=np.int64(3)).dim == 3
    assert_allclose(wf.Gibbs(v, temperature=0.5).log_density([[3.0]]), [-9.0])
    assert_allclose(wf.Gibbs(v, temperature=0.5).score([[3.0]]), [[-6.0]])
    callable_v = wf.Gibbs(lambda x: x[:, 0] ** 2 / 2, dim=1)
    assert_allclose(callable_v.score([[3.0]]), [[-3.0]], rtol=1e-8)


@pytest.mark.checklist("M7")
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_kernel_density_is_normalised_in_every_dimension(dim):
    """Its value at a lone sample is (2πσ²)^(-d/2), not 1/(σ√2π); its score is the mean shift over σ²."""
    sigma = 0.3
    lone = wf.KernelDensity(np.zeros((1, dim)), bandwidth=sigma)
    assert_allclose(lone.density(np.zeros((1, dim))), (2 * np.pi * sigma**2) ** (-dim / 2), rtol=1e-13)
    y = np.random.default_rng(1).normal(size=(6, dim))
    p = wf.KernelDensity(y, bandwidth=sigma)
    x = y[:1] + 0.1
    shares = np.exp(-np.sum((x - y) ** 2, axis=1) / (2 * sigma**2))
    shares /= shares.sum()
    assert_allclose(p.score(x)[0], (shares @ y - x[0]) / sigma**2, rtol=1e-11)


@pytest.mark.parametrize("method", ["direct", "mesh"])
def test_kernel_density_at_its_samples(method):
    p = wf.KernelDensity(SAMPLES, bandwidth=0.5, method=method)
    exact = MADE["kernel"].__class__(SAMPLES, bandwidth=0.5, method="direct")
    density, score = p.at_samples()
    assert_allclose(density, exact.density(SAMPLES), rtol=1e-11 if method == "direct" else 1e-3)
    assert_allclose(score, exact.score(SAMPLES), rtol=0, atol=1e-10 if method == "direct" else 5e-3)


def test_score_holds_far_out():
    """exp(-V) underflows there, log p does not."""
    x = np.array([[60.0, 0.0]])
    assert_allclose(MADE["gaussian"].score(x), -np.linalg.solve(MADE["gaussian"].cov, x[0] - [0.5, -0.3])[None])
    assert np.all(np.isfinite(MADE["mixture"].score(x)))
    assert np.all(np.isfinite(MADE["kernel"].score(x)))
