"""Invariant laws and weak orders of the stochastic steppers, each with a negative control.

Particles are independent, so a mean over n of them has a standard error that is known: a law is accepted within four of
them, and a wrong one must lie outside of them by far.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import wflow as wf
from wflow.flows import make_flow
from wflow.loop.standing import CounterNoise
from wflow.steppers import MALA, Langevin, UnderdampedLangevin

EULER = Langevin("euler-maruyama")
QUARTIC = "x**4/4 - x**2/4 + x/5"
NAMES = {"leimkuhler-matthews": Langevin(), "euler-maruyama": EULER, "underdamped": UnderdampedLangevin(2.0)}


def ended(stepper, V, h, steps, n=60_000, temperature=1.0, domain=None, start=None):
    """Positions (n, d) after some steps of size h, from a standard normal, a point or given positions."""
    x = (
        np.random.default_rng(1).normal(size=(n, 1))
        if start is None
        else np.broadcast_to(start, (n, np.shape(start)[-1]))
    )
    F = temperature * wf.Entropy() + wf.Potential(V) if isinstance(V, str) else V
    state = wf.Particles(x, domain=domain)
    flow, memory = make_flow(F, state), {}
    for k in range(steps):
        taken = stepper.step(flow, k * h, state, h, memory, CounterNoise(5, k))
        state, memory = taken.state, taken.memory
    return state.positions, memory


def scores(values, exact):
    """By how many standard errors the mean of values (n,) misses."""
    return (values.mean() - exact) / (values.std() / np.sqrt(len(values)))


def moment(V, power, temperature=1.0, lower=-6.0, upper=6.0):
    """E x^power under exp(-V/temperature) in one dimension, by the trapezoidal rule."""
    x = np.linspace(lower, upper, 20_001)
    p = np.exp(-eval(V, {"x": x, "cos": np.cos}) / temperature)
    p[[0, -1]] *= 0.5
    return float((x**power * p).sum() / p.sum())


@pytest.mark.checklist("G22")
@pytest.mark.parametrize(("k", "h"), [(1.0, 0.1), (1.0, 0.5), (1.0, 1.0), (2.0, 0.5)])
def test_stationary_variance_on_a_quadratic(k, h):
    biased, exact = 1 / (k * (1 - h * k / 2)), 1 / k
    for name, stepper in NAMES.items():
        x, _ = ended(stepper, f"{k}*x**2/2", h, 60 if h >= 0.5 else 150, n=200_000)
        true, wrong = (biased, exact) if name == "euler-maruyama" else (exact, biased)
        assert abs(scores(x[:, 0] ** 2, true)) < 4, name
        assert abs(scores(x[:, 0] ** 2, wrong)) > 8, name


def drawn(V, n, temperature=1.0):
    """n draws (n, 1) of exp(-V/temperature) by its inverted distribution function."""
    x = np.linspace(-6.0, 6.0, 200_001)
    below = np.cumsum(np.exp(-eval(V, {"x": x}) / temperature))
    return np.interp((np.arange(n) + 0.5) / n, below / below[-1], x)[np.random.default_rng(2).permutation(n), None]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_mala_is_exact_and_a_wrong_target_is_rejected(temperature):
    """Started from the law it stays there, at a step where others are far off; started elsewhere it gets there."""
    n, far = 100_000, {}
    right, wrong = QUARTIC, "x**4/4 - x**2/5 + x/5"
    start = drawn(right, n, temperature)
    for name, stepper, V, h in (
        ("mala", MALA(0), right, 0.7),
        ("wrong", MALA(0), wrong, 0.7),
        ("plain", EULER, right, 0.1),
    ):
        x, _ = ended(stepper, V, h, 60, n, temperature, start=start)
        far[name] = [abs(scores(x[:, 0] ** p, moment(right, p, temperature))) for p in (1, 2, 3, 4)]
    assert max(far["mala"]) < 4
    assert max(far["wrong"]) > 6
    assert max(far["plain"]) > 6
    assert not np.array_equal(start, x)


def test_mala_passes_a_test_of_its_whole_law():
    x, memory = ended(MALA(), "x**2/2", 1.0, 150, n=50_000)
    assert memory["steps"] == 150
    assert stats.kstest(x[:, 0], "norm").pvalue > 1e-3
    x, _ = ended(MALA(), "x**2/2.3", 1.0, 150, n=50_000)
    assert stats.kstest(x[:, 0], "norm").pvalue < 1e-6


@pytest.fixture(scope="module")
def experiment():
    """experiments/langevin.py, which knows the invariant laws of the schemes without sampling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parent.parent / "experiments")
        yield importlib.import_module("langevin")


@pytest.mark.parametrize(
    ("name", "declared", "sizes"),
    [
        ("euler-maruyama", 1, (0.04, 0.02, 0.01)),
        ("leimkuhler-matthews", 2, (0.04, 0.02, 0.01)),
        ("underdamped", 2, (0.2, 0.1)),
    ],
)
def test_the_bias_on_a_quartic_has_its_order(experiment, name, declared, sizes):
    V = "x**4/4"
    biases = [experiment.law_of(NAMES[name], V, h) - moment(V, 2) for h in sizes]
    slope = np.polyfit(np.log(sizes), np.log(np.abs(biases)), 1)[0]
    assert abs(slope - declared) < 0.1


