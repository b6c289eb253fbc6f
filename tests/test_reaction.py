"""Fisher–Rao and Wasserstein–Fisher–Rao: closed flows, orders, laws, clouds against grids, samplers, files."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.stats import norm

import wflow as wf
from wflow import exact
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.metrics import FisherRao, Wasserstein, WassersteinFisherRao
from wflow.steppers import (
    MALA,
    OPTIMIZERS,
    RKL2,
    SSPRK3,
    TRBDF2,
    BogackiShampine,
    ExplicitEuler,
    Exponential,
    Heun,
    ImplicitEuler,
    Langevin,
    UnderdampedLangevin,
)

NAMES = ("reverse-kl", "kl", "chi2", "reverse-chi2", "hellinger", "jensen-shannon", "jeffreys", "triangular")
NORMAL = wf.Gaussian([0.0], 1.0)
KL, START = wf.FDivergence("reverse-kl", NORMAL), wf.Gaussian([1.0], 4.0)
WELLS = wf.Gibbs("(x**2 - 1)**2 + x/4", temperature=0.4)
WIDE = wf.Gibbs("(x**2 - 1)**2/4 + x/4")
GRID = wf.Grid(-2.0, 2.0, 60)
FINE = {}  # references that several steppers are held against


def rough(grid, seed=0, decades=2.0):
    return wf.Density(grid, 10 ** np.random.default_rng(seed).uniform(0, decades, grid.cells))


def never_up(energies):
    kept = energies[np.isfinite(energies)]
    return kept.size > 1 and np.all(np.diff(kept) <= 2e-13 * (1 + np.abs(kept[:-1])))


def relaxed(q, p, t):
    """q_t ∝ q^(e^-t) p^(1 - e^-t), the closed Fisher–Rao flow of reverse KL."""
    share = np.exp(-t)
    values = q**share * p ** (1 - share)
    return values / values.sum() * q.sum()


@pytest.mark.checklist("G10b")
def test_gaussians_on_a_grid_follow_the_natural_gradient():
    q = wf.Density(wf.Grid(-12, 13, 500), START)
    for stepper, tol in ((None, 1e-6), (Exponential(), 1e-3)):
        end = wf.run(KL, q, t_end=1.0, metric=FisherRao(), stepper=stepper, tol=tol, save="ends").final
        assert_allclose([end.mean[0], end.cov[0, 0] ** 0.5], exact.gaussian_kl_natural(1.0, 2.0, 1.0), atol=2e-7)
    assert_allclose(exact.gaussian_kl_natural(1.0, 2.0, 1.0), [0.1270143312, 1.1751778561], atol=1e-10)


@pytest.mark.checklist("G10b")
@pytest.mark.parametrize("stepper", [ExplicitEuler, Heun, SSPRK3, BogackiShampine], ids=lambda s: s.__name__)
def test_orders_in_log_q_against_the_closed_flow(stepper):
    """Any target: log q - log p shrinks as e^-t. Here over seven decades of q/p."""
    F, q = wf.FDivergence("reverse-kl", WELLS), wf.Density(GRID, wf.Gaussian([0.4], 0.05))
    expected = relaxed(q.values, wf.Density(GRID, WELLS).values, 0.8)
    errors = []
    for n in (32, 64):
        end = wf.run(F, q, dt=0.8 / n, steps=n, metric=FisherRao(), stepper=stepper(), save="ends").final
        errors.append(np.abs(end.values - expected).sum() * GRID.volume)
    assert abs(np.log2(errors[0] / errors[1]) - stepper.order) < 0.1


def test_the_exponential_is_exact_down_to_the_smallest_densities():
    grid = wf.Grid([-6, -2], [6, 2], (60, 20))
    F, q = wf.FDivergence("reverse-kl", wf.Gaussian([3.0, 0.0], 0.3)), wf.Density(grid, wf.Gaussian([-3.0, 0.5], 0.2))
    end = wf.run(F, q, t_end=4.0, metric=FisherRao(), stepper=Exponential(), save="ends").final.values
    expected = relaxed(q.values, wf.Density(grid, wf.Gaussian([3.0, 0.0], 0.3)).values, 4.0)
    held = q.values > 1e-300
    assert q.values[held].min() < 1e-80
    assert_allclose(end[held], expected[held], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_every_divergence_keeps_mass_and_sign_and_falls(name):
    """Fisher–Rao from rough data, and the identity dF/dt = -∫ q (ξ - ⟨ξ⟩)²."""
    F, q = wf.FDivergence(name, WIDE), rough(GRID)
    result = wf.run(F, q, t_end=1.0, metric=FisherRao(), save="all")
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() > 0
    assert never_up(result.diagnostics["energy"])
    flow, h = make_flow(F, result.final, FisherRao()), 1e-5
    rate = flow.rate(0.0, result.final)
    up, down = (flow.energy(0.0, flow.move(result.final, rate, s)) for s in (h, -h))
    assert_allclose((up - down) / (2 * h), -flow.dissipation(0.0, result.final), rtol=1e-6)


@pytest.mark.parametrize("name", [*NAMES, "entropy + V + W", "m=2 + V"])
@pytest.mark.parametrize(
    ("boundary", "stepper"), [("no-flux", None), ("periodic", ImplicitEuler())], ids=["default", "ImplicitEuler"]
)
def test_transport_with_reaction_keeps_mass_and_sign_and_falls(name, boundary, stepper):
    grid = wf.Grid(-2.0, 2.0, 24, boundary)
    F = {
        "entropy + V + W": 0.4 * wf.Entropy() + wf.Potential("x**2") + wf.Interaction("exp(-x**2)"),
        "m=2 + V": wf.PowerEntropy(2) + wf.Potential("x**2"),
    }.get(name) or wf.FDivergence(name, WIDE)
    dt = None if stepper is None else 0.2
    result = wf.run(F, rough(grid), t_end=0.6, dt=dt, metric=WassersteinFisherRao(2.0), stepper=stepper, save="all")
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() >= 0
    assert never_up(result.diagnostics["energy"])


def test_closed_flow_of_transport_with_reaction_is_that_of_its_equations():
    """m' = -m (1 + 1/l), l' = (1 - l)(1 + 2 l), integrated by SciPy."""
    answer = solve_ivp(
        lambda t, y: [-y[0] * (1 + 1 / y[1]), (1 - y[1]) * (1 + 2 * y[1])],
        (0, 0.7),
        [1.0, 0.25],
        rtol=1e-11,
        atol=1e-12,
    )
    assert_allclose(exact.gaussian_kl_both(1.0, 2.0, 0.7), [answer.y[0, -1], answer.y[1, -1] ** -0.5], rtol=1e-8)


def test_transport_with_reaction_against_the_closed_flow_order_two_in_space():
    errors = []
    for cells in (60, 120, 240):
        q = wf.Density(wf.Grid(-11, 12, cells), START)
        end = wf.run(KL, q, t_end=0.5, metric=WassersteinFisherRao(), tol=1e-5, save="ends").final
        mean, sd = exact.gaussian_kl_both(1.0, 2.0, 0.5)
        errors.append(np.abs(end.values - wf.Density(q.grid, wf.Gaussian([mean], sd**2)).values).sum() * q.grid.volume)
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1
    assert abs(np.log2(errors[1] / errors[2]) - 2) < 0.1
    assert errors[-1] < 1e-4


@pytest.mark.parametrize(
    "stepper", [ExplicitEuler, Heun, SSPRK3, BogackiShampine, RKL2, ImplicitEuler, TRBDF2], ids=lambda s: s.__name__
)
@pytest.mark.parametrize("name", ["reverse-kl", "hellinger"])
def test_orders_in_time_of_transport_with_reaction(name, stepper):
    """Strang's splitting keeps the order of steppers up to two; those of order three take the whole rate."""
    F, q = wf.FDivergence(name, NORMAL), wf.Density(wf.Grid(-2, 2, 10), wf.Gaussian([0.7], 0.5))
    if name not in FINE:
        rate = make_flow(F, q, WassersteinFisherRao(0.6)).rate
        found = solve_ivp(lambda t, y: rate(t, q.at(y)), (0, 0.4), q.values, "DOP853", rtol=1e-12, atol=1e-13)
        FINE[name] = found.y[:, -1]
    fine, errors = FINE[name], []
    for n in (32, 64):
        result = wf.run(F, q, dt=0.4 / n, steps=n, metric=WassersteinFisherRao(0.6), stepper=stepper(), save="ends")
        assert result.status is Status.COMPLETE
        errors.append(np.abs(result.final.values - fine).sum() * q.grid.volume)
    assert abs(np.log2(errors[0] / errors[1]) - stepper.order) < 0.1


