"""The JKO step and its second-order variant: closed forms, optimality, orders, laws at any step, refusals."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_laws import CARRIED, DIFFUSIVE, box, functional, never_up, rough

import wflow as wf
from wflow import exact
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.flows.nodes import opened
from wflow.flows.quantiles import Step
from wflow.flows.terms import per_mass
from wflow.functionals import Logarithmic
from wflow.functionals.powers import Weighted
from wflow.kernels.quantiles import log_masses
from wflow.states import KINDS
from wflow.steppers import JKO, VARIATIONAL, ExplicitEuler, ImplicitEuler, VariationalBDF2

KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
LEVELS = np.array([0.02, 0.1, 0.3, 0.5, 0.8, 0.95])


def one_step(n, tau=0.1):
    """Nodes and masses in x of a step from N(1, 4) to N(0, 1) on n cells."""
    grid = wf.Grid(-15, 17, n)
    q = wf.Density(grid, wf.Gaussian([1.0], 4.0))
    answer = make_flow(KL, q).proximal(tau, q, tau, {})
    assert answer.converged
    return grid.lower[0] + grid.spacing[0] * answer.memory["nodes"], answer.memory["masses"], answer.distance


def moments(x, m):
    mean = m @ (x[1:] + x[:-1]) / 2
    return np.array([mean, np.sqrt(m @ (x[1:] ** 2 + x[1:] * x[:-1] + x[:-1] ** 2) / 3 - mean**2)])


@pytest.mark.checklist("G14")
def test_gaussian_closed_form_in_quantiles():
    """Mean 1/1.1 and standard deviation 1.8668776139 to 1e-6 from 1600 cells, extrapolated; order 2 before that."""
    closed = np.array([1 / 1.1, 1.8668776139])
    assert_allclose(closed, exact.jko_gaussian_step(1.0, 2.0, 0.1), atol=1e-10)
    found = np.array([[*moments(x, m), d] for x, m, d in map(one_step, (400, 800, 1600))])
    errors = np.abs(found[:, :2] - closed)
    assert np.all(errors[-1] < 4e-6)
    assert_allclose(np.log2(errors[-2] / errors[-1]), 2.0, atol=0.1)
    best = (4 * found[-1] - found[-2]) / 3
    assert_allclose(best[:2], closed, rtol=0, atol=1e-6)
    assert_allclose(best[2], np.hypot(1 - closed[0], 2 - closed[1]), rtol=0, atol=1e-6)


@pytest.mark.checklist("G14")
def test_gaussian_closed_form_of_the_quantile_function():
    def quantiles(n):
        x, m, _ = one_step(n)
        below = np.append(0.0, np.cumsum(m))
        return np.interp(LEVELS, below / below[-1], x)

    z = np.array([-2.0537489106, -1.2815515655, -0.5244005127, 0.0, 0.8416212336, 1.6448536270])
    assert_allclose(quantiles(1600), 1 / 1.1 + 1.8668776139 * z, rtol=0, atol=2e-4)


def line_step(name, n=40, tau=0.1, seed=0):
    """The merit of a step from a positive density, and its minimiser."""
    grid = wf.Grid(-1.5, 1.5, n)
    q = wf.Density(grid, lambda x: 1.2 + np.sin(3 * x[:, 0] + seed))
    flow = make_flow(functional(name, 1), q)
    line = flow._line(0.0)
    answer = line.step(q, tau, {}, 0.0, 1e-12)
    nodes, masses, _ = line._quantiles(q, {})
    step = Step(line.energy, masses, nodes[:-1], nodes[1:], tau / grid.spacing[0] ** 2, line.walls, 1e-13)
    return step, nodes, answer


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("name", [*DIFFUSIVE, *CARRIED])
def test_the_step_is_the_minimiser(name):
    """F + W2²/2τ against the state itself and against perturbed quantiles, small and large, one and all together."""
    step, nodes, answer = line_step(name)
    best, rng = answer.memory["nodes"], np.random.default_rng(0)
    assert answer.converged
    lowest = step.value(best[None])[0]
    assert lowest < step.value(nodes[None])[0]
    for size in (1e-4, 1e-2, 0.3):
        for count in (1, 7, best.size):
            move = np.zeros(best.size)
            move[rng.choice(best.size, count, replace=False)] = size * rng.standard_normal(count)
            move[[0, -1]] *= not step.energy.fills  # else a vacuum at the wall, of infinite energy
            other = opened(np.clip(np.sort(best + move * np.append(1, np.diff(best))), *step.walls), step.walls[1])
            assert step.value(other[None])[0] >= lowest * (1 - 1e-13)


@pytest.mark.parametrize("name", [*DIFFUSIVE, *CARRIED])
def test_gradient_and_hessian_are_those_of_the_merit(name):
    """Central differences of the value and of the gradient, along a random direction."""
    step, nodes, _ = line_step(name, n=12)
    rng = np.random.default_rng(1)
    y = nodes + 0.2 * np.append(np.append(0.0, rng.uniform(-1, 1, nodes.size - 2)), 0.0)
    v = np.append(np.append(0.0, rng.standard_normal(nodes.size - 2)), 0.0)

    def along(t, what):
        return (what((y + t * v)[None])[0] - what((y - t * v)[None])[0]) / (2 * t)

    assert_allclose(along(1e-5, step.value), step.slope(y[None])[0] @ v, rtol=1e-6)
    blocks = step._blocks(y)
    product = np.zeros(y.size)
    product[:-1] += blocks.left_left * v[:-1] + blocks.left_right * v[1:]
    product[1:] += blocks.left_right * v[:-1] + blocks.right_right * v[1:]
    for pair in step.energy.pairs:
        pulled = step.scale * pair.matrix(y, step.masses) @ (v[:-1] + v[1:])
        product[:-1] += pulled
        product[1:] += pulled
    assert_allclose(along(1e-6, step.slope), product, rtol=1e-5, atol=1e-5 * np.abs(product).max())


@pytest.mark.checklist("G14", "G15")
def test_the_step_is_better_than_implicit_and_explicit_euler():
    grid, tau = wf.Grid(-9, 11, 800), 0.1
    q = wf.Density(grid, wf.Gaussian([1.0], 4.0))

    def merit(state):
        return wf.energy(KL, state) + wf.wasserstein2(state, q) ** 2 / (2 * tau)

    jko = wf.run(KL, q, dt=tau, steps=1, stepper=JKO()).final
    other = wf.run(KL, q, dt=tau, steps=1, stepper=ImplicitEuler()).final
    flow = wf.run(KL, q, t_end=tau).final
    assert merit(jko) < merit(other) - 1e-6
    assert merit(jko) < merit(flow) - 1e-6
    assert merit(jko) < merit(q)


@pytest.mark.checklist("G8", "G16")
@pytest.mark.parametrize("name", [*DIFFUSIVE, *CARRIED])
def test_mass_sign_and_decay_at_any_step(name):
    """From six decades of rough data, with a third of the cells empty or none. Where all of F is of the form ∫ p φ(q/p)
    its value on the grid falls, else that in quantiles."""
    for dt, vacuum in ((1e-3, False), (0.3, True), (100.0, False)):
        q = rough(box(1), 1, vacuum, 6 if name in DIFFUSIVE else 3)
        result = wf.run(functional(name, 1), q, dt=dt, steps=2, stepper=JKO(), save="all")
        assert result.status is Status.COMPLETE
        assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
        assert result.diagnostics["minimum"].min() >= 0.0
        energies = result.diagnostics["energy"]
        if name in CARRIED:
            flow, state, memory, energies = make_flow(functional(name, 1), q), q, {}, []
            for _ in range(3):
                answer = flow.proximal(0.0, state, dt, memory)
                state, memory = answer.state, answer.memory
                energies.append(flow._line(0.0).energy.value(memory["nodes"], memory["masses"]))
        assert never_up(np.array(energies)[np.isfinite(energies)])


BLOBS = wf.Density(wf.Grid(-2, 2, 200), wf.GaussianMixture([[-1.5], [1.5]], 0.01))
COLD = 0.01 * wf.Entropy() + wf.Potential("(x**2 - 1)**2")
HARD = {
    "cold double well": (COLD, wf.Density(wf.Grid(-2, 2, 200), wf.Gaussian([-1.5], 0.01))),
    "top hat": (COLD, wf.Density(wf.Grid(-2, 2, 200), lambda x: np.where(np.abs(x[:, 0] + 1.5) < 0.2, 1.0, 0.0))),
    "one cell": (0.1 * wf.Entropy() + wf.Potential("(x**2 - 1)**2"), wf.Density(wf.Grid(-5, 5, 200), np.eye(200)[50])),
    "jensen-shannon": (wf.FDivergence("jensen-shannon", wf.Gaussian([0.0], 0.1)), BLOBS),
    "triangular": (wf.FDivergence("triangular", wf.Gaussian([0.0], 0.1)), BLOBS),
    "hellinger": (wf.FDivergence("hellinger", wf.Gaussian([0.0], 0.1)), BLOBS),
}


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("name", HARD)
def test_mass_far_from_the_target(name):
    """Cold wells and blobs: every law at any step, and a merit, in quantiles, no larger than at implicit Euler's."""
    F, q = HARD[name]
    flow, h = make_flow(F, q), q.grid.spacing[0]
    line = flow._line(0.0)
    for dt in (1e-3, 0.1, 10.0):
        result = wf.run(F, q, dt=dt, steps=2, stepper=JKO(), save="all")
        assert result.status is Status.COMPLETE
        assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
        assert result.diagnostics["minimum"].min() >= 0.0
        assert never_up(result.diagnostics["energy"])
        answer = flow.proximal(0.0, q, dt, {})
        nodes, m, _ = line._quantiles(q, {})
        if line.energy.fills:
            nodes = np.append(nodes[:-1][m > 0.0], nodes[-1])
            nodes[[0, -1]], m = line.walls, m[m > 0.0]
        step = Step(line.energy, m, nodes[:-1], nodes[1:], dt / h**2, line.walls, 1e-13)
        other = np.append(0.0, np.cumsum(flow.resolvent(0.0, q, q.values, dt).state.values * h))
        implicit = opened(np.interp(np.append(0.0, np.cumsum(m)), other, np.arange(other.size)), line.walls[1])
        lowest = step.value(answer.memory["nodes"][None])[0]
        assert lowest < step.value(implicit[None])[0]
        assert lowest < step.value(opened(nodes, line.walls[1])[None])[0]


