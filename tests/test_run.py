"""run: times, steps, frames, stop, diagnostics, max_steps, broken runs, noise, relaxation rates."""

import warnings

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import RunWarning, Status
from wflow.flows import ParticleFlow
from wflow.steppers import (
    STEPPERS,
    TRBDF2,
    BogackiShampine,
    ExplicitEuler,
    ImplicitEuler,
    Langevin,
    LineSearch,
    MiniBatch,
    ProximalGradient,
)

V = wf.Potential("x**2/2")
START = wf.Point([2.0])
EULER_MARUYAMA = Langevin(scheme="euler-maruyama")
KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
Q = wf.Density(wf.Grid(-5, 5, 40), wf.Gaussian([1.0], 0.5))


@pytest.mark.checklist("G1", "G9")
def test_steps_are_iterates_of_gradient_descent():
    result = wf.run(V, START, steps=5, dt=0.25, save="all")
    assert_array_equal(result.times, 0.25 * np.arange(6))
    assert_allclose([s.x[0] for s in result.states], 2 * 0.75 ** np.arange(6), rtol=1e-15)
    assert "ExplicitEuler" in result.info["stepper"]
    assert result.steps["dt"].tolist() == [0.25] * 5


@pytest.mark.parametrize("dt", [0.1, 0.3, 5.0])
def test_fixed_steps_end_at_t_end(dt):
    result = wf.run(V, START, t_end=1.0, dt=dt, stepper=ExplicitEuler(), save="all")
    assert result.times[-1] == 1.0
    assert_allclose(np.diff(result.times), result.steps["dt"], rtol=1e-12)
    assert len(result.times) == 1 + int(np.ceil(1 / dt - 1e-9))
    expected = 2 * np.prod(1 - result.steps["dt"])
    assert_allclose(result.final.x, expected, rtol=1e-13)


def test_dt_with_an_adaptive_stepper_fixes_its_step():
    result = wf.run(V, START, t_end=1.0, dt=0.125, stepper=BogackiShampine())
    assert_array_equal(result.steps["dt"], np.full(8, 0.125))


def test_defaults_by_state():
    assert "BogackiShampine" in wf.run(V, START, t_end=0.1).info["stepper"]
    assert "ExplicitEuler" in wf.run(V, START, steps=1, dt=0.1).info["stepper"]
    assert "BogackiShampine" in wf.run(V, wf.Particles([[1.0]]), t_end=0.1).info["stepper"]
    assert "BogackiShampine" in wf.run(KL, wf.Gaussian([1.0], 1.0), t_end=0.1).info["stepper"]
    assert wf.run(KL, Q, t_end=0.1).info["stepper_reason"] != "given"


@pytest.mark.parametrize(("F", "q"), [(V, START), (KL, Q)], ids=["point", "grid"])
@pytest.mark.parametrize("save", [2, 7, "ends", [0.1, 0.25, 0.7], np.cumsum([0.1] * 8)], ids=str)
def test_frames_are_exactly_at_the_times_asked_for(F, q, save):
    result = wf.run(F, q, t_end=0.8, save=save)
    expected = {"2": [0, 0.8], "7": np.linspace(0, 0.8, 7), "ends": [0, 0.8]}.get(str(save))
    if expected is None:  # the times asked for, and the two ends
        expected = [0, *(t for t in save if t < 0.8 - 1e-9), 0.8]
    assert_array_equal(result.times, expected)
    assert set(result.times[1:]) <= set(result.steps["time"])
    assert result.status is Status.COMPLETE


def test_frames_of_fixed_steps_are_on_steps():
    result = wf.run(V, START, steps=10, dt=0.1, save=[0.14, 0.5, 0.96])
    assert_allclose(result.times, [0, 0.1, 0.5, 1.0])
    assert_allclose([s.x[0] for s in result.states], 2 * 0.9 ** np.array([0, 1, 5, 10]), rtol=1e-14)
    assert len(wf.run(V, START, steps=3, dt=0.1, save=11).times) == 4


def test_save_all_holds_every_step():
    result = wf.run(KL, Q, t_end=0.3, save="all")
    assert_array_equal(result.times[1:], result.steps["time"])
    assert_allclose(result.diagnostics["energy"][1:], result.steps["energy"], rtol=1e-14)