def test_error_of_the_split_steps_falls_with_the_tolerance():
    F, q = wf.FDivergence("reverse-kl", WELLS), wf.Density(GRID, wf.Gaussian([-0.8], 0.1))
    fine = wf.run(F, q, dt=1 / 1000, steps=1000, metric=WassersteinFisherRao(), stepper=TRBDF2(), save="ends").final
    errors = []
    for tol in (1e-2, 1e-3, 1e-4):
        end = wf.run(F, q, t_end=1.0, metric=WassersteinFisherRao(), tol=tol, save="ends").final
        errors.append(np.abs(end.values - fine.values).sum() * GRID.volume)
        assert errors[-1] < 2 * tol
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_a_far_mode_comes_up_when_it_should_within_the_tolerance():
    """Mass from -8 to 8, where q/p is e^-256 at first: its size there, not seen in L1, decides. Error of the mass of
    the far mode at t = 4 against 0.18520, from fixed steps 0.0025; and few steps suffice."""
    F = wf.FDivergence("reverse-kl", wf.GaussianMixture([[-8.0], [8.0]], 0.5))
    q = wf.Density(wf.Grid(-12, 12, 240), wf.Gaussian([-8.0], 0.5))
    errors = []
    for tol in (1e-2, 1e-3, 1e-4):
        result = wf.run(F, q, t_end=4.0, metric=WassersteinFisherRao(), tol=tol, save="ends")
        errors.append(abs(float(result.final.values[120:].sum()) * q.grid.volume - 0.1852))
        assert errors[-1] < 10 * tol
        assert len(result.steps["dt"]) < 100
    # At the loosest there are seven steps, and the first decade depends on where they fall.
    assert errors[0] > errors[1] > 2 * errors[2]
    assert errors[0] > 8 * errors[2]


