"""Interactions of clouds by a mesh: held against direct sums, and the exact gradient of their own energy."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.expression import as_field
from wflow.flows import make_flow, pairs
from wflow.flows.interactions import InteractionPart
from wflow.flows.lattice import make_lattice
from wflow.flows.pairs import mean_force, mean_value
from wflow.flows.spacing import MESH_FROM, TOLERANCE, Fit

SQUARE = {1: "x**2", 2: "x**2 + y**2", 3: "x**2 + y**2 + z**2"}


def cloud(d, n=4096, seed=3, weighted=True):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.array([1.0, 0.6, 0.8])[:d] + 5.0
    return wf.Particles(x, weights=rng.uniform(0.5, 1.5, n)) if weighted else wf.Particles(x)


def part_of(W, state):
    return make_flow(wf.Interaction(W), state).pulls[0]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("kind", ["exp(-({}))", "({})/2"])
def test_the_mesh_is_the_direct_sum(d, kind):
    state = cloud(d)
    state = state.at(0.5 * state.positions) if d == 3 else state
    part = part_of(kind.format(SQUARE[d]), state)
    assert part.lattice_for(state.positions) is not None
    rows = np.arange(5, len(state.positions), 41)
    exact = mean_force(part.W, state.positions, state.weights, None, state.positions[rows])
    bound = 1e-12 if kind.startswith("(") else 1.5 * TOLERANCE  # checked at other particles
    assert np.abs(part.gradient(state)[rows] - exact).max() < bound * np.abs(exact).max()
    if d == 1:
        value = mean_value(part.W, state.positions, state.weights)
        assert_allclose(part.energy(state), 0.5 * state.weights @ value, rtol=1e-7)
        assert_allclose(part.slope(state), value, atol=1e-6)


@pytest.mark.parametrize("d", [1, 2])
def test_force_and_slope_are_derivatives_of_the_energy(d):
    state = cloud(d)
    part = part_of(f"exp(-2*({SQUARE[d]}))", state)
    lattice = part.lattice_for(state.positions)
    coarse = type(part)(2.0, part.W, state, None)
    # A mesh so coarse that its energy is far from W's: what is held here owes nothing to accuracy.
    coarse.__dict__["_chosen"] = Fit(make_lattice(part.W, 4.0 * lattice.spacing[0], None, d), np.inf, None)
    direction = np.random.default_rng(0).standard_normal(state.positions.shape)
    for each in (part, coarse):
        expected = float(np.sum(state.weights[:, None] * each.gradient(state) * direction))
        h = 1e-3
        ends = [each.energy(state.at(state.positions + k * h * direction)) for k in (-2, -1, 1, 2)]
        found = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * h)
        assert_allclose(found, expected, rtol=1e-9)
        change = state.weights * np.sin(state.positions[:, 0] ** 2)
        change -= state.weights * change.sum()  # the sum of the weights stays 1
        ends = [each.energy(wf.Particles(state.positions, weights=state.weights + k * h * change)) for k in (-1, 1)]
        assert_allclose((ends[1] - ends[0]) / (2.0 * h), change @ each.slope(state), rtol=1e-9)


def test_direct_sums_are_the_sums_over_pairs(monkeypatch):
    """In blocks that do not divide the cloud; W is singular where a particle meets itself, which it does not feel."""
    x, weights = np.random.default_rng(0).uniform(0.0, 2.0, (23, 2)), np.random.default_rng(1).dirichlet(np.ones(23))
    monkeypatch.setattr(pairs, "BLOCK", 4 * x.size)
    apart = x[:, None] - x
    square = np.sum(apart**2, axis=2) + np.eye(23)
    force = mean_force(as_field("log(x**2 + y**2)/2"), x, weights)
    assert_allclose(force, np.einsum("j,ijk->ik", weights, apart / square[..., None]), rtol=1e-12)
    value = mean_value(as_field("x**2 + y**2"), x, weights)
    assert_allclose(value, (square - np.eye(23)) @ weights, rtol=1e-12)
    box = wf.estimators.Box(np.zeros(2), np.array([2.0, 3.0]), ("periodic", "no-flux"))
    wrapped = apart - [2.0, 0.0] * np.round(apart / 2.0)
    assert_allclose(mean_force(as_field("x**2 + y**2"), x, weights, box), 2.0 * weights @ wrapped, atol=1e-12)


def test_pair_forces_cancel():
    state = cloud(2)
    part = part_of("exp(-x**2 - y**2)", state)
    pull = part.gradient(state)
    assert np.abs(state.weights @ pull).max() < 1e-15 * np.abs(pull).max()
    shifted = part.gradient(state.at(state.positions + np.array([0.3712, -1.234])))
    assert_allclose(shifted, pull, atol=1e-12 * np.abs(pull).max())


@pytest.mark.parametrize("W", ["abs(x)", "log(abs(x))", "1/(1 + 1e8*x**2)"])
def test_what_is_not_smooth_is_summed_directly(W):
    state = cloud(1)
    part = part_of(W, state)
    assert part.lattice_for(state.positions) is None
    few = cloud(1, 300)
    assert_array_equal(part.gradient(few), mean_force(part.W, few.positions, few.weights))


def test_few_particles_and_many_axes_are_direct():
    assert part_of("exp(-x**2)", cloud(1, MESH_FROM - 1)).lattice_for(cloud(1).positions) is None
    four = wf.Particles(np.random.default_rng(0).standard_normal((MESH_FROM, 4)))
    assert part_of("exp(-x**2)", four).lattice_for(four.positions) is None


# Periodic sides ------------------------------------------------------------------------------------------------------

PERIOD = 2.0 * np.pi
RING = {
    1: ("exp(2*cos(x))", "periodic"),
    2: ("exp(cos(x) + cos(2*y))", "periodic"),
    3: ("cos(x)*cos(y) - cos(z)", "periodic"),
    "mixed": ("exp(cos(x) - y**2)", ["periodic", "no-flux"]),
}


def ring(d, n=4096):
    """Uneven around the rings, with particles on both ends."""
    rng, dim = np.random.default_rng(5), d if isinstance(d, int) else 2
    x = 1.0 + np.mod(rng.normal(0.0, 1.5, (n, dim)), PERIOD)
    x[0], x[1] = 1.0, 1.0 + PERIOD
    box = wf.Grid([1.0] * dim, [1.0 + PERIOD] * dim, 4, RING[d][1])
    return wf.Particles(x, weights=rng.uniform(0.5, 1.5, n), domain=box)


@pytest.mark.parametrize("d", RING)
def test_around_rings_the_mesh_is_the_direct_sum_over_nearest_images(d):
    state = ring(d)
    part = part_of(RING[d][0], state)
    assert part.lattice_for(state.positions) is not None
    rows = np.r_[0, 1, np.arange(5, len(state.positions), 41)]
    exact = mean_force(part.W, state.positions, state.weights, part.box, state.positions[rows])
    far = mean_force(part.W, state.positions, state.weights, None, state.positions[rows])
    pull = part.gradient(state)
    assert np.abs(pull[rows] - exact).max() < 1.5 * TOLERANCE * np.abs(exact).max()
    if d != "mixed":  # W is periodic itself: then images need no counting, and both sums are one
        assert_allclose(far, exact, atol=1e-12)
    assert np.abs(state.weights @ pull).max() < 1e-15 * np.abs(pull).max()
    if d == 1:
        value = mean_value(part.W, state.positions, state.weights, part.box)
        assert_allclose(part.energy(state), 0.5 * state.weights @ value, rtol=1e-7)
        assert_allclose(part.slope(state), value, atol=1e-6)


@pytest.mark.parametrize("d", [1, 2, "mixed"])
def test_around_rings_force_and_slope_are_derivatives_of_the_energy(d):
    state = ring(d)
    part = part_of(RING[d][0], state)
    lattice = part.lattice_for(state.positions)
    direction = np.random.default_rng(0).standard_normal(state.positions.shape)
    direction[:2] = 0.0  # on the ends of the rings
    h = 1e-3 if d == 1 else 5e-4
    x = state.positions.copy()
    x[2:] = np.clip(x[2:], 1.02, 0.98 + PERIOD)
    state = wf.Particles(x, weights=state.weights, domain=state.domain)
    expected = float(np.sum(state.weights[:, None] * part.gradient(state) * direction))
    ends = [part.energy(state.at(x + k * h * direction)) for k in (-2, -1, 1, 2)]
    assert_allclose((ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * h), expected, rtol=1e-9)
    change = state.weights * np.sin(x[:, 0] ** 2)
    change -= state.weights * change.sum()
    shifted = [wf.Particles(x, weights=state.weights + k * h * change, domain=state.domain) for k in (-1, 1)]
    ends = [part.energy(each) for each in shifted]
    assert_allclose((ends[1] - ends[0]) / (2.0 * h), change @ part.slope(state), rtol=1e-9)
    assert part.lattice_for(x) is lattice


def test_a_kink_where_the_nearest_image_changes_is_summed_directly():
    state = ring(1)
    for W, smooth in (("exp(-6*x**2)", True), ("exp(-x**2/4)", False), ("x**2/2", False)):
        assert (part_of(W, state).lattice_for(state.positions) is not None) == smooth


def test_a_run_around_a_ring_is_that_of_direct_sums():
    """The Kuramoto model, ẋ = -K Σⱼ sin(xᵢ - xⱼ)/n, whose sums are two moments."""
    x0 = ring(1).positions
    state = wf.Particles(x0, domain=ring(1).domain)
    result = wf.run(wf.Interaction("-2*cos(x)"), state, dt=0.1, steps=20, stepper=wf.steppers.ExplicitEuler())
    x = x0.copy()
    for _ in range(20):
        c, s = np.cos(x).mean(), np.sin(x).mean()
        x = x - 0.2 * (np.sin(x) * c - np.cos(x) * s)
    off = np.mod(result.final.positions - x + 3.0, PERIOD) - 3.0
    assert np.abs(off).max() < 20 * 0.2 * TOLERANCE
    assert "interaction by a mesh" in result.info["sums"]


def test_a_result_says_which_way_its_sums_were_made(tmp_path):
    euler = {"dt": 0.1, "steps": 1, "stepper": wf.steppers.ExplicitEuler()}
    found = wf.run(wf.Interaction("exp(-x**2)"), cloud(1), **euler, out=tmp_path / "a.h5").info["sums"]
    assert found == wf.load(tmp_path / "a.h5").info["sums"]
    assert found.startswith("interaction by a mesh of spacing 0.")
    assert wf.run(wf.Interaction("abs(x)"), cloud(1), **euler).info["sums"] == "interaction by direct sums"
    assert wf.run(wf.Blob(wf.Entropy(), 0.2), cloud(1), **euler).info["sums"] == "blob by a mesh"
    few = wf.Particles(cloud(1).positions[:50])
    assert wf.run(wf.Entropy(), few, **euler, estimator=0.3).info["sums"] == "density by direct sums"
    plain = wf.run(wf.Potential("x**2"), few, **euler).info
    assert "sums" not in plain
    assert "estimator" not in plain


def test_the_record_names_the_estimator_that_a_default_stands_for(tmp_path):
    options = {"t_end": 0.01, "dt": 0.01, "stepper": wf.steppers.ExplicitEuler(), "save": "ends"}
    for given, name in ((None, "Kernel(bandwidth='score'"), (0.3, "Kernel(bandwidth=0.3")):
        result = wf.run(wf.Entropy(), cloud(1), **options, estimator=given, out=tmp_path / "a.h5")
        assert result.info["estimator"].startswith(name)
        assert wf.load(tmp_path / "a.h5").info["estimator"] == result.info["estimator"]


def test_finding_a_mesh_in_space_asks_for_far_fewer_pairs_than_a_direct_sum():
    state = cloud(3, 12_000)
    part, asked = part_of("exp(-x**2 - y**2 - z**2)", state), []

    class Counted(type(part.W)):
        pass

    counted = object.__new__(Counted)
    counted.__dict__.update(part.W.__dict__)
    Counted.value = lambda self, x, t=0.0: asked.append(len(x)) or type(part.W).value(self, x, t)
    assert InteractionPart(1.0, counted, state, None).lattice_for(state.positions) is not None
    assert 1e5 < sum(asked) < 0.2 * 12_000**2


def test_the_mesh_follows_the_cloud():
    state = cloud(1)
    part = part_of("exp(-x**2)", state)
    spacing = part.lattice_for(state.positions).spacing
    rows = np.arange(0, MESH_FROM, 41)
    factors = (1e-6, 0.002, 0.01, 0.1, 0.5, 3.0, 7.0)
    scale = max(np.abs(part.gradient(state.at(k * state.positions))).max() for k in (1.0, *factors))
    for factor in factors:
        moved = state.at(factor * state.positions)
        assert part.lattice_for(moved.positions).spacing == spacing
        exact = mean_force(part.W, moved.positions, state.weights, None, moved.positions[rows])
        assert np.abs(part.gradient(moved)[rows] - exact).max() < 1.5 * TOLERANCE * scale
    # Smooth over the start, with a kink beyond: found when the cloud has come so far.
    kinked = part_of("exp(-x**2) + maximum(abs(x) - 30, 0)", state)
    assert kinked.lattice_for(state.positions) is not None
    assert kinked.lattice_for(8.0 * state.positions) is None
    far = state.positions.copy()
    far[0] += 1e12
    assert part.lattice_for(far) is None


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_threads_do_not_change_a_bit():
    state = cloud(2, 40_000)
    found, before = [], numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            part = part_of("exp(-x**2 - y**2)", state)
            found.append((part.gradient(state), part.slope(state)))
    finally:
        numba.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert_array_equal(one, two)


def test_a_run_by_mesh_takes_the_steps_of_direct_sums():
    state, W = cloud(1, 20_000, weighted=False), wf.Interaction("-exp(-x**2/2)")
    result = wf.run(W, state, dt=0.5, steps=4, stepper=wf.steppers.ExplicitEuler(), save="all")
    rows = np.arange(0, 20_000, 97)
    for before, after in zip(result.states[:-1], result.states[1:], strict=True):
        x = before.positions
        pull = mean_force(W.field, x, state.weights, None, x[rows])
        assert_allclose(after.positions[rows] - x[rows], -0.5 * pull, atol=TOLERANCE * np.abs(pull).max())
    assert np.all(np.diff(result.diagnostics["energy"]) < 0.0)
    assert make_flow(W, state).pulls[0].lattice_for(state.positions) is not None


def test_a_run_goes_on_bit_for_bit(tmp_path):
    state, F = cloud(1), wf.Interaction("-exp(-x**2/2)") + wf.Potential("-x**2/8")
    given = {"t_end": 4.0, "tol": 1e-6, "save": 3, "resume": True}
    whole = wf.run(F, state, out=tmp_path / "whole.h5", **given)
    with pytest.warns(wf.RunWarning):
        wf.run(F, state, out=tmp_path / "cut.h5", max_steps=len(whole.steps["time"]) // 2, **given)
    again = wf.run(F, state, out=tmp_path / "cut.h5", **given)
    assert_array_equal(again.final.positions, whole.final.positions)
    assert_array_equal(again.diagnostics["energy"], whole.diagnostics["energy"])