def test_results_do_not_depend_on_where_the_frames_are_beyond_the_tolerance():
    ends = wf.run(KL, Q, t_end=0.5, save="ends", tol=1e-5, stepper=TRBDF2()).final.values
    many = wf.run(KL, Q, t_end=0.5, save=50, tol=1e-5, stepper=TRBDF2()).final.values
    assert np.abs(ends - many).sum() * Q.grid.volume < 2e-5


def test_stop_ends_early_at_a_step_and_keeps_it():
    result = wf.run(V, START, steps=50, dt=0.1, save="ends", stop=lambda t, s: s.x[0] < 1.0)
    assert result.status is Status.STOPPED
    assert result.final.x[0] < 1.0 <= result.final.x[0] / 0.9
    assert result.times[-1] == result.steps["time"][-1] == pytest.approx(0.7)


def test_diagnostics_are_measured_at_the_frames():
    seen = {"double": lambda t, s: 2 * s.x[0], "mean": lambda t, s: t}
    result = wf.run(V, START, t_end=1.0, save=5, diagnostics=seen)
    assert_array_equal(result.diagnostics["double"], [2 * s.x[0] for s in result.states])
    assert_array_equal(result.diagnostics["mean"], result.times)
    assert {"energy", "dissipation"} <= set(result.diagnostics)


def test_max_steps_stops_with_a_status_and_one_warning():
    with pytest.warns(RunWarning, match="max_steps") as caught:
        result = wf.run(V, START, steps=50, dt=0.1, max_steps=3, save="ends")
    assert len(caught) == 1
    assert result.status is Status.MAX_STEPS
    assert result.times.tolist() == pytest.approx([0, 0.3])
    assert wf.run(V, START, steps=3, dt=0.1, max_steps=3).status is Status.COMPLETE


@pytest.mark.parametrize("to_file", [False, True])
def test_a_broken_run_keeps_its_frames_and_warns_once(tmp_path, to_file):
    """P20: gradient descent on PBDL with 0.056 > 1/18 overflows."""
    out = tmp_path / "broken.h5" if to_file else None
    with pytest.warns(RunWarning) as caught:
        result = wf.run(wf.Potential("x**2 + y**4"), wf.Point([3, 3]), dt=0.056, steps=50, save="all", out=out)
    assert len(caught) == 1
    assert result.status is Status.NOT_FINITE
    assert 3 < len(result.times) < 50
    assert all(np.all(np.isfinite(s.x)) for s in result.states)
    assert_allclose(result.states[1].x, [3 * (1 - 0.112), 3 - 0.056 * 108], rtol=1e-14)
    if to_file:
        assert wf.load(out).status is Status.NOT_FINITE


def test_an_explicit_step_beyond_stability_is_reported_as_negative():
    with pytest.warns(RunWarning, match="negative"):
        result = wf.run(KL, Q, dt=0.1, steps=20, stepper=ExplicitEuler(), save="all")
    assert result.status is Status.NEGATIVE
    assert min(s.values.min() for s in result.states) >= 0


def test_a_singular_flow_ends_with_step_underflow():
    """x' = x² from 1 reaches infinity at t = 1."""
    with pytest.warns(RunWarning):
        result = wf.run(None, wf.Point([1.0]), t_end=2.0, drift="x**2", save="all")
    assert not result.status.good
    assert_allclose(result.times[-1], 1.0, atol=1e-2)


@pytest.mark.parametrize("to_file", [False, True])
def test_an_interrupt_keeps_what_there_is(tmp_path, to_file):
    def impatient(t, s):
        if t > 0.35:
            raise KeyboardInterrupt
        return False

    out = tmp_path / "a.h5" if to_file else None
    with pytest.warns(RunWarning, match="interrupted"):
        result = wf.run(V, START, steps=10, dt=0.1, save="all", stop=impatient, out=out)
    assert result.status is Status.INTERRUPTED
    assert len(result.times) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"F": V, "q": START, "steps": 6, "dt": 0.1},
        {"F": V, "q": START, "t_end": 1.0},
        {"F": KL, "q": Q, "t_end": 0.2},
        {"F": KL, "q": Q, "t_end": 0.2, "dt": 0.07, "stepper": ImplicitEuler()},
        {
            "F": KL,
            "q": wf.Particles(np.linspace(-1, 2, 20)[:, None]),
            "dt": 0.1,
            "steps": 4,
            "stepper": Langevin(),
            "rng": 5,
        },
        {"F": V, "q": START, "steps": 9, "dt": 0.1, "stop": lambda t, s: t > 0.45},
        {"F": V, "q": START, "t_end": 1.0, "max_steps": 2},
        {"F": V, "q": START, "steps": 2, "dt": 0.1, "out": None, "resume": False, "progress": False},
    ],
    ids=["steps", "t_end", "grid", "fixed", "langevin", "stop", "max_steps", "no file"],
)
def test_iterate_goes_the_same_way_as_run(arguments):
    rest = dict(arguments)
    F, q = rest.pop("F"), rest.pop("q")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)
        result = wf.run(F, q, save="all", **rest)
        pairs = list(wf.iterate(F, q, **rest))
    assert [t for t, _ in pairs] == result.times.tolist()
    for (_, a), b in zip(pairs, result.states, strict=True):
        assert_array_equal(a.coordinates, b.coordinates)