def test_both_together_are_no_slower_than_either_and_no_barrier_stops_a_reaction():
    """From one well to two, a barrier of ten temperatures between them."""
    p = wf.Gibbs("(x**2 - 1)**2", temperature=0.1)
    grid = wf.Grid(-2, 2, 100)
    F, q = wf.FDivergence("reverse-kl", p), wf.Density(grid, wf.Gaussian([-1.0], 0.02))
    energies, right = {}, {}
    for metric in (Wasserstein(), FisherRao(), WassersteinFisherRao()):
        result = wf.run(F, q, t_end=6.0, metric=metric, save=13)
        energies[type(metric)] = result.diagnostics["energy"]
        right[type(metric)] = float(result.final.values[50:].sum()) * grid.volume
    both = energies[WassersteinFisherRao]
    assert np.all(both <= energies[Wasserstein] + 1e-6)
    assert np.all(both <= energies[FisherRao] + 1e-6)
    assert right[Wasserstein] < 0.01
    assert right[WassersteinFisherRao] > 0.45


def test_equilibrium_is_at_rest():
    F = wf.FDivergence("reverse-kl", WELLS)
    q = wf.equilibrium(F, GRID)
    for metric in (FisherRao(), WassersteinFisherRao()):
        assert_allclose(wf.run(F, q, t_end=1.0, metric=metric, save="ends").final.values, q.values, rtol=1e-9)


def quantiles(n):
    return norm.ppf((np.arange(n) + 0.5) / n)[:, None]


def test_weights_in_a_potential_have_a_closed_flow():
    """w_t ∝ w_0 e^(-t V), by one explicit Euler step as by many."""
    V, weights = wf.Potential("x**2/2 + y"), np.array([1.0, 2.0, 0.0, 4.0])
    q = wf.Particles([[0.0, 1.0], [2.0, 0.0], [5.0, 5.0], [-1.0, -1.0]], weights)
    expected = weights * np.exp(-0.6 * V.field.value(q.positions))
    for stepper, steps in ((ExplicitEuler(), 1), (Heun(), 3)):
        end = wf.run(V, q, dt=0.6 / steps, steps=steps, metric=FisherRao(), stepper=stepper).final
        assert_allclose(end.weights, expected / expected.sum(), rtol=1e-14)
        assert_array_equal(end.positions, q.positions)


