"""Density and score from samples: bandwidth rules, the exact sum, estimator objects."""

import numba
import numpy as np
import pytest
from clouds import BOXES, cloud
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from wflow.errors import InputError
from wflow.estimators import (
    ESTIMATORS,
    RULES,
    Box,
    GaussianFit,
    Kernel,
    Laplace,
    as_estimator,
    bandwidths,
    direct_log_density,
    mesh_estimate,
)
from wflow.kernels import sums


def naive_log_density(points, samples, weights, width):
    """The definition, in NumPy."""
    z = (samples[None] - points[:, None]) / width
    terms = np.log(weights / weights.sum()) - 0.5 * np.sum(z**2, axis=2)
    log_norm = np.sum(np.log(np.sqrt(2 * np.pi) * width))
    return logsumexp(terms, axis=1) - log_norm


# Bandwidths ------------------------------------------------------------------------------------------------------


def test_normal_reference_rules_are_their_formulas():
    x, _ = cloud(500, 3)
    s = x.std(axis=0, ddof=1)
    np.testing.assert_allclose(bandwidths(x, None, "scott"), s * 500 ** (-1 / 7), rtol=1e-13)
    np.testing.assert_allclose(bandwidths(x, None, "silverman"), s * (4 / 5 / 500) ** (1 / 7), rtol=1e-13)
    np.testing.assert_allclose(bandwidths(x, None, "score"), s * (4 / 7 / 500) ** (1 / 9), rtol=1e-13)


def test_weights_enter_rules_by_effective_number_and_weighted_deviation():
    x, w = cloud(300, 2)
    w = w / w.sum()
    s = np.sqrt(np.diag(np.cov(x.T, aweights=w)))
    expected = s * (1 / np.sum(w**2)) ** (-1 / 6)
    np.testing.assert_allclose(bandwidths(x, w, "scott"), expected, rtol=1e-12)
    np.testing.assert_allclose(bandwidths(x, 7 * w, "scott"), expected, rtol=1e-12)


def test_rules_scale_with_the_samples():
    x, _ = cloud(400, 2)
    for rule in RULES:
        scaled = bandwidths(x * [3.0, 0.01] + 5.0, None, rule)
        np.testing.assert_allclose(scaled, bandwidths(x, None, rule) * [3.0, 0.01], rtol=1e-6)


def test_isj_finds_the_bandwidth_of_one_mode_where_silverman_sees_the_distance():
    x, _ = cloud(40_000, 1)
    single = bandwidths(x, None, "isj")[0]
    assert single == pytest.approx(bandwidths(x, None, "silverman")[0], rel=0.1)
    x[::2] += 30.0
    # The integral of (f'')^2 of two far halves is half that of one: the optimum is that of half the samples.
    assert bandwidths(x, None, "isj")[0] == pytest.approx((4 / 3 / 20_000) ** 0.2, rel=0.1)
    assert bandwidths(x, None, "silverman")[0] > 1.5


def test_isj_without_a_root_is_silverman():
    x = np.repeat([[0.0], [1.0], [2.0]], 2000, axis=0)
    assert bandwidths(x, None, "isj") == bandwidths(x, None, "silverman")


@pytest.mark.filterwarnings("error")
def test_isj_of_a_few_samples_is_no_wider_than_a_third_of_their_range():
    """Of these eight a root at 2.4 lies beyond, twice their deviation."""
    x = np.random.default_rng(135).normal(size=(8, 1))
    assert bandwidths(x, None, "isj") == bandwidths(x, None, "silverman") < 1.0


@pytest.mark.parametrize(
    ("samples", "rule", "message"),
    [
        ([[1.0, 2.0]], "score", "needs two samples"),
        ([[1.0, 2.0], [1.0, 3.0]], "score", "coincide on axis 0"),
        ([[1.0], [np.nan]], "score", "must be finite"),
        ([1.0, 2.0], "score", r"shape \(n, d\)"),
        ([[1.0], [2.0]], "skott", "did you mean 'scott'"),
        ([[1.0], [2.0]], -1.0, "positive and finite"),
        ([[1.0], [2.0]], np.inf, "positive and finite"),
        ([[1.0], [2.0]], [1.0, 2.0], "one number or one per axis"),
        ([[1.0], [2.0]], {"a": 1}, "a bandwidth is a number"),
    ],
)
def test_bad_bandwidths_and_samples_are_refused(samples, rule, message):
    with pytest.raises(InputError, match=message):
        bandwidths(samples, None, rule)