@pytest.mark.checklist("G22")
def test_noise_has_the_same_bits_on_one_thread_and_on_two():
    cloud = wf.Particles(np.random.default_rng(0).standard_normal((5000, 2)))
    F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0))
    found = []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        found.append(wf.run(F, cloud, dt=0.05, steps=10, stepper=Langevin(), rng=3, save="ends").final.positions)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert_array_equal(found[0], found[1])
    other = wf.run(F, cloud, dt=0.05, steps=10, stepper=Langevin(), rng=4, save="ends").final.positions
    assert np.abs(other - found[0]).max() > 0.1


def test_seed_is_recorded_and_repeats_the_run():
    cloud, F = wf.Particles(np.zeros((50, 1))), wf.Entropy() + V
    first = wf.run(F, cloud, dt=0.1, steps=3, stepper=Langevin(), rng=np.random.default_rng(9))
    again = wf.run(F, cloud, dt=0.1, steps=3, stepper=Langevin(), rng=first.info["seed"])
    assert_array_equal(first.final.positions, again.final.positions)


def test_langevin_starts_from_a_dirac_whose_entropy_is_infinite():
    result = wf.run(wf.Entropy() + V, wf.Particles(np.zeros((4000, 1))), dt=0.02, t_end=1.0, stepper=Langevin())
    assert result.diagnostics["energy"][0] == np.inf
    assert np.all(np.isfinite(result.diagnostics["energy"][1:]))
    assert_allclose(result.final.cov[0, 0], 1 - np.exp(-2), rtol=0.1)


def test_reflected_particles_stay_in_their_domain():
    domain = wf.Grid([0, 0], [1, 2], 2, ["no-flux", "periodic"])
    cloud = wf.Particles(np.full((500, 2), 0.4), domain=domain)
    result = wf.run(wf.Entropy(), cloud, dt=0.05, steps=40, stepper=Langevin(), estimator=0.1)
    assert np.all(domain.contains(result.final.positions))
    assert_allclose(result.final.mean, [0.5, 1.0], atol=0.1)
    assert_allclose(result.final.cov.diagonal(), [1 / 12, 4 / 12], rtol=0.15)


def test_every_stepper_says_what_it_counts():
    for stepper in STEPPERS:
        F, q = (wf.Entropy() + V, Q) if stepper.order is not None else (wf.Entropy() + V, wf.Particles([[1.0], [2.0]]))
        F = V if stepper is LineSearch else F  # it needs an energy that the flow of a cloud descends exactly
        if stepper in (ProximalGradient, MiniBatch):
            F, q = wf.Potential(wf.FiniteSum(lambda x, a: (x[0] - a) ** 2, [1.0, 2.0])), wf.Point([1.0])
        result = wf.run(F, q, dt=1e-4, steps=2, stepper=stepper())
        assert set(stepper().counters) <= set(result.steps)
        assert {"time", "dt", "rejections"} <= set(result.steps)
        assert all(len(series) == 2 for series in result.steps.values())


def test_a_frame_is_kept_where_its_energy_is_not_defined(monkeypatch):
    """As for a cloud that has flown so far apart that no density can be estimated."""
    exact = ParticleFlow.energy

    def energy(self, time, state):
        if time > 0.5:
            raise wf.InputError("no density here")
        return exact(self, time, state)

    monkeypatch.setattr(ParticleFlow, "energy", energy)
    cloud = wf.Particles(np.linspace(-1.0, 1.0, 9)[:, None])
    F = wf.Entropy() + wf.Potential("x**2")
    result = wf.run(F, cloud, dt=0.25, steps=4, stepper=wf.steppers.Heun(), save="all")
    assert len(result.states) == 5
    assert np.isfinite(result.diagnostics["energy"][:3]).all()
    assert np.isnan(result.diagnostics["energy"][-1])
