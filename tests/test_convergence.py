"""Observed orders: planted ones are found, what is not asymptotic is said, files and pictures of a study."""

import numpy as np
import pytest

import wflow as wf
from wflow.orders import convergence
from wflow.store import Reader, verify

STEPS = [0.2, 0.1, 0.05, 0.025]
GRIDS = [16, 32, 64, 128]
SHIFT = np.array([0.3, 0.4])


def wave(x):
    return 1.0 + 0.5 * np.sin(2.0 * np.pi * x[:, 0])


def planted(order, cells):
    """The exact density plus an error of size cells^-order, on a grid."""
    grid = wf.Grid(0.0, 1.0, cells)
    x = grid.centers[0]
    return wf.Density(grid, wave(grid.points()) + 0.4 * cells**-order * np.cos(4.0 * np.pi * x), normalize=False)


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_planted_order_of_a_number(order):
    study = convergence(lambda h: 2.0 + 3.0 * h**order, STEPS, reference=2.0)
    fit = study.fits["linf"]
    assert fit.order == pytest.approx(order, abs=1e-9)
    assert fit.constant == pytest.approx(3.0, rel=1e-9)
    assert fit.band[0] <= order + 1e-9
    assert fit.band[1] >= order - 1e-9
    assert fit.band[1] - fit.band[0] < 1e-6
    assert fit.scatter < 1e-9
    assert study.asymptotic
    np.testing.assert_allclose(study.errors["linf"][0], 3.0 * np.array(STEPS) ** order, rtol=1e-9)


@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.parametrize("sizes", [STEPS, [0.2, 0.13, 0.07, 0.05, 0.02]], ids=["halved", "uneven"])
def test_richardson_finds_order_and_error_without_a_solution(order, sizes):
    study = convergence(lambda h: np.array([1.0, 5.0]) + np.array([3.0, 1.0]) * h**order, sizes)
    assert study.fits["linf"].order == pytest.approx(order, abs=1e-6)
    np.testing.assert_allclose(study.errors["linf"][0], 3.0 * np.array(sizes[:-1]) ** order, rtol=1e-5)
    assert not study.reference
    assert len(study.rows) == len(sizes) - 1


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_planted_order_of_densities_in_every_norm(order):
    exact = lambda cells: wf.Density(wf.Grid(0.0, 1.0, cells), wave, normalize=False)  # noqa: E731
    study = convergence(lambda cells: planted(order, cells), GRIDS, reference=exact)
    assert list(study.fits) == ["l1", "l2", "linf", "w2"]
    for norm in ("l1", "l2", "linf"):
        assert study.fits[norm].order == pytest.approx(order, abs=0.05), norm
    assert study.fits["w2"].order == pytest.approx(order, abs=0.1)
    # The mean of |cos| is 2/π, its root mean square 1/√2.
    assert study.rows[-1]["l1"] == pytest.approx(0.4 * 128**-order * 2.0 / np.pi, rel=1e-3)
    assert study.rows[-1]["l2"] == pytest.approx(0.4 * 128**-order / 2**0.5, rel=1e-3)


def test_densities_on_nested_grids_without_reference():
    study = convergence(lambda cells: planted(1.0, cells), GRIDS, norms=["l1"])
    assert list(study.fits) == ["l1"]
    assert study.fits["l1"].order == pytest.approx(1.0, abs=0.1)


def test_a_flow_in_time_has_the_order_of_its_stepper():
    def solve(h):
        return wf.run(
            wf.Potential("x**2 / 2"), wf.Point([1.0]), t_end=1.0, dt=h, stepper=wf.steppers.Heun(), save="ends"
        )

    study = convergence(solve, [0.1, 0.05, 0.025], reference=wf.Point([np.exp(-1.0)]))
    assert study.fits["w2"].order == pytest.approx(2.0, abs=0.1)


