"""Counter-based noise: published vectors, accuracy of the polynomials, laws, same bits everywhere."""

import numba
import numpy as np
import pytest
from numba import njit
from scipy import stats

from wflow.kernels import noise

# Random123, tests/kat_vectors: (counter, key, output) of philox4x32 with 10 rounds
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@njit
def logs(x, out):
    for i in range(x.size):
        out[i] = noise.log_positive(x[i])


@njit
def waves(x, sine, cosine):
    for i in range(x.size):
        sine[i], cosine[i] = noise.sine_cosine(x[i])


def draw(seed, step, n, d):
    return noise.normals(seed, step, np.full((n, d), np.nan))


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_philox_gives_the_published_words(counter, key, output):
    words = noise.philox(*(np.uint64(word) for word in (*key, *counter)))
    assert tuple(int(word) for word in words) == output


def test_log_is_within_two_units_in_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([2.0 ** -np.arange(66.0), rng.random(100_000), 1 - rng.random(1000) * 1e-8, [np.sqrt(0.5)]])
    out = np.empty_like(x)
    logs(x, out)
    assert np.all(np.abs(out - np.log(x)) <= 2 * np.spacing(np.abs(np.log(x))))


def test_sine_and_cosine_are_within_two_units_of_the_last_place():
    x = np.linspace(-np.pi / 4, np.pi / 4, 100_001)
    sine, cosine = np.empty_like(x), np.empty_like(x)
    waves(x, sine, cosine)
    assert np.max(np.abs(sine - np.sin(x))) <= 2.3e-16
    assert np.max(np.abs(cosine - np.cos(x))) <= 2.3e-16


def test_the_words_become_normals_by_box_and_muller():
    """Each normal against NumPy's log, sin and cos of the words of the very counter it is keyed by."""
    seed, step, n, d = 2**40 + 3, 2**33 + 5, 700, 4
    z = draw(seed, step, n, d)
    for particle, block in ((0, 0), (1, 1), (511, 0), (512, 1), (699, 1)):
        key = (seed & 0xFFFFFFFF, seed >> 32)
        counter = (particle, block, step & 0xFFFFFFFF, step >> 32)
        r0, r1, r2, r3 = (int(w) for w in noise.philox(*(np.uint64(v) for v in (*key, *counter))))
        radius = np.sqrt(-2 * np.log((float((r0 << 32) | r1) + 0.5) / 2.0**64))
        word = (r2 << 32) | r3
        signed = (word >> 11) - (2**53 if word >> 63 else 0)
        pair = radius * np.array([np.cos(np.pi / 4 * signed / 2.0**52), np.sin(np.pi / 4 * signed / 2.0**52)])
        pair = (pair[::-1] if word & 1 else pair) * (-1 if word & 2 else 1)
        assert np.allclose(z[particle, 2 * block : 2 * block + 2], pair, rtol=0, atol=5e-15)


def test_moments_of_the_normals():
    z = draw(3, 1, 200_000, 3)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        error = (np.mean(z**power, axis=0) - mean) / np.sqrt(variance / len(z))
        assert np.all(np.abs(error) < 4), (power, error)
    cross = np.corrcoef(np.hstack([z, z**2]).T) * np.sqrt(len(z))
    np.fill_diagonal(cross, 0)
    assert np.max(np.abs(cross)) < 4.5


@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_axis_is_normal(d):
    z = draw(11, 7, 100_000, d)
    assert min(stats.kstest(z[:, axis], "norm").pvalue for axis in range(d)) > 1e-3
    assert stats.kstest(z[:, 0] * 1.02, "norm").pvalue < 1e-3  # the test would see 2 %


def test_the_angle_is_uniform_on_the_circle_and_independent_of_the_radius():
    z = draw(5, 0, 100_000, 2)
    angle, radius = np.arctan2(z[:, 1], z[:, 0]), np.hypot(z[:, 0], z[:, 1])
    assert stats.kstest(angle / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3
    assert stats.kstest(np.exp(-(radius**2) / 2), "uniform").pvalue > 1e-3
    assert abs(stats.spearmanr(angle, radius).statistic) * np.sqrt(len(z)) < 4


@pytest.mark.parametrize("other", [(4, 10), (5, 9), (4 + 2**32, 9), (4, 9 + 2**32)])
def test_other_seeds_and_steps_are_independent(other):
    n = 100_000
    a, b = draw(4, 9, n, 2), draw(*other, n, 2)
    assert np.all(np.abs(a.T @ b) / np.sqrt(n) < 4)
    assert np.all(np.abs((a**2 - 1).T @ (b**2 - 1)) / np.sqrt(4 * n) < 4)


def test_neighbours_in_the_cloud_are_independent():
    z = draw(4, 9, 100_001, 2)
    assert np.all(np.abs(z[:-1].T @ z[1:]) / np.sqrt(len(z)) < 4)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_same_bits_on_one_and_two_threads():
    before = numba.get_num_threads()
    try:
        clouds = []
        for threads in (1, 2):
            numba.set_num_threads(threads)
            clouds.append(draw(1, 2, 50_001, 3))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(*clouds)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_first_particles_do_not_depend_on_how_many_follow(d):
    whole = draw(1, 2, 20_000, d)
    for k in (1, 7, 512, 513, 2048, 2049, 12_345):
        assert np.array_equal(whole[:k], draw(1, 2, k, d))


def test_a_share_of_the_cloud_can_be_filled_alone():
    whole, part = draw(1, 2, 9000, 2), np.empty((777, 2))
    noise.fill_normals(np.uint64(1), np.uint64(2), 5000, part)
    assert np.array_equal(whole[5000:5777], part)
    levels, some = noise.uniforms(1, 2, 1, np.empty(900)), np.empty(50)
    noise.fill_uniforms(np.uint64(1), np.uint64(2), np.uint64(1), 600, some)
    assert np.array_equal(levels[600:650], some)


def test_the_first_axes_do_not_depend_on_how_many_follow():
    assert np.array_equal(draw(1, 2, 5000, 5)[:, :3], draw(1, 2, 5000, 3))


def test_seeds_and_steps_of_64_bits():
    top = 2**64 - 1
    assert np.array_equal(draw(top, top, 10, 2), draw(-1, -1, 10, 2))
    assert not np.array_equal(draw(top, 0, 10, 2), draw(2**63 - 1, 0, 10, 2))


def test_uniforms():
    u = noise.uniforms(8, 3, 1, np.empty(200_000))
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(u**1.02, "uniform").pvalue < 1e-3
    v = noise.uniforms(8, 3, 2, np.empty(200_000))
    w = noise.uniforms(8, 4, 1, np.empty(200_000))
    z = draw(8, 3, 200_000, 2)
    for other in (v, w, u[::-1], z[:, 0], z[:, 1], z[:, 0] ** 2 + z[:, 1] ** 2):
        assert abs(stats.pearsonr(u, other).statistic) * np.sqrt(u.size) < 4


def test_uniforms_repeat_and_keep_their_prefix():
    assert np.array_equal(noise.uniforms(8, 3, 1, np.empty(100)), noise.uniforms(8, 3, 1, np.empty(1000))[:100])