def test_masses_of_a_steep_reference():
    """(e^48 - 1)/48 over a cell, and an energy that goes on beyond e^340, alone and in a sum."""
    out = np.empty(1)
    log_masses(np.array([0.0, 1.0]), np.array([[0.0, 48.0, 0.0]]), out)
    assert_allclose(out, np.log(np.expm1(48.0) / 48.0), rtol=1e-14)
    assert_allclose(per_mass(Weighted((0.01,), (Logarithmic(),)), np.array([-900.0, 400.0])), [-9.0, 4.0], rtol=1e-14)


TIMED = {
    "reverse-kl": wf.FDivergence("reverse-kl", wf.Gibbs("x**2/2 + x")),
    "chi2": wf.FDivergence("chi2", wf.Gibbs("x**2/2 + x")),
    "porous medium": wf.PowerEntropy(2),
    "m=2 + V(x, t)": wf.PowerEntropy(2) + wf.Potential("x**2*(1 + sin(20*t))"),
    "interaction": wf.Entropy() + wf.Interaction("x**2"),
}
BEST = {}


@pytest.mark.checklist("G14")
@pytest.mark.parametrize("case", TIMED)
@pytest.mark.parametrize("stepper", VARIATIONAL, ids=lambda s: s.__name__)
def test_order_in_time_on_a_grid(stepper, case):
    """Against steps so fine that only the quantiles' own error is left, which is of second order in the cells."""
    F, T, grid = TIMED[case], 0.05, wf.Grid(0, 1, 20)
    q = wf.Density(grid, lambda x: 1 + 0.5 * np.cos(np.pi * x[:, 0]) + 0.2 * np.cos(2 * np.pi * x[:, 0]))
    if case not in BEST:
        BEST[case] = wf.run(F, q, dt=T / 300, steps=300, stepper=VariationalBDF2(), save="ends").final.values
        flow = wf.run(F, q, t_end=T, tol=1e-5, save="ends").final.values
        assert np.abs(BEST[case] - flow).mean() < 5e-3
    errors = []
    for steps in (32, 64):
        result = wf.run(F, q, dt=T / steps, steps=steps, stepper=stepper(), save="ends")
        assert result.status is Status.COMPLETE
        assert result.steps["restarts"].sum() == 0
        errors.append(np.abs(result.final.values - BEST[case]).mean())
    assert abs(np.log2(errors[0] / errors[1]) - stepper.order) < 0.1