# The exact sum ---------------------------------------------------------------------------------------------------


def test_block_exponential_is_accurate_to_rounding():
    x = np.linspace(-700.0, 0.0, 512)
    values = x + 3.0
    sums.exp_block(values, 512, 3.0)
    np.testing.assert_allclose(values, np.exp((x + 3.0) - 3.0), rtol=5e-16)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_direct_is_the_definition(d):
    samples, w = cloud(1300, d)
    points = 3 * cloud(40, d, seed=1)[0]
    width = np.linspace(0.3, 0.6, d)
    log_density, _ = direct_log_density(points, samples, w, width)
    np.testing.assert_allclose(log_density, naive_log_density(points, samples, w, width), rtol=1e-12, atol=1e-12)


def test_direct_is_right_far_away_and_far_from_the_origin():
    samples, w = cloud(600, 2)
    w[samples[:, 0] > 0] = 0.0
    points = np.array([[200.0, 0.0], [0.0, -1e4]])
    kept = w > 0
    expected = naive_log_density(points, samples[kept], w[kept], np.array([0.5, 0.5]))
    log_density, score = direct_log_density(points, samples, w, 0.5)
    np.testing.assert_allclose(log_density, expected, rtol=1e-13)
    assert np.all(np.isfinite(score))
    np.testing.assert_allclose(score[0, 0], (samples[kept, 0].max() - 200.0) / 0.25, rtol=1e-3)
    moved = samples + 2.0**30
    there, _ = direct_log_density(moved, moved, w, 0.3)
    here, _ = direct_log_density(moved - 2.0**30, moved - 2.0**30, w, 0.3)
    np.testing.assert_allclose(there, here, atol=1e-12)


@pytest.mark.checklist("M7")
@pytest.mark.parametrize("d", [1, 2, 3])
def test_kde_is_normalised_in_every_dimension(d):
    """The trapezoid rule is exact to rounding for Gaussians resolved by the spacing."""
    samples = np.random.default_rng(2).uniform(-0.5, 0.5, (7, d))
    axis = np.arange(-3.0, 3.0, 0.2)
    points = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    log_density, _ = direct_log_density(points, samples, None, 0.3)
    assert np.exp(log_density).sum() * 0.2**d == pytest.approx(1.0, abs=1e-8)
    density, _ = mesh_estimate(samples, None, 0.3, points=points, order=6)
    assert density.sum() * 0.2**d == pytest.approx(1.0, abs=1e-4)