@pytest.mark.parametrize("metric", [FisherRao(), WassersteinFisherRao(0.7)], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("stepper", [ExplicitEuler, Heun, SSPRK3, BogackiShampine], ids=lambda s: s.__name__)
def test_orders_in_time_on_clouds(stepper, metric):
    F = wf.Potential("x**4/4") + wf.Interaction("exp(-x**2)")
    q = wf.Particles(np.linspace(-1, 2, 9)[:, None], np.arange(1.0, 10.0))

    def end(n, how):
        state = wf.run(F, q, dt=0.4 / n, steps=n, metric=metric, stepper=how, save="ends").final
        return np.concatenate([state.positions.ravel(), state.weights])

    if metric not in FINE:
        FINE[metric] = end(800, SSPRK3())
    errors = [np.abs(end(n, stepper()) - FINE[metric]).max() for n in (64, 128)]
    assert abs(np.log2(errors[0] / errors[1]) - stepper.order) < 0.05


@pytest.mark.checklist("G3")
@pytest.mark.parametrize("metric", [FisherRao(), WassersteinFisherRao(0.7)], ids=lambda m: type(m).__name__)
def test_the_energy_of_a_cloud_falls_by_its_dissipation(metric):
    F = wf.Potential("x**4/4 + y") + wf.Interaction("exp(-x**2 - y**2)") + wf.Blob(wf.PowerEntropy(2), 0.5)
    q = wf.Particles(np.random.default_rng(0).normal(size=(12, 2)), np.arange(1.0, 13.0))
    flow, h = make_flow(F, q, metric), 1e-5
    rate = flow.rate(0.0, q)
    up, down = (flow.energy(0.0, flow.move(q, rate, s)) for s in (h, -h))
    blob = make_flow(F, q, metric)
    spent = float(q.weights @ np.sum(rate[:, :-1] ** 2, axis=1) + q.weights @ rate[:, -1] ** 2 / (
        metric.reaction if isinstance(metric, WassersteinFisherRao) else 1.0))  # fmt: skip
    assert_allclose((up - down) / (2 * h), -spent, rtol=1e-7)
    assert blob.move(q, rate, 0.3).weights.sum() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("metric", [FisherRao(), WassersteinFisherRao()], ids=lambda m: type(m).__name__)
def test_clouds_follow_the_grid(metric):
    """800 weighted quantiles of N(1, 4), density by a kernel of width 0.15, whose bias the bound allows."""
    q = wf.Particles(1.0 + 2.0 * quantiles(800))
    result = wf.run(KL, q, t_end=1.0, metric=metric, estimator=0.15)
    closed = exact.gaussian_kl_natural if isinstance(metric, FisherRao) else exact.gaussian_kl_both
    assert_allclose([result.final.mean[0], result.final.cov[0, 0] ** 0.5], closed(1.0, 2.0, 1.0), atol=0.02)
    assert_allclose([s.weights.sum() for s in result.states], 1.0, atol=1e-13)
    assert result.diagnostics["effective_number"][0] == pytest.approx(800)
    assert 100 < result.diagnostics["effective_number"][-1] < 800


@pytest.mark.parametrize("stepper", [Langevin(), MALA(warmup=10)], ids=lambda s: type(s).__name__)
def test_samplers_with_birth_and_death_cross_a_barrier(stepper):
    """Mass of the right well against the grid; without a reaction it hardly changes.

    Over seeds it spreads by 0.003. What is left, -0.017 of Langevin and 0.008 of MALA, is of the first 57 particles
    beyond the barrier, from which the well fills, and of the kernel, a quarter wide: -0.003 with four times as many.
    """
    p = wf.GaussianMixture([[-3.0], [3.0]], 0.4, [0.3, 0.7])
    F, start = wf.FDivergence("reverse-kl", p), wf.Gaussian([-2.5], 2.25)
    cloud = wf.Particles(-2.5 + 1.5 * quantiles(1200))
    grid = wf.run(
        F, wf.Density(wf.Grid(-9, 9, 180), start), t_end=2.0, metric=WassersteinFisherRao(), save="ends"
    ).final
    found = {}
    for metric in (Wasserstein(), WassersteinFisherRao()):
        end = wf.run(F, cloud, dt=0.04, t_end=2.0, metric=metric, stepper=stepper, estimator=0.25, save="ends").final
        found[type(metric)] = float(end.weights[end.positions[:, 0] > 0].sum())
    expected = float(grid.values[90:].sum()) * grid.grid.volume
    assert expected > 0.5
    assert found[WassersteinFisherRao] == pytest.approx(expected, abs=0.03)
    assert found[Wasserstein] < 0.1


@pytest.mark.parametrize("metric", [FisherRao(), WassersteinFisherRao()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("stepper", OPTIMIZERS, ids=lambda s: s.__name__)
def test_optimizers_move_weights_too(stepper, metric):
    V, q = wf.Potential("x**2/2"), wf.Particles(np.linspace(-1, 3, 9)[:, None])
    result = wf.run(V, q, dt=0.05, steps=5, metric=metric, stepper=stepper(), save="all")
    assert result.status is Status.COMPLETE
    assert result.diagnostics["energy"][-1] < result.diagnostics["energy"][0]
    assert_allclose(result.final.weights.sum(), 1.0, atol=1e-14)


def test_weights_that_change_are_in_the_frames_of_a_file(tmp_path):
    q = wf.Particles([[0.0], [1.0], [2.0]])
    arguments = {"t_end": 0.5, "metric": FisherRao(), "save": 3}
    memory = wf.run(wf.Potential("x"), q, **arguments)
    file = wf.run(wf.Potential("x"), q, out=tmp_path / "a.h5", **arguments)
    again = wf.load(memory.save(tmp_path / "b.h5"))
    for result in (file, again):
        assert_array_equal([s.weights for s in result.states], [s.weights for s in memory.states])
        assert result.to_xarray()["weight"].dims == ("time", "particle")
    assert memory.to_xarray()["weight"].dims == ("time", "particle")
    assert memory.final.weights[0] > memory.final.weights[2]
    still = wf.run(wf.Potential("x"), q, t_end=0.5)
    assert still.to_xarray()["weight"].dims == ("particle",)
    assert memory != still


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: WassersteinFisherRao(0.0), "positive"),
        (lambda: wf.run(KL, START, t_end=1.0, metric=FisherRao()), "Natural"),
        (lambda: wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=1.0, metric=FisherRao()), "Density"),
        (
            lambda: wf.run(KL, rough(GRID), dt=0.1, steps=1, metric=FisherRao(), stepper=ImplicitEuler()),
            "explicit",
        ),
        (lambda: wf.run(KL, rough(GRID), t_end=1.0, metric=FisherRao(), drift=["1"]), "drift"),
        (
            lambda: wf.run(wf.Entropy(), rough(wf.Grid(0, 1, 9, "absorbing")), t_end=1.0, metric=FisherRao()),
            "absorbing",
        ),
        (
            lambda: wf.run(
                wf.FDivergence("kl", WELLS), wf.Density(GRID, wf.Uniform(-1, 1)), t_end=1.0, metric=FisherRao()
            ),
            "empty cells",
        ),
        (
            lambda: wf.run(KL, wf.Particles([[1.0], [2.0]]), dt=0.1, steps=1, metric=WassersteinFisherRao(),
                           stepper=UnderdampedLangevin(), estimator=1.0),
            "velocities",
        ),
        (
            lambda: wf.run(KL, wf.Particles([[1.0], [2.0]]), dt=0.1, steps=1, metric=FisherRao(), stepper=Langevin()),
            "Langevin form",
        ),
        (lambda: wf.run(KL, wf.Particles([[1.0], [2.0]]), t_end=1.0, metric=FisherRao(), drift=["1"]), "drift"),
        (
            lambda: wf.run(KL, wf.Particles([[1.0], [2.0]]), t_end=1.0, metric=FisherRao(),
                           estimator=wf.estimators.Stein()),
            "no density",
        ),
        (
            lambda: wf.run(KL, rough(GRID), t_end=0.1, metric=WassersteinFisherRao(), stepper=Exponential()),
            "linear",
        ),
    ],
)  # fmt: skip
def test_what_reactions_cannot_do_is_refused(call, words):
    with pytest.raises(wf.InputError, match=words):
        call()


