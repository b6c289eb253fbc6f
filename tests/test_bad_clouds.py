"""Bad input of clouds, each through `wf.run`: refused before any work, or a status with the frames so far."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

import wflow as wf
from wflow.errors import Status
from wflow.steppers import MALA, ExplicitEuler, Langevin, UnderdampedLangevin

KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
LINE = np.linspace(-1.0, 1.0, 50)[:, None]
ONE, COINCIDENT = np.array([[1.0]]), np.ones((20, 1))
SAMPLERS = (Langevin(), MALA(2), UnderdampedLangevin())
NO_RULE = (
    "score", "isj", "likelihood", wf.estimators.Laplace(), wf.estimators.GaussianFit(), wf.estimators.Stein(),
    wf.estimators.Spectral(),
)  # fmt: skip


def followed(functional, positions, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return wf.run(functional, wf.Particles(positions), **{"t_end": 0.1, **options})


@pytest.mark.parametrize("positions", [ONE, COINCIDENT], ids=["one", "coincident"])
@pytest.mark.parametrize("estimator", NO_RULE, ids=lambda e: e if isinstance(e, str) else type(e).__name__)
def test_no_estimator_makes_up_a_width_where_there_is_none(positions, estimator):
    with pytest.raises(wf.InputError, match=r"two samples|2 to 5000|coincide|singular|median distance"):
        followed(KL, positions, estimator=estimator)


@pytest.mark.parametrize("positions", [ONE, COINCIDENT], ids=["one", "coincident"])
def test_one_particle_and_coincident_ones_are_served_where_they_can_be(positions):
    """With a width in numbers, by a blob, under pair forces, by noise: particles at one place feel no force of each
    other, however pointed."""
    for functional in (KL, wf.PowerEntropy(2)):
        assert followed(functional, positions, estimator=0.5).status is Status.COMPLETE
    for functional in (wf.Blob(wf.Entropy(), 0.3), *map(wf.Interaction, ("x**2/2", "abs(x)", "log(abs(x))"))):
        result = followed(functional, positions)
        assert result.status is Status.COMPLETE
        np.testing.assert_array_equal(result.final.positions, positions)
    for stepper in SAMPLERS:
        final = followed(KL, positions, dt=0.1, steps=5, t_end=None, stepper=stepper).final
        assert np.all(np.isfinite(final.positions))
        assert len(np.unique(final.positions)) == len(positions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wf.Particles(LINE, np.where(LINE[:, 0] > 0, 1.0, -1.0)), "negative"),
        (lambda: wf.Particles(LINE, np.zeros(50)), "all be zero"),
        (lambda: wf.Particles(LINE, np.full(50, np.nan)), "finite"),
        (lambda: wf.Particles(LINE, np.ones(49)), "shape"),
        (lambda: wf.Particles(3.0 * LINE, domain=wf.Grid(-1, 1, 4)), "outside the domain"),
        (lambda: wf.Particles(LINE, domain=wf.Grid([-1, -1], [1, 1], 4)), "dimension"),
        (lambda: wf.Particles(LINE, domain=wf.Grid(-1, 1, 4, "absorbing")), "absorbing"),
        (lambda: wf.Particles(np.where(LINE > 0.9, np.nan, LINE)), "finite"),
    ],
)
def test_clouds_that_are_none(make, message):
    with pytest.raises(wf.InputError, match=message):
        wf.run(KL, make(), t_end=0.1, estimator=0.5)


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf, 1e300, 1e-300])
def test_widths_that_are_none(width):
    with pytest.raises(wf.InputError, match="a bandwidth"):
        followed(KL, LINE, estimator=width)
    with pytest.raises(wf.InputError, match="a bandwidth"):
        followed(wf.Blob(wf.Entropy(), width), LINE)


def test_huge_widths_feel_nothing_and_say_so_for_a_blob():
    result = followed(wf.Entropy(), LINE, estimator=1e9)
    np.testing.assert_allclose(result.final.positions, LINE, atol=1e-15)
    with pytest.raises(wf.InputError, match="huge against a cloud of extent 2"):
        followed(wf.Blob(wf.Entropy(), 1e9), LINE)


@pytest.mark.parametrize("stepper", [None, ExplicitEuler(), Langevin(), UnderdampedLangevin()])
@pytest.mark.parametrize(
    ("drift", "frames"),
    [(["log(-1 - x**2)"], 1), (["exp(1000*(1 + x**2))"], 1), (lambda x: np.nan * x, 1), (["sqrt(0.05 - t)"], 5)],
)
def test_a_drift_that_is_not_finite_ends_the_run_with_its_frames(stepper, drift, frames):
    options = {"t_end": 0.1} if stepper is None else {"dt": 0.01, "steps": 10, "stepper": stepper}
    with pytest.warns(wf.RunWarning) as record:
        result = wf.run(KL, wf.Particles(LINE), drift=drift, estimator=0.5, **options)
    assert len(record) == 1
    assert not result.status.good
    assert frames <= len(result.times) <= frames + 2
    assert all(np.all(np.isfinite(state.positions)) for state in result.states)


def test_mala_says_where_it_has_no_density_and_where_it_is_not_tuned():
    nowhere = wf.Entropy() + wf.Potential("log(x - 0.5)")
    with pytest.raises(wf.InputError, match="not a number at 37 of 50 particles, the first of them number 0"):
        followed(nowhere, LINE, dt=0.1, steps=5, t_end=None, stepper=MALA(2))
    for steps, warmup, told in ((5, 100, True), (5, 5, True), (6, 5, False), (5, 0, False)):
        result = followed(KL, LINE, dt=0.1, steps=steps, t_end=None, stepper=MALA(warmup))
        assert ("warm-up" in result.info["stepper_reason"]) == told
        late = result.steps["proposal_dt"][warmup:]
        assert np.allclose(late, late[0], rtol=1e-13, atol=0) if len(late) else told


@pytest.mark.parametrize("bandwidth", [1e-3, 1e-5, 1e-9])
def test_particles_that_feel_no_other_rest_at_no_cost(bandwidth):
    """Their velocity is zero and so is its Jacobian, at any bandwidth: a stiffness of 1/bandwidth² would not end."""
    cloud = wf.Particles(np.random.default_rng(0).standard_normal((50, 2)))
    result = wf.run(wf.Blob(wf.Entropy(), bandwidth), cloud, t_end=0.1)
    assert result.status is Status.COMPLETE
    assert len(result.steps["dt"]) < 50
    assert_allclose(result.final.positions, cloud.positions, rtol=0, atol=1e-9)