def test_clouds_are_compared_particle_by_particle():
    x = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    study = convergence(lambda h: wf.Particles(x + h * SHIFT), STEPS, reference=wf.Particles(x))
    for norm in ("l1", "l2", "linf", "w2"):
        np.testing.assert_allclose(study.errors[norm][0], 0.5 * np.array(STEPS), rtol=1e-9)


def noisy(n, seed):
    return float(np.random.default_rng([seed, n]).normal(size=n).mean())


def test_seeds_give_the_order_of_monte_carlo_within_its_band():
    study = convergence(noisy, [100, 400, 1600, 6400], reference=0.0, seeds=40)
    fit = study.fits["linf"]
    assert study.errors["linf"].shape == (40, 4)
    assert fit.band[0] < 0.5 < fit.band[1]
    assert 0.05 < fit.band[1] - fit.band[0] < 0.5
    assert study.asymptotic
    spread = study.rows[0]["linf_spread"]
    # |N(0, 1)|/10 has standard deviation √(1 - 2/π)/10.
    assert spread == pytest.approx((1 - 2 / np.pi) ** 0.5 / 10 / 40**0.5, rel=0.3)


@pytest.mark.parametrize(
    ("solve", "word"),
    [
        (lambda h: h + 10.0 * h**2, "still moves"),
        (lambda h: 1e-3 + h**4, "still moves|do not fall"),
        (lambda h: 1.0 / h, "do not fall"),
        (lambda h: 3e-14 * h, "rounding"),
    ],
    ids=["two orders", "a floor", "growing", "rounding"],
)
def test_what_is_not_asymptotic_is_said(solve, word):
    study = convergence(lambda h: 1.0 + solve(h), STEPS, reference=1.0)
    assert not study.asymptotic
    with pytest.raises(AssertionError, match="NOT ASYMPTOTIC"):
        raise AssertionError(str(study))
    assert any(part in study.fits["linf"].doubt for part in word.split("|"))


def test_two_sizes_give_an_order_and_a_doubt():
    study = convergence(lambda h: h, [0.2, 0.1], reference=0.0)
    assert study.fits["linf"].order == pytest.approx(1.0)
    assert np.isnan(study.fits["linf"].band[0])
    assert "fewer than three" in study.fits["linf"].doubt


def test_sizes_are_counts_or_steps():
    assert convergence(lambda n: 1.0 / n, [10, 20, 40], 0.0).fits["linf"].order == pytest.approx(1.0)
    assert convergence(lambda n: float(n), [1, 2, 4], 0.0, sizes_are="steps").fits["linf"].order == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sizes": [0.1]}, "two or more"),
        ({"sizes": [0.1, 0.1]}, "two or more different"),
        ({"sizes": [0.2, -0.1]}, "positive"),
        ({"sizes": STEPS, "norms": ["l3"]}, "norm"),
        ({"sizes": STEPS, "sizes_are": "step"}, "did you mean 'steps'"),
        ({"sizes": STEPS, "seeds": 0}, "seeds"),
        ({"sizes": STEPS, "reference": np.zeros(3)}, "shape"),
    ],
)
def test_bad_input_is_refused(arguments, text):
    with pytest.raises(wf.InputError, match=text):
        convergence(**({"solve": lambda h, *_: h, "reference": 0.0} | arguments))


def test_study_as_text_file_and_picture(tmp_path):
    study = convergence(lambda h: 3.0 * h**2, STEPS, reference=0.0)
    assert "order 2.000" in str(study)
    assert len(str(study).splitlines()) == 7
    path = study.save(tmp_path / "study.h5")
    assert verify(path) == []
    with Reader(path) as file:
        np.testing.assert_array_equal(file.static("error_linf"), study.errors["linf"])
        assert file.attributes["fit_linf"][0] == study.fits["linf"].order
        assert file.attributes["status"] == "complete"
    assert len(study.plot(tmp_path / "study.png").axes) == 1
    assert (tmp_path / "study.png").stat().st_size > 5000
