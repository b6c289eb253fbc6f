"""The JKO step on grids of two axes: closed forms, laws, the dual's own optimality, refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_laws import box, functional

import wflow as wf
from wflow import exact
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.flows.jko_plane import Response
from wflow.linalg.envelope import blur, climb, envelope, sharpen
from wflow.steppers import JKO, ImplicitEuler, VariationalBDF2

KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0))
DIVERGENCES = ("reverse-kl", "kl", "chi2", "reverse-chi2", "hellinger", "jensen-shannon", "jeffreys", "triangular")
SMOOTH = (*DIVERGENCES, "alpha 2", "entropy", "m=2", "m=1/2", "q**2 + q**3", "0.3 entropy + V")


def wide(n):
    return wf.Density(wf.Grid([-11.0, -11.0], [13.0, 13.0], n), wf.Gaussian([1.0, 1.0], 4.0))


@pytest.mark.checklist("G14")
def test_gaussian_closed_form_as_a_product():
    """Mean 1/1.1 and standard deviation 1.8668776139 along both axes; the dual is solved to 1e-6 of the mass."""
    q = wide(64)
    result = wf.run(KL, q, dt=0.1, steps=1, stepper=JKO())
    end = result.final
    assert result.status is Status.COMPLETE
    assert_allclose(end.mean, 1 / 1.1, rtol=0, atol=1e-5)
    assert_allclose(np.sqrt(np.diag(end.cov)), 1.8668776139, rtol=0, atol=1e-5)
    assert_allclose(end.cov[0, 1], 0.0, rtol=0, atol=1e-5)
    assert_allclose(result.steps["distance"], np.sqrt(2) * np.hypot(1 - 1 / 1.1, 2 - 1.8668776139), rtol=1e-5)
    law = wf.Density(q.grid, wf.Gaussian([1 / 1.1] * 2, 1.8668776139**2))
    assert np.abs(end.values - law.values).sum() * q.grid.volume < 1e-3


@pytest.mark.checklist("G14")
def test_order_one_towards_the_flow():
    errors = []
    for steps in (4, 8):
        end = wf.run(KL, wide(48), dt=0.4 / steps, steps=steps, stepper=JKO(), save="ends").final
        errors.append(abs(end.cov[0, 0] - exact.ornstein_uhlenbeck([1.0], 4.0, 0.4)[1]))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("name", SMOOTH)
def test_mass_sign_decay_and_optimality(name):
    """Every functional of the form ∫ p φ(q/p); better than implicit Euler and than the state, by the dual's own W2."""
    grid, tau = wf.Grid([-1.0, -1.0], [1.0, 1.0], 16), 0.01
    q = wf.Density(grid, lambda x: 1.2 + 0.5 * np.cos(np.pi * x[:, 0] / 2 + 1) * np.cos(np.pi * x[:, 1]))
    F = functional(name, 2)
    result = wf.run(F, q, dt=tau, steps=3, stepper=JKO(), save="all")
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() > 0.0
    moved = result.steps["distance"] ** 2 / (2 * tau)
    assert np.all(result.diagnostics["energy"][:-1] - result.diagnostics["energy"][1:] > moved)
    implicit = wf.run(F, q, dt=tau, steps=1, stepper=ImplicitEuler()).final
    moved = np.abs(q.values - result.states[1].values).sum()
    assert np.abs(implicit.values - result.states[1].values).sum() < 0.2 * moved


@pytest.mark.checklist("G27")
def test_no_gap_between_the_transport_and_its_dual():
    """Σ m e(ξ) - Σ ρ ξ, the dual of Kantorovich, is the cost of the map; perturbed potentials give less."""
    q, tau = wide(48), 0.1
    m, kappa = q.values * q.grid.volume, q.grid.spacing**2 / tau
    flow = make_flow(KL, q)
    law = Response(flow._form.generator, flow._form.log_cells + np.log(q.grid.volume), 1.0)
    answer = climb(law, m, kappa, law.potential(m), 1e-7)
    assert answer.converged
    rho = law.density(answer.values)
    centers = np.moveaxis(np.indices(m.shape), 0, -1) + 0.5

    def dual(xi):
        return float(np.sum(m * envelope(xi, kappa, m)[0]) - np.sum(rho * xi))

    cost = 0.5 * float(np.sum(m[..., None] * kappa * (answer.to - centers) ** 2))
    assert_allclose(dual(answer.values), cost, rtol=1e-4)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1):
        bump = size * np.cos(rng.uniform(0.1, 0.5) * centers[..., 0]) * np.cos(rng.uniform(0.1, 0.5) * centers[..., 1])
        assert dual(answer.values + bump) < cost


def test_splines_and_their_coefficients():
    values = np.random.default_rng(1).standard_normal((7, 5))
    assert_allclose(blur(sharpen(values)), values, atol=1e-14)
    assert_allclose(sharpen(np.full((4, 4), 3.0)), 3.0, rtol=1e-14)


@pytest.mark.checklist("G16")
def test_porous_medium_against_barenblatt():
    errors = []
    for n in (32, 64):
        fine = wf.Grid([-3.0, -3.0], [3.0, 3.0], 4 * n)
        start, end = (
            exact.barenblatt(fine.points(), t, 2.0).reshape(n, 4, n, 4).mean(axis=(1, 3)) for t in (1.0, 1.0125)
        )
        q = wf.Density(wf.Grid([-3.0, -3.0], [3.0, 3.0], n), start, normalize=False)
        result = wf.run(wf.PowerEntropy(2), q, dt=0.0125, steps=1, stepper=JKO())
        assert result.status is Status.COMPLETE
        assert_allclose(result.final.mass, q.mass, rtol=1e-13)
        assert result.diagnostics["energy"][-1] < result.diagnostics["energy"][0]
        errors.append(np.abs(result.final.values - end).sum() * q.grid.volume)
    moved = np.abs(start - end).sum() * q.grid.volume
    assert errors[1] < 0.05 * moved
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(
    ("F", "grid", "reason"),
    [
        (wf.Entropy(), wf.Grid([0, 0], [1, 1], 4, "periodic"), "no-flux"),
        (wf.Entropy(), wf.Grid([0, 0, 0], [1, 1, 1], 4), "one or two axes"),
        (wf.Entropy(), wf.Grid([0, 0], [1, 1], [8, 1]), "3 cells along either axis"),
        (wf.Entropy(), wf.Grid([0, 0], [1, 1], [2, 8]), "3 cells along either axis"),
        (wf.PowerEntropy(2) + wf.Potential("x"), wf.Grid([0, 0], [1, 1], 4), "from one target"),
        (wf.Entropy() + wf.Interaction("x**2 + y**2"), wf.Grid([0, 0], [1, 1], 4), "from one target"),
    ],
    ids=["periodic", "3-D", "one cell", "two cells", "no form", "interaction"],
)
def test_what_has_no_step_is_refused(F, grid, reason):
    with pytest.raises(wf.InputError, match=reason):
        wf.run(F, wf.Density(grid, np.ones(grid.cells)), dt=0.1, steps=1, stepper=JKO())


def test_second_order_needs_a_flat_metric_and_failures_are_said():
    q = wf.Density(box(2), np.random.default_rng(0).uniform(0.1, 10, box(2).cells))
    with pytest.raises(wf.InputError, match="metric is flat"):
        wf.run(wf.Entropy(), q, dt=0.1, steps=1, stepper=VariationalBDF2())
    with pytest.warns(wf.RunWarning, match="did not converge"):
        assert wf.run(wf.PowerEntropy(2), q, dt=10.0, steps=1, stepper=JKO()).status is Status.SOLVER_FAILED
