"""Stochastic steppers as mechanisms: their formulas to the bit, threads, continuation, walls, schedules, files."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import Status
from wflow.expression import COMPILE_FROM
from wflow.flows import make_flow
from wflow.flows.buffers import SMALLEST, Buffers
from wflow.kernels import noise as normals
from wflow.kernels.langevin import REFLECT, WRAP, add_parts, fold
from wflow.loop.standing import CounterNoise
from wflow.states import into_box
from wflow.steppers import MALA, Langevin, UnderdampedLangevin

EULER = Langevin("euler-maruyama")
ALL = (Langevin(), EULER, MALA(warmup=3), UnderdampedLangevin())
IDS = ("leimkuhler-matthews", "euler-maruyama", "mala", "underdamped")
LARGE = 2 * COMPILE_FROM + 100  # three shares, on two threads
MIXTURE = wf.GaussianMixture([[-1.5, 0.0], [1.0, 0.5], [0.0, 1.0]], [0.3, 0.5, 1.0], [0.2, 0.5, 0.3])
TILTED = wf.Entropy() + wf.Potential("(x**2 - 1)**2 + 2*y**2 + x/4")
NO_FLUX, PERIODIC = wf.Grid([-1.0, -2.0], [1.5, 1.0], 4), wf.Grid([-1.0, -2.0], [1.5, 1.0], 4, "periodic")


def cloud(n, dim=2, domain=None, seed=0):
    return wf.Particles(0.4 * np.random.default_rng(seed).normal(size=(n, dim)).clip(-2, 2), domain=domain)


def xi(seed, step, shape):
    return normals.normals(seed, step, np.empty(shape))


def steps(stepper, functional, state, count, memory=None, first=0, dt=0.05, seed=3, drift=None):
    """The state and memory after some steps from number `first` on."""
    flow = make_flow(functional, state, drift=drift)
    memory = dict(memory or {})
    for k in range(first, first + count):
        taken = stepper.step(flow, k * dt, state, dt, memory, CounterNoise(seed, k))
        assert taken.status is Status.RUNNING
        state, memory = taken.state, taken.memory
    return state, memory


@pytest.mark.parametrize("n", [50, LARGE])
@pytest.mark.parametrize("stepper", [Langevin(), EULER], ids=IDS[:2])
def test_the_schemes_are_their_formulas(stepper, n):
    h, temperature, state = 0.05, 0.7, cloud(n)
    F = temperature * wf.Entropy() + wf.Potential("(x**2 - 1)**2 + 2*y**2 + x/4")
    flow, x = make_flow(F, state), state.positions
    for k in range(3):
        noise = xi(11, k, x.shape)
        if stepper.scheme == "leimkuhler-matthews":
            noise = 0.5 * (noise + xi(11, k + 1, x.shape))
        x = x + h * flow.drift(0.0, state.at(x.copy())) + np.sqrt(2 * temperature * h) * noise
    result = wf.run(F, state, dt=h, steps=3, stepper=stepper, rng=11)
    assert_allclose(result.final.positions, x, rtol=0, atol=3e-15)


@pytest.mark.parametrize("n", [50, LARGE])
def test_underdamped_is_its_formula(n):
    h, gamma, T, state = 0.1, 1.3, 0.7, cloud(n)
    F = T * wf.Entropy() + wf.Potential("(x**2 - 1)**2 + 3*y**2")
    flow, x, v = make_flow(F, state), state.positions, np.sqrt(T) * xi(11, 2**64 - 1, state.positions.shape)
    for k in range(3):
        v = v + h / 2 * flow.drift(0.0, state.at(x.copy()))
        x = x + h / 2 * v
        v = np.exp(-gamma * h) * v + np.sqrt(T * (1 + h * (k + 0.5)) * (1 - np.exp(-2 * gamma * h))) * xi(
            11, k, x.shape
        )
        x = x + h / 2 * v
        v = v + h / 2 * flow.drift(0.0, state.at(x.copy()))
    result = wf.run(F, state, dt=h, steps=3, stepper=UnderdampedLangevin(gamma, "1 + t"), rng=11)
    assert_allclose(result.final.positions, x, rtol=0, atol=1e-14)
    assert_allclose(result.extras["velocity"][-1], v, rtol=0, atol=1e-14)


@pytest.mark.parametrize("stepper", ALL, ids=IDS)
@pytest.mark.parametrize("domain", [None, NO_FLUX, PERIODIC], ids=["free", "no-flux", "periodic"])
def test_same_bits_on_one_and_two_threads(stepper, domain):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    answers, before = [], numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            answers.append(steps(stepper, TILTED, cloud(LARGE, domain=domain), 6))
    finally:
        numba.set_num_threads(before)
    (one, memory), (two, other) = answers
    assert_array_equal(one.positions, two.positions)
    assert memory.keys() == other.keys()
    for name in memory:
        assert_array_equal(memory[name], other[name])


@pytest.mark.parametrize("stepper", ALL, ids=IDS)
@pytest.mark.parametrize("domain", [None, NO_FLUX], ids=["free", "no-flux"])
@pytest.mark.parametrize("n", [60, LARGE])
def test_a_run_cut_anywhere_goes_on_with_the_same_bits(stepper, domain, n):
    whole, end = steps(stepper, TILTED, cloud(n, domain=domain), 6)
    for cut in (1, 3, 5) if n < LARGE else (3,):
        state, memory = steps(stepper, TILTED, cloud(n, domain=domain), cut)
        # What a file holds: positions and plain arrays.
        again = wf.Particles(state.positions.copy(), domain=domain)
        kept = {name: np.array(array) for name, array in memory.items()}
        state, memory = steps(stepper, TILTED, again, 6 - cut, kept, first=cut)
        assert_array_equal(state.positions, whole.positions)
        for name in end:
            assert_array_equal(memory[name], end[name])


def test_the_noise_kept_is_the_one_of_the_counter():
    """In free space Leimkuhler–Matthews goes on from the positions alone."""
    whole, _ = steps(Langevin(), TILTED, cloud(60), 6)
    state, _ = steps(Langevin(), TILTED, cloud(60), 4)
    state, _ = steps(Langevin(), TILTED, state, 2, None, first=4)
    assert_array_equal(state.positions, whole.positions)


@pytest.mark.parametrize("stepper", ALL, ids=IDS)
@pytest.mark.parametrize("domain", [None, NO_FLUX, PERIODIC], ids=["free", "no-flux", "periodic"])
def test_a_sweep_is_its_steps(stepper, domain):
    """Positions, memory and counts, for a potential and a temperature in time."""
    stepper = replace(stepper, temperature="1 + t")
    state, F = cloud(LARGE, domain=domain), TILTED + wf.Potential("x*sin(t)")
    flow = make_flow(F, state)
    first, memory = steps(stepper, F, state, 4)
    assert stepper.stretch(flow, first, memory) > 1
    swept = stepper.sweep(flow, 0.05 * np.arange(4, 9), first, 0.05, memory, CounterNoise(3, 4))
    last, end, counts = first, memory, []
    for k in range(4, 9):
        taken = stepper.step(flow, 0.05 * k, last, 0.05, end, CounterNoise(3, k))
        last, end = taken.state, taken.memory
        counts.append(taken.counts)
    assert_array_equal(swept.state.positions, last.positions)
    assert swept.memory.keys() == end.keys()
    for name in end:
        assert_array_equal(swept.memory[name], end[name])
    for name in stepper.counters:
        singly = np.concatenate([np.atleast_1d(count[name]) for count in counts])
        assert_array_equal(np.broadcast_to(swept.counts[name], 5), singly)
    assert stepper.stretch(flow, cloud(50), memory) == 1


@pytest.mark.parametrize("stepper", ALL, ids=IDS)
@pytest.mark.parametrize("n", [60, SMALLEST // 16 + 1])
def test_a_step_is_pure(stepper, n):
    state = cloud(n, domain=NO_FLUX)
    flow = make_flow(TILTED, state)
    _, memory = steps(stepper, TILTED, state, 2)
    before = {name: np.array(array) for name, array in memory.items()}
    taken = [stepper.step(flow, 0.1, state, 0.05, memory, CounterNoise(3, 2)) for _ in range(4)]
    copies = [step.state.positions.copy() for step in taken]
    for name in memory:
        assert_array_equal(memory[name], before[name])
    for step, copy in zip(taken, copies, strict=True):
        assert_array_equal(step.state.positions, copies[0])
        assert_array_equal(step.state.positions, copy)


def test_the_key_of_the_noise_is_that_of_its_normals():
    noise, out = CounterNoise(2**64 - 5, 7), np.empty((10, 3))
    normals.fill_normals(*noise.source(slice(0, 5), 3)[1:], 4000, out)
    assert_array_equal(out, noise.normals((5000, 3))[4000:4010])
    assert_array_equal(out, CounterNoise(2**64 - 5, 0).normals((5000, 3), ahead=7)[4000:4010])


def test_mala_follows_a_potential_in_time():
    """What it remembers of the law of one time it does not use at another."""
    F, state = wf.Entropy() + wf.Potential("(x - 3*t)**2/2"), wf.Particles(np.zeros((4000, 1)))
    result = wf.run(F, state, dt=0.5, steps=4, stepper=MALA(0))
    flow, x = make_flow(F, state), state
    for k in range(4):
        x = MALA(0).step(flow, 0.5 * k, x, 0.5, {"log_dt": np.log(0.5)}, CounterNoise(0, k)).state
    assert_allclose(result.final.positions, x.positions, rtol=0, atol=1e-14)


@pytest.mark.parametrize("stepper", ALL, ids=IDS)
def test_a_run_in_sweeps_is_the_run_in_steps(stepper):
    """Frames on the way and a last step cut short; `stop` and "all" ask for single steps."""
    options = {"t_end": 0.955, "dt": 0.01, "stepper": stepper, "save": [0.1, 0.37]}
    swept = wf.run(TILTED, cloud(COMPILE_FROM), **options)
    single = wf.run(TILTED, cloud(COMPILE_FROM), **options, stop=lambda time, state: False)
    assert_array_equal(swept.times, single.times)
    for one, other in zip(swept.states, single.states, strict=True):
        assert_array_equal(one.positions, other.positions)
    assert swept.steps.keys() == single.steps.keys()
    for name, values in single.steps.items():
        assert_array_equal(swept.steps[name], values)
    assert len(single.steps["time"]) == 96


def test_a_sweep_that_fails_keeps_the_steps_before():
    x = np.random.default_rng(0).normal(size=(COMPILE_FROM, 1))
    options = {"dt": 0.2, "steps": 90, "stepper": Langevin(), "save": "ends"}
    for functional in (wf.Entropy() + wf.Potential("x**4"), wf.Entropy() + wf.Potential("-x**4")):
        ended = []
        for stop in (None, lambda time, state: False):
            with pytest.warns(wf.RunWarning, match="not finite"):
                ended.append(wf.run(functional, wf.Particles(x), **options, stop=stop))
        assert ended[0].status is Status.NOT_FINITE
        assert ended[0].times[-1] == ended[1].times[-1] > 0.0
        assert_array_equal(ended[0].final.positions, ended[1].final.positions)


def test_frames_are_not_written_over():
    n = SMALLEST // 16 + 1
    state = cloud(n)
    kept = wf.run(TILTED, state, dt=0.01, steps=9, stepper=Langevin(), save="all")
    ends = [wf.run(TILTED, state, dt=0.01, steps=k, stepper=Langevin(), save="ends").final for k in (1, 4, 9)]
    for k, end in zip((1, 4, 9), ends, strict=True):
        assert_array_equal(kept.states[k].positions, end.positions)


def test_buffers_give_only_what_nobody_holds():
    buffers, shape = Buffers(), (SMALLEST // 8, 1)
    first = buffers.empty(shape)
    first[:] = 1.0
    column = first[5:, 0]
    place = first.ctypes.data
    del first
    second = buffers.empty(shape)
    second[:] = 2.0
    assert np.all(column == 1.0)
    del column
    assert buffers.empty(shape).ctypes.data == place


@pytest.mark.parametrize("wall", [REFLECT, WRAP])
def test_fold_is_the_one_of_the_states(wall):
    grid = wf.Grid(-1.0, 2.0, 3, "periodic" if wall == WRAP else "no-flux")
    z = np.concatenate([np.linspace(-14.0, 14.0, 3001), [-1.0, 2.0, np.nextafter(2.0, 3.0), -1.0 - 1e-17]])
    found = np.array([fold(value, -1.0, 3.0, wall) for value in z])
    assert_array_equal(found[:, :1], into_box(grid, z[:, None]))
    turned = np.floor((z + 1.0) / 3.0) % 2 == 1
    inner = np.abs((z + 1.0) / 3.0 - np.round((z + 1.0) / 3.0)) > 1e-12
    expected = np.where(turned & (wall == REFLECT), -1.0, 1.0)
    assert_array_equal(found[inner, 1], expected[inner])
    assert np.isnan(fold(np.nan, -1.0, 3.0, wall)[0])


@pytest.mark.parametrize(
    ("functional", "drift"),
    [
        (TILTED, None),
        (0.3 * wf.Entropy() + 2 * wf.Potential("x*y*t") + 0.5 * wf.Potential("cos(x)"), None),
        (wf.FDivergence("reverse-kl", wf.Gibbs("x**4 + y**2", temperature=0.3)) + wf.Potential("x"), None),
        (1.7 * wf.FDivergence("reverse-kl", wf.Gibbs("x**4 + y**2")), ["-y", "x*t"]),
        (None, ["-x", "sin(x) - y"]),
        (0.7 * wf.FDivergence("reverse-kl", wf.Gaussian([0.3, 1.0], [[1.0, 0.3], [0.3, 0.5]])), ["x*t", "1"]),
        (1.3 * wf.FDivergence("reverse-kl", MIXTURE) + wf.Potential("x*y"), None),
    ],
    ids=["potential", "two", "target", "target and drift", "drift", "gaussian", "mixture"],
)
def test_the_compiled_drift_is_the_drift(functional, drift):
    state = cloud(normals.BLOCK)
    flow, out = make_flow(functional, state, drift=drift), np.full((2, normals.BLOCK), np.nan)
    add_parts(flow.compiled().drift.arrays, np.ascontiguousarray(state.positions.T), 0.7, out)
    exact = functional is None or "Gaussian" not in repr(functional)  # else both are rounded, in their own ways
    assert_allclose(out.T, flow.drift(0.7, state), rtol=1e-14 if exact else 1e-12, atol=1e-15 if exact else 1e-14)


@pytest.mark.parametrize("target", [wf.Gibbs("x**4 + y**2", temperature=0.3), MIXTURE], ids=["gibbs", "mixture"])
def test_the_compiled_law_is_the_law(target):
    F = 0.5 * wf.FDivergence("reverse-kl", target) + 2 * wf.Potential("cos(x)*t")
    state = cloud(normals.BLOCK)
    flow, out = make_flow(F, state), np.full(normals.BLOCK, np.nan)
    add_parts(flow.compiled().law.arrays, np.ascontiguousarray(state.positions.T), 0.7, out)
    assert_allclose(out, flow.log_density(0.7, state), rtol=1e-14, atol=1e-14)
    assert make_flow(F, state, drift=["-y", "x"]).compiled().law is None


def test_the_compiled_mixture_is_right_far_out_and_for_many_components():
    """Where every component underflows, where one has no weight, in one dimension and in four."""
    rng = np.random.default_rng(0)
    for dim, count in ((1, 2), (4, 7)):
        roots = rng.standard_normal((count, dim, dim))
        covs = roots @ roots.transpose(0, 2, 1) + 0.2 * np.eye(dim)
        p = wf.GaussianMixture(rng.standard_normal((count, dim)), covs, [0.0, *rng.uniform(0.1, 1.0, count - 1)])
        x = rng.standard_normal((normals.BLOCK, dim)) * np.geomspace(0.1, 1e3, normals.BLOCK)[:, None]
        flow = make_flow(wf.FDivergence("reverse-kl", p), wf.Particles(x))
        out, law = np.empty((dim, normals.BLOCK)), np.empty((1, normals.BLOCK))
        place = np.ascontiguousarray(x.T)
        add_parts(flow.compiled().drift.arrays, place, 0.0, out)
        add_parts(flow.compiled().law.arrays, place, 0.0, law)
        assert_allclose(out.T, p.score(x), rtol=1e-10, atol=1e-10)
        assert_allclose(law[0], p.log_density(x), rtol=1e-12)


def test_a_mixture_in_sweeps_is_itself_in_single_steps():
    F, options = wf.FDivergence("reverse-kl", MIXTURE), {"t_end": 0.4, "dt": 0.01, "save": [0.1]}
    for stepper in (Langevin(), MALA(warmup=3)):
        swept = wf.run(F, cloud(COMPILE_FROM), **options, stepper=stepper)
        single = wf.run(F, cloud(COMPILE_FROM), **options, stepper=stepper, stop=lambda time, state: False)
        assert_array_equal(swept.final.positions, single.final.positions)
        # And the positions that the uncompiled way of a small cloud takes the same noise to.
        few = wf.run(F, wf.Particles(cloud(COMPILE_FROM).positions[:50]), **options, stepper=Langevin())
        if isinstance(stepper, Langevin):
            assert_allclose(swept.final.positions[:50], few.final.positions, rtol=0, atol=1e-12)


def test_what_the_compiler_does_not_know_takes_the_whole_cloud():
    state = cloud(COMPILE_FROM)
    for functional in (wf.Entropy() + wf.Potential(lambda x: x[:, 0] ** 2), wf.Entropy() + wf.Interaction("x**2")):
        assert make_flow(functional, state).compiled() is None
    by_text = steps(Langevin(), wf.Entropy() + wf.Potential("x**2/2 + y**2/2"), state, 3)[0]
    given = wf.Potential(lambda x: (x**2).sum(axis=1) / 2, grad=lambda x: x)
    by_function = steps(Langevin(), wf.Entropy() + given, state, 3)[0]
    assert_allclose(by_function.positions, by_text.positions, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [40, LARGE])
def test_fields_and_temperatures_that_depend_on_time(n):
    h, state, x = 0.1, cloud(n, 1), cloud(n, 1).positions
    F, T = 0.5 * wf.Entropy() + wf.Potential("x**2*t"), "exp(-t) + t**2"
    for k in range(4):
        t = h * k
        x = x - h * 2 * t * x + np.sqrt(2 * 0.5 * (np.exp(-t) + t * t) * h) * xi(0, k, x.shape)
    text = wf.run(F, state, dt=h, steps=4, stepper=Langevin("euler-maruyama", temperature=T)).final
    function = Langevin("euler-maruyama", temperature=lambda t: np.exp(-t) + t**2)
    assert_allclose(text.positions, x, rtol=0, atol=2e-15)
    assert_allclose(wf.run(F, state, dt=h, steps=4, stepper=function).final.positions, x, rtol=0, atol=2e-15)


def test_underdamped_under_a_force_in_time():
    """dv = cos(t) dt without noise or friction: x = 1 - cos t, to second order."""
    errors = []
    for steps_ in (20, 40):
        stepper = UnderdampedLangevin(friction=0.0, temperature=lambda t: 0.0)
        F = wf.Entropy() + wf.Potential("-x*cos(t)")
        final = wf.run(F, wf.Particles(np.zeros((3, 1))), dt=2 / steps_, steps=steps_, stepper=stepper).final
        errors.append(abs(final.positions[0, 0] - (1 - np.cos(2.0))))
    assert errors[0] < 1e-2
    assert 1.9 < np.log2(errors[0] / errors[1]) < 2.1


def test_without_temperature_there_is_no_noise():
    V, q = wf.Potential("x**2/2 + x*y + y**2"), cloud(30)
    plain = wf.run(V, q, dt=0.05, steps=5, stepper=wf.steppers.ExplicitEuler()).final
    for stepper in (Langevin(), EULER, Langevin(temperature="0*t")):
        assert_array_equal(wf.run(V, q, dt=0.05, steps=5, stepper=stepper).final.positions, plain.positions)
    cooled = wf.run(wf.Entropy() + V, q, dt=0.05, steps=5, stepper=Langevin(temperature="0")).final
    assert_array_equal(cooled.positions, plain.positions)
