"""Stochastic steppers as a user meets them: files, acceptance, runs that break, bad input."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import Status
from wflow.kernels import noise as normals
from wflow.steppers import MALA, SAMPLERS, Langevin, UnderdampedLangevin

EULER = Langevin("euler-maruyama")
TILTED = wf.Entropy() + wf.Potential("(x**2 - 1)**2 + 3*y**2 + x/4")


def cloud(n, dim=2):
    return wf.Particles(0.4 * np.random.default_rng(0).normal(size=(n, dim)).clip(-2, 2))


def xi(seed, step, shape):
    return normals.normals(seed, step, np.empty(shape))


def test_velocities_stand_in_the_frames(tmp_path):
    state = cloud(500)
    inside = wf.run(TILTED, state, dt=0.05, steps=8, stepper=UnderdampedLangevin(), save=5)
    velocity = inside.extras["velocity"]
    assert len(velocity) == 5
    assert velocity[0].shape == (500, 2)
    assert_array_equal(velocity[0], xi(0, 2**64 - 1, (500, 2)))
    on_disk = wf.run(TILTED, state, dt=0.05, steps=8, stepper=UnderdampedLangevin(), save=5, out=tmp_path / "a.h5")
    for result in (on_disk, wf.load(tmp_path / "a.h5"), wf.load(inside.save(tmp_path / "b.h5"))):
        assert len(result.extras["velocity"][1:]) == 4
        assert_array_equal(result.extras["velocity"][-1], velocity[-1])
        assert result.extras.keys() == {"velocity"}
    assert wf.load(tmp_path / "b.h5") == inside
    data = on_disk.to_xarray()["velocity"]
    assert data.dims == ("time", "particle", "axis")
    assert_array_equal(data.values, np.stack(list(velocity)))
    assert wf.run(TILTED, state, dt=0.05, steps=2, stepper=Langevin()).extras == {}
    with pytest.raises(IndexError):
        on_disk.extras["velocity"][5]


def test_acceptance_is_reported_and_the_step_tuned():
    F = wf.FDivergence("reverse-kl", wf.Gaussian(np.zeros(20), 1.0))
    state = wf.Particles(np.random.default_rng(0).normal(size=(2000, 20)))
    for dt in (1e-4, 3.0):
        result = wf.run(F, state, dt=dt, steps=200, stepper=MALA(warmup=150))
        late = slice(150, None)
        assert_allclose(result.steps["acceptance"][late].mean(), 0.574, atol=0.01)
        assert np.ptp(result.steps["proposal_dt"][late]) == 0.0
    fixed = wf.run(F, state, dt=0.2, steps=20, stepper=MALA(warmup=0))
    assert_allclose(fixed.steps["proposal_dt"], 0.2, rtol=1e-14)


def test_a_step_too_long_ends_with_a_status_and_the_frames():
    F, state = wf.Entropy() + wf.Potential("x**4"), wf.Particles([[1.0], [30.0]])
    for stepper in (Langevin(), EULER, UnderdampedLangevin()):
        with pytest.warns(wf.RunWarning, match="not finite") as record:
            result = wf.run(F, state, dt=1.0, steps=50, stepper=stepper, save="all")
        assert len(record) == 1
        assert result.status is Status.NOT_FINITE
        assert len(result.times) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = wf.run(wf.Entropy() + wf.Potential("x**40"), state, dt=1e9, steps=5, stepper=MALA())
    assert result.status is Status.COMPLETE
    assert np.all(np.isfinite(result.final.positions))


def test_functions_are_named_in_the_files():
    def cooling(t):
        return 1.0 / (1.0 + t)

    assert repr(Langevin(temperature=cooling)).endswith("cooling)")
    assert repr(MALA(temperature="1+t")) == "MALA(warmup=100, temperature='1+t')"
    assert repr(UnderdampedLangevin(2)) == "UnderdampedLangevin(friction=2.0, temperature=None)"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Langevin("leimkuhler"), "leimkuhler-matthews"),
        (lambda: Langevin(temperature=2.0), "temperature"),
        (lambda: Langevin(temperature="x"), "t alone"),
        (lambda: MALA(warmup=-1), "warmup"),
        (lambda: MALA(warmup=1.5), "warmup"),
        (lambda: UnderdampedLangevin(-1.0), "friction"),
        (lambda: UnderdampedLangevin(np.nan), "friction"),
    ],
)
def test_bad_arguments_are_refused(make, match):
    with pytest.raises(wf.InputError, match=match):
        make()


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s.__name__)
def test_bad_flows_are_refused(sampler):
    for functional, state in (
        (wf.FDivergence("kl", wf.Gaussian(0.0, 1.0)), cloud(5, 1)),
        (TILTED, wf.Gaussian([0.0, 0.0], 1.0)),
        (wf.Potential("x**2"), wf.Point([1.0])),
    ):
        with pytest.raises(wf.InputError):
            wf.run(functional, state, dt=0.1, steps=2, stepper=sampler())
    with pytest.raises(wf.InputError, match="negative"):
        wf.run(TILTED, cloud(5), dt=0.1, steps=2, stepper=sampler(temperature=lambda t: -1.0))
    with pytest.raises(wf.InputError, match="dt"):
        wf.run(TILTED, cloud(5), t_end=1.0, stepper=sampler())


def test_mala_needs_an_invariant_density():
    for functional in (wf.Entropy() + wf.Interaction("x**2"), wf.Potential("x**2")):
        with pytest.raises(wf.InputError):
            wf.run(functional, cloud(5, 1), dt=0.1, steps=2, stepper=MALA())
    with pytest.raises(wf.InputError):
        wf.run(wf.Entropy() + wf.Potential("x**2"), cloud(5, 1), dt=0.1, steps=2, stepper=MALA(), drift="-x")