def test_a_run_has_the_bias_of_the_invariant_law(experiment):
    """Sampled, against the law without sampling."""
    V = "x**4/4"
    x, _ = ended(Langevin(), V, 0.15, 60, n=1_000_000, start=drawn(V, 1_000_000))
    assert abs(scores(x[:, 0] ** 2, experiment.law_of(Langevin(), V, 0.15))) < 4
    x, _ = ended(EULER, V, 0.1, 60, n=200_000, start=drawn(V, 200_000))
    assert abs(scores(x[:, 0] ** 2, experiment.law_of(EULER, V, 0.1))) < 4
    assert abs(scores(x[:, 0] ** 2, moment(V, 2))) > 6


@pytest.mark.parametrize("gamma", [0.5, 5.0])
def test_underdamped_law_of_velocity_and_position(gamma):
    T, n = 0.6, 200_000
    x, memory = ended(UnderdampedLangevin(gamma), "2*x**2", 0.4, 80, n, T)
    v = memory["velocity"]
    assert abs(scores(x[:, 0] ** 2, T / 4)) < 4
    assert abs(scores(x[:, 0] * v[:, 0], 0.0)) < 4
    # The velocity's variance has an error of order h², T (1 - h² k/4) on a quadratic.
    assert abs(scores(v[:, 0] ** 2, T * (1 - 0.4**2 * 4 / 4))) < 4
    assert abs(scores(v[:, 0] ** 2, T)) > 8


@pytest.mark.parametrize(
    "stepper", [Langevin(), EULER, MALA(warmup=10), UnderdampedLangevin()], ids=lambda s: repr(s)[:9]
)
def test_reflecting_walls_keep_the_uniform_law(stepper):
    """Steps of a third of the box: whatever is wrong at the walls is in the whole box."""
    box = wf.Grid([-1.0, 0.0], [1.0, 0.7], 4)
    F = wf.Entropy() + wf.Potential("0*x")
    x, _ = ended(stepper, F, 0.08, 60, n=100_000, domain=box, start=(0.9, 0.1))
    for axis, (low, length) in enumerate(((-1.0, 2.0), (0.0, 0.7))):
        z = (x[:, axis] - low) / length
        assert stats.kstest(z, "uniform").pvalue > 1e-3
    counts = np.histogram2d(x[:, 0], x[:, 1], bins=6, range=[[-1, 1], [0, 0.7]])[0].ravel()
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("stepper", [Langevin(), MALA(warmup=10), UnderdampedLangevin()], ids=lambda s: repr(s)[:9])
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_walls_with_a_potential(stepper, boundary):
    V, h = ("x", 0.01) if boundary == "no-flux" else ("cos(x)", 0.05)
    upper = 1.0 if boundary == "no-flux" else 2 * np.pi
    box = wf.Grid(0.0, upper, 4, boundary)
    x, _ = ended(stepper, V, h, 400, n=30_000, domain=box, start=(0.3,))
    assert abs(scores(x[:, 0], moment(V, 1, lower=0.0, upper=upper))) < 4
    assert abs(scores(x[:, 0] ** 2, moment(V, 2, lower=0.0, upper=upper))) < 4
    wrong = moment(f"1.15*{V}", 2, lower=0.0, upper=upper)
    assert abs(scores(x[:, 0] ** 2, wrong)) > 3 or boundary == "periodic"


def test_mala_folds_at_steep_walls_without_error():
    """Proposals of half the box under a steep potential: the way back must be taken with a mirrored drift."""
    V, box = "5*x", wf.Grid(0.0, 1.0, 4)
    x, _ = ended(MALA(0), V, 0.1, 40, n=200_000, domain=box, start=(0.3,))
    for power in (1, 2):
        assert abs(scores(x[:, 0] ** power, moment(V, power, lower=0.0, upper=1.0))) < 4


@pytest.mark.checklist("G22")
@pytest.mark.parametrize(("name", "declared"), [("euler-maruyama", 1), ("leimkuhler-matthews", 1), ("underdamped", 2)])
def test_weak_order(name, declared):
    """The mean of an Ornstein–Uhlenbeck process from x = 30 at t = 2, against its equation."""
    errors, sizes = [], (0.4, 0.2, 0.1)
    for h in sizes:
        x, _ = ended(NAMES[name], "x**2/2", h, round(2 / h), n=200_000, start=(30.0,))
        errors.append(abs(x.mean() - 30 * mean_at(name, 2.0)))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope - declared) < 0.1


def mean_at(name, t):
    """E x(t) / x(0); underdamped with friction 2 is critically damped."""
    return (1 + t) * np.exp(-t) if name == "underdamped" else np.exp(-t)


def test_annealing_ends_at_the_last_temperature():
    x, _ = ended(Langevin(temperature="0.25 + 4*exp(-2*t)"), "2*x**2", 0.1, 120, n=100_000)
    assert abs(scores(x[:, 0] ** 2, 0.25 / 4)) < 4
    assert abs(scores(x[:, 0] ** 2, 1.05 * 0.25 / 4)) > 6
    x, _ = ended(MALA(temperature="0.25"), "2*x**2", 0.1, 150, n=100_000)
    assert abs(scores(x[:, 0] ** 2, 0.25 / 4)) < 4


def test_the_experiment_gives_its_table(experiment, tmp_path):
    found = experiment.main(particles=4000, time=12.0, pictures=0, out=tmp_path, table=tmp_path / "bias.csv")
    for name, value in found["orders"].items():
        assert abs(value - experiment.ORDERS[name]) < 0.15
    for row in found["rows"]:
        assert abs(row["error"] - row["law"]) < 5 * row["noise"]
    assert (tmp_path / "bias.png").stat().st_size > 10_000
    assert len((tmp_path / "bias.csv").read_text().splitlines()) == 28