def test_order_two_holds_when_the_last_step_is_shorter():
    """The coefficients of variable steps: the second-order difference is exact where the flow is a parabola in time."""
    V = wf.Potential("x*(1 - t)")
    end = wf.run(V, wf.Point([0.0]), dt=0.3, t_end=0.7, stepper=VariationalBDF2(), save="ends").final.x[0]
    assert_allclose(end, -(0.7 - 0.7**2 / 2), rtol=1e-12)


@pytest.mark.checklist("G16")
def test_barenblatt_from_its_front():
    """First order at least, since the front lies somewhere in its cell; beyond that cell nothing is wet."""
    errors = []
    for n in (50, 100, 200):
        edges = np.linspace(-4, 4, 40 * n + 1)
        middles = 0.5 * (edges[1:] + edges[:-1])[:, None]
        start, end = (exact.barenblatt(middles, t, 2.0).reshape(n, 40).mean(axis=1) for t in (1.0, 2.0))
        q = wf.Density(wf.Grid(-4, 4, n), start)
        result = wf.run(wf.PowerEntropy(2), q, dt=1 / 40, steps=40, stepper=VariationalBDF2(), save="ends")
        errors.append(np.abs(result.final.values - end).sum() * q.grid.volume)
        outside = np.abs(q.grid.centers[0]) > exact.barenblatt_radius(2.0, 2.0) + 1.5 * q.grid.spacing[0]
        assert np.all(result.final.values[outside] == 0.0)
    assert errors[-1] < 1e-3
    assert np.log2(errors[0] / errors[-1]) / 2 > 1.1