def test_empty_cells_stay_empty_where_nothing_draws_mass_into_them():
    q = wf.Density(GRID, wf.Uniform(-1, 1))
    end = wf.run(KL, q, t_end=2.0, metric=FisherRao(), save="ends").final
    assert_array_equal(end.values == 0, q.values == 0)
    both = wf.run(KL, q, t_end=2.0, metric=WassersteinFisherRao(), save="ends").final
    assert both.values.min() > 0


def test_a_run_whose_weights_change_is_resumed_bit_for_bit(tmp_path):
    F, q = wf.Potential("x**2/2") + wf.Interaction("exp(-x**2)"), wf.Particles(quantiles(9))
    arguments = {"dt": 0.1, "t_end": 1.0, "metric": WassersteinFisherRao(), "save": "all"}
    whole = wf.run(F, q, **arguments)
    calls = []

    def breaks(time, state):
        calls.append(time)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return False

    with pytest.warns(wf.RunWarning, match="interrupted"):
        wf.run(F, q, out=tmp_path / "a.h5", stop=breaks, **arguments)
    end = wf.run(F, q, out=tmp_path / "a.h5", resume=True, stop=breaks, **arguments)
    assert end.status is Status.COMPLETE
    for one, other in zip(end.states, whole.states, strict=True):
        assert_array_equal(one.weights, other.weights)
        assert_array_equal(one.positions, other.positions)