@pytest.mark.checklist("M7")
def test_score_is_the_softmax_mean_shift():
    samples, w = cloud(200, 2)
    points = cloud(20, 2, seed=3)[0]
    terms = np.log(w) - 0.5 * np.sum((samples[None] - points[:, None]) ** 2, axis=2) / 0.4**2
    softmax = np.exp(terms - logsumexp(terms, axis=1, keepdims=True))
    expected = (softmax @ samples - points) / 0.4**2
    _, score = direct_log_density(points, samples, w, 0.4)
    np.testing.assert_allclose(score, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.checklist("M7")
@pytest.mark.parametrize("box", BOXES, ids=["free", "wall-ring", "ring-wall"])
def test_score_is_the_gradient_of_the_log_density(box):
    samples, w = cloud(150, 2)
    points = np.random.default_rng(4).uniform(-3.9, 3.9, (30, 2))
    step = 1e-5
    for k in range(2):
        move = step * np.eye(2)[k]
        up, _ = direct_log_density(points + move, samples, w, 0.7, box)
        down, _ = direct_log_density(points - move, samples, w, 0.7, box)
        _, score = direct_log_density(points, samples, w, 0.7, box)
        np.testing.assert_allclose(score[:, k], (up - down) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("width", [0.1, 0.5, 2.0])
def test_images_in_a_box_are_the_sum_over_many_copies(width):
    x, w = np.random.default_rng(5).random((30, 2)), cloud(30, 2)[1]
    box = Box([0, 0], [1, 1], ("no-flux", "periodic"))
    copies, masses = [], []
    for i in range(-20, 21):
        for j in range(-20, 21):
            for flipped in (x * [-1, 1], x):
                copies.append(flipped + np.array([2.0 * i, j]))
                masses.append(w)
    log_density, score = direct_log_density(x, x, w, width, box)
    expected, expected_score = direct_log_density(x, np.concatenate(copies), np.concatenate(masses), width)
    np.testing.assert_allclose(log_density, expected + np.log(len(copies)), atol=1e-12)
    np.testing.assert_allclose(score, expected_score, atol=1e-11 / width**2)


def test_density_in_a_box_integrates_to_one_and_has_no_slope_at_walls():
    x, w = np.random.default_rng(6).random((50, 1)), cloud(50, 1)[1]
    box = Box([0.0], [1.0], ("no-flux",))
    centres = (np.arange(200)[:, None] + 0.5) / 200
    log_density, _ = direct_log_density(centres, x, w, 0.05, box)
    assert np.exp(log_density).mean() == pytest.approx(1.0, abs=1e-12)
    density, _ = mesh_estimate(x, w, 0.05, box, points=centres)
    assert density.mean() == pytest.approx(1.0, abs=1e-6)
    _, score = direct_log_density([[0.0], [1.0]], x, w, 0.05, box)
    assert np.abs(score).max() < 1e-10


# Estimators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_keep_the_protocol(estimator):
    d = 1 if estimator is Laplace else 2
    x, w = cloud(700, d)
    made = estimator()
    estimate = made(x, w)
    assert estimate.density.shape == (700,)
    assert estimate.score.shape == (700, d)
    assert np.all(estimate.density > 0) if made.gives_density else np.all(np.isnan(estimate.density))
    assert eval(made.text, {e.__name__: e for e in ESTIMATORS}) == made
    assert as_estimator(made) is made
    scaled = made(x, 3 * w)
    np.testing.assert_allclose(scaled.density, estimate.density, rtol=1e-9)
    np.testing.assert_allclose(scaled.score, estimate.score, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_methods_of_the_kernel_agree(d):
    x, w = cloud(2500, d)
    auto, direct = Kernel()(x, w), Kernel(method="direct")(x, w)
    np.testing.assert_allclose(auto.density, direct.density, rtol=1e-3)
    assert np.abs(auto.score - direct.score).max() < 0.02
    assert np.array_equal(auto.density, direct.density) == (d == 4)


def test_auto_sums_pairs_where_the_mesh_would_be_too_big():
    x, _ = cloud(400, 2)
    x[0] = 1e6
    np.testing.assert_allclose(Kernel(0.1)(x).density, Kernel(0.1, method="direct")(x).density, rtol=1e-8)
    with pytest.raises(InputError, match="cells, more than"):
        Kernel(0.1, method="mesh")(x)


def test_gaussian_fit_is_the_fitted_gaussian():
    x, w = cloud(300, 3)
    x = x @ [[1.0, 0.5, 0.0], [0.0, 2.0, 0.1], [0.0, 0.0, 0.3]] + 4.0
    mean, cov = np.average(x, axis=0, weights=w), np.cov(x.T, aweights=w)
    estimate = GaussianFit()(x, w)
    np.testing.assert_allclose(estimate.density, multivariate_normal(mean, cov).pdf(x), rtol=1e-10)
    np.testing.assert_allclose(estimate.score, -np.linalg.solve(cov, (x - mean).T).T, rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="singular"):
        GaussianFit()(x[:3])


def test_as_estimator_takes_what_a_user_writes():
    assert as_estimator(None) == Kernel()
    assert as_estimator(0.5) == Kernel(bandwidth=0.5)
    assert as_estimator("isj") == Kernel(bandwidth="isj")
    assert as_estimator(np.array([1.0, 2.0])) == Kernel(bandwidth=(1.0, 2.0))
    for wrong in (Kernel, "silvermann", -1.0, object()):
        with pytest.raises(InputError):
            as_estimator(wrong)
    with pytest.raises(InputError, match="did you mean 'mesh'"):
        Kernel(method="mash")


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize(("d", "n"), [(1, 30_000), (2, 60_000), (3, 20_000)])
def test_bits_do_not_depend_on_the_number_of_threads(d, n):
    x, w = np.random.default_rng(9).random((n, d)), cloud(n, 1)[1]
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        for box in (None, Box([0] * d, [1] * d, ("periodic", "no-flux", "periodic")[:d])):
            for made in (Kernel()(x, w, box), Kernel(method="direct")(x[:700], w[:700], box), GaussianFit()(x, w)):
                found.append(made.density.tobytes() + made.score.tobytes())
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert found[:6] == found[6:]