def test_quantiles_are_kept_from_step_to_step():
    """Carried along by V = -x nothing is smeared; begun from the cells each time it is."""
    grid = wf.Grid(-2, 4, 60)
    q = wf.Density(grid, wf.Gaussian([-0.5], 0.04))
    F, steps, dt = wf.Potential("-x"), 40, 0.05
    kept = wf.run(F, q, dt=dt, steps=steps, stepper=JKO(), save="ends").final
    flow, smeared = make_flow(F, q), q
    for _ in range(steps):
        smeared = flow.proximal(0.0, smeared, dt, {}).state
    assert_allclose(kept.mean - q.mean, steps * dt, rtol=1e-10)
    assert abs(kept.cov - q.cov) < grid.spacing[0] ** 2 / 12
    assert smeared.cov - q.cov > 5 * grid.spacing[0] ** 2 / 12


FOUR = {
    "point": wf.Point([1.5]),
    "particles": wf.Particles([[1.5], [-0.5], [0.25]], [1, 2, 1]),
    "gaussian": wf.Gaussian([0.5], 0.09),
    "density": wf.Density(wf.Grid(-3, 3, 200), wf.Gaussian([0.5], 0.09)),
}


@pytest.mark.checklist("G8")
@pytest.mark.parametrize("name", KINDS.values())
@pytest.mark.parametrize("stepper", [JKO, ImplicitEuler], ids=lambda s: s.__name__)
def test_one_stepper_four_states(stepper, name):
    """Under V = x²/2 every one of them is scaled by 1/(1 + τ) a step: as a point, so each quantile, mean and factor."""
    state, steps, tau = FOUR[name], 3, 0.2
    scale = (1 + tau) ** -steps
    end = wf.run(wf.Potential("x**2/2"), state, dt=tau, steps=steps, stepper=stepper()).final
    assert type(end) is type(state)
    if name == "density":
        expected = wf.Gaussian(scale * np.array([0.5]), scale**2 * 0.09)
        # Implicit Euler carries the density upwind; quantiles lose no more than going to the cells and back.
        assert wf.wasserstein2(end, expected) < (3e-3 if stepper is JKO else 0.1)
    else:
        assert_allclose(end.coordinates, scale * state.coordinates, rtol=1e-11)


@pytest.mark.checklist("G9", "G15")
def test_jko_and_explicit_steps_differ_by_the_square_of_the_step():
    gaps = []
    for tau in (4e-3, 2e-3, 1e-3):
        ends = [wf.run(KL, wf.Gaussian([1.0], 4.0), dt=tau, steps=1, stepper=s).final for s in (JKO(), ExplicitEuler())]
        gaps.append(np.abs(ends[0].coordinates - ends[1].coordinates).max())
    assert_allclose(np.log2(np.divide(gaps[:-1], gaps[1:])), 2.0, atol=0.05)
    x = np.linspace(-2, 2, 9)[:, None]
    jko = wf.run(wf.Potential("x**4/4"), wf.Particles(x), dt=1e-4, steps=1, stepper=JKO()).final.positions
    assert_allclose(jko, x - 1e-4 * x**3, atol=1e-6)


@pytest.mark.parametrize("stepper", VARIATIONAL, ids=lambda s: s.__name__)
def test_clouds_that_act_on_each_other(stepper):
    """Blobs and interactions: the minimiser against perturbations, the energy at a step far beyond stability."""
    rng = np.random.default_rng(2)
    q = wf.Particles(rng.standard_normal((8, 1)), rng.uniform(0.5, 1, 8))
    F = wf.Blob(wf.PowerEntropy(2), 0.4) + wf.Interaction("x**2/2") + 0.1 * wf.Potential("x**4")
    flow = make_flow(F, q)
    for tau in (0.1, 5.0) if stepper is JKO else ():
        answer = flow.proximal(0.0, q, tau, {})
        assert answer.converged

        def merit(x, tau=tau):
            gap = q.weights @ np.sum((x - q.positions) ** 2, axis=1)
            return flow.energy(0.0, q.at(x)) + gap / (2 * tau)

        best = answer.state.positions
        assert merit(best) < merit(q.positions)
        for size in (1e-4, 1e-2, 0.3):
            assert merit(best) <= merit(best + size * rng.standard_normal(best.shape)) + 1e-13
    result = wf.run(F, q, dt=2.0, steps=3, stepper=stepper(), save="all")
    assert result.status is Status.COMPLETE
    assert never_up(result.diagnostics["energy"])


@pytest.mark.checklist("G24")
def test_length_of_a_step_is_the_metric_derivative():
    """W2 of a step over dt tends to the square root of the dissipation, ∫ q |∇δF/δq|²."""
    found = []
    for n in (400, 800):
        q = wf.Density(wf.Grid(-15, 17, n), wf.Gaussian([1.0], 4.0))
        speeds = [make_flow(KL, q).proximal(0.0, q, tau, {}).distance / tau for tau in (4e-3, 2e-3)]
        found.append(2 * speeds[1] - speeds[0])
    assert_allclose((4 * found[1] - found[0]) / 3, np.sqrt(3.25), rtol=3e-5)


# The density is zero but for the cells 1 and 6 of eight on (-2, 2).
APART = wf.Gibbs(lambda x: np.where(np.abs(np.abs(x[:, 0]) - 1.25) < 0.25, 0.0, np.inf), dim=1)
REFUSED = {
    "periodic": (wf.Entropy(), wf.Density(wf.Grid(0, 1, 8, "periodic"), np.ones(8)), {}, "no-flux"),
    "absorbing": (wf.Entropy(), wf.Density(wf.Grid(0, 1, 8, "absorbing"), np.ones(8)), {}, "no-flux"),
    "drift": (
        wf.Entropy(),
        wf.Density(wf.Grid(0, 1, 8), np.ones(8)),
        {"drift": "x"},
        "with a drift it is not the Wasserstein gradient flow",
    ),
    "estimate": (wf.Entropy(), wf.Particles([[0.0], [1.0]]), {}, "wf.Blob"),
    "box": (wf.Potential("x"), wf.Particles([[0.5]], domain=wf.Grid(0, 1, 4)), {}, "folded"),
    "mirror": (
        wf.Potential("x"),
        wf.Point([0.5]),
        {"metric": wf.metrics.Newton()},
        "metrics.Newton is not the Euclidean gradient flow",
    ),
    "natural": (KL, wf.Gaussian([0.0], 2.0), {"metric": wf.metrics.Natural()}, "metrics.Natural is not"),
    "gradients": (wf.Dirichlet(), wf.Density(wf.Grid(0, 1, 8), np.ones(8)), {}, "no value in quantiles"),
    "pairs": (
        wf.Interaction("x**2"),
        wf.Density(wf.Grid(0, 1, 2001), np.ones(2001)),
        {},
        "at most 2000 cells, got 2001",
    ),
    "two intervals": (
        wf.FDivergence("kl", APART),
        wf.Density(wf.Grid(-2, 2, 8), APART),
        {},
        "zero around -0.75 between",
    ),
    "reaction": (
        KL,
        wf.Density(wf.Grid(-2, 2, 8), np.ones(8)),
        {"metric": wf.metrics.FisherRao()},
        "metrics.FisherRao is not",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("stepper", VARIATIONAL, ids=lambda s: s.__name__)
def test_flows_without_a_step_are_refused_with_the_reason(stepper, name):
    F, state, arguments, reason = REFUSED[name]
    with pytest.raises(wf.InputError, match=reason):
        wf.run(F, state, dt=0.1, steps=1, stepper=stepper(), **arguments)
    with pytest.raises(wf.InputError, match=reason):
        make_flow(F, state, arguments.get("metric"), arguments.get("drift")).proximal(0.0, state, 0.1, {})


def test_steps_that_cannot_be_taken():
    with pytest.raises(wf.InputError, match="give dt"):
        wf.run(KL, wf.Gaussian([1.0], 4.0), t_end=1.0, stepper=JKO())
    with pytest.raises(wf.InputError, match="dt must be a positive number"):
        wf.run(KL, wf.Gaussian([1.0], 4.0), dt=-0.1, steps=1, stepper=JKO())
    with pytest.warns(wf.RunWarning):
        broken = wf.run(wf.Potential("-x**4"), wf.Point([1.0]), dt=1.0, steps=1, stepper=JKO())
    assert broken.status in (Status.SOLVER_FAILED, Status.NOT_FINITE)
    assert len(broken.states) >= 1


def test_fronts_that_meet():
    """Two patches of porous medium join; gaps between them close without mass crossing them before."""
    grid = wf.Grid(-2, 2, 80)
    q = wf.Density(grid, lambda x: np.where(np.abs(np.abs(x[:, 0]) - 0.7) < 0.5, 1.0, 0.0))
    result = wf.run(wf.PowerEntropy(2), q, dt=0.01, steps=20, stepper=JKO(), save="all")
    assert result.status is Status.COMPLETE
    middles = [state.values[39:41].sum() for state in result.states]
    assert middles[0] == 0.0
    assert middles[-1] > 0.1
    assert all(a <= b + 1e-12 for a, b in pairwise(middles))
    reference = wf.run(wf.PowerEntropy(2), q, t_end=0.2, save="ends").final
    assert np.abs(result.final.values - reference.values).sum() * grid.volume < 0.02
