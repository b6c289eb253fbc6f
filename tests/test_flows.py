"""Flows: what the protocol promises of every flow — Jacobian, resolvent, damping, propagation, noise form, fluxes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

import wflow as wf
from wflow.flows import FLOWS, make_flow
from wflow.flows.convolution import convolution

GRID = wf.Grid([-1.5, -1], [1, 1.5], (6, 5))
SMOOTH = wf.Density(GRID, lambda x: 1.5 + np.sin(2 * x[:, 0] + 0.3) * np.cos(x[:, 1] + 0.2 * x[:, 0]))
TARGET = wf.Gaussian([0.2, 0.1], 0.7)
CLOUD = wf.Particles(np.random.default_rng(0).standard_normal((9, 2)), np.arange(1.0, 10.0))
CASES = {
    "linear": (wf.FDivergence("reverse-kl", TARGET), SMOOTH, None),
    "jeffreys": (wf.FDivergence("jeffreys", TARGET), SMOOTH, None),
    "porous medium": (wf.PowerEntropy(2), SMOOTH, None),
    "interaction": (wf.Entropy() + wf.Interaction("exp(-x**2 - y**2)"), SMOOTH, None),
    "upwind": (wf.PowerEntropy(2) + wf.Potential("x**2 + y"), SMOOTH, None),
    "drift": (wf.Entropy(), SMOOTH, ["-y", "x"]),
    "particles": (wf.Potential("x**4 + x*y + y**2"), CLOUD, None),
    "particles, W": (wf.Potential("x**2") + wf.Interaction("exp(-x**2 - y**2)"), CLOUD, None),
    "particles, plug-in": (wf.FDivergence("reverse-kl", TARGET), CLOUD, None),
    "gaussian": (wf.FDivergence("reverse-kl", wf.GaussianMixture([[-1, 0], [1, 1]], 0.6)), TARGET, None),
    "gaussian, drift": (wf.Potential("x**2 + y**2"), TARGET, ["-y", "x"]),
    "point": (wf.Potential("x**4 + x*y + y**2"), wf.Point([0.4, -1.0]), None),
    "point, drift": (wf.Potential("x**4 + x*y + y**2"), wf.Point([0.4, -1.0]), ["-y", "x"]),
}


def flow_of(name):
    F, state, drift = CASES[name]
    return make_flow(F, state, drift=drift), state


def test_every_flow_is_here():
    assert {type(flow_of(name)[0]) for name in CASES} == set(FLOWS)


def difference(flow, state, direction, h=1e-5):
    def rate(e):
        return flow.rate(0.0, state.at(state.coordinates + e * direction))

    return (8 * (rate(h) - rate(-h)) - (rate(2 * h) - rate(-2 * h))) / (12 * h)


@pytest.mark.parametrize("name", CASES)
def test_jacobian_is_the_derivative_of_the_rate(name):
    flow, state = flow_of(name)
    v = np.random.default_rng(1).standard_normal(state.coordinates.shape)
    measured = difference(flow, state, v)
    assert_allclose(flow.jacobian(0.0, state, v), measured, rtol=0, atol=2e-6 * np.abs(measured).max())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scale", [1e-3, 0.1])
def test_resolvent_solves_the_stage(name, scale):
    flow, state = flow_of(name)
    base = state.coordinates * (1 + 0.05 * np.cos(np.arange(state.coordinates.size)).reshape(state.coordinates.shape))
    answer = flow.resolvent(0.0, state, base, scale)
    assert answer.converged
    y = answer.state
    assert_allclose(y.coordinates - scale * flow.rate(0.0, y), base, rtol=0, atol=2e-10)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("upwind", "interaction", "drift")])
def test_smoothing_is_the_inverse_of_one_minus_the_jacobian(name):
    flow, state = flow_of(name)
    v = np.random.default_rng(2).standard_normal(state.coordinates.shape)
    if isinstance(state, wf.Density):
        v -= v.mean()
    damped = flow.smooth(0.0, state, v, 0.05)
    back = damped - 0.05 * flow.jacobian(0.0, state, damped)
    assert_allclose(back, v, rtol=0, atol=2e-3 * np.abs(v).max())


@pytest.mark.parametrize("name", CASES)
def test_spectral_radius_bounds_the_jacobian(name):
    flow, state = flow_of(name)
    size, shape = state.coordinates.size, state.coordinates.shape
    columns = [flow.jacobian(0.0, state, e.reshape(shape)).ravel() for e in np.eye(size)]
    true = np.abs(np.linalg.eigvals(np.stack(columns, axis=1))).max()
    found = flow.spectral_radius(0.0, state)
    assert found >= 0.9 * true
    assert found <= 20 * true + 1.0


def test_propagate_is_the_matrix_exponential():
    flow, state = flow_of("linear")
    columns = [flow.rate(0.0, state.at(e.reshape(GRID.cells))).ravel() for e in np.eye(30)]
    for dt in (1e-3, 0.1, 5.0):
        answer = flow.propagate(state, dt)
        exactly = expm(dt * np.stack(columns, axis=1)) @ state.values.ravel()
        assert_allclose(answer.state.values.ravel(), exactly, rtol=1e-9)
    with pytest.raises(wf.InputError, match="linear"):
        flow_of("jeffreys")[0].propagate(SMOOTH, 0.1)


@pytest.mark.checklist("G16")
def test_the_two_point_flux_by_hand():
    """-∂q/∂t of a cell: Σ over its faces of p at the face (Φ_i - Φ_j)/h², walls closed."""
    F = wf.FDivergence("reverse-chi2", TARGET)
    flow = make_flow(F, SMOOTH)
    norm = wf.Density(GRID, TARGET).values.flat[0] / TARGET.density(GRID.points()[:1])[0]
    p = wf.Density(GRID, TARGET).values
    pressure = (SMOOTH.values / p) ** 2
    expected = np.zeros(GRID.cells)
    for axis, h in enumerate(GRID.spacing):
        face = norm * TARGET.density(GRID.faces(axis)).reshape(GRID.face_shape(axis))
        inner = np.take(face, np.arange(1, GRID.cells[axis]), axis=axis)
        flux = inner * np.diff(pressure, axis=axis) / h**2
        wide = [(1, 1) if a == axis else (0, 0) for a in range(2)]
        expected += np.diff(np.pad(flux, wide), axis=axis)
    assert_allclose(flow.rate(0.0, SMOOTH), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic", ("periodic", "no-flux")])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_convolution_is_the_direct_sum(boundary, axis):
    grid = wf.Grid([-1.5, -1], [1, 1.5], (6, 5), boundary)
    W = wf.Interaction("exp(-x**2 - 2*y**2) + x**2*y**2").field
    found = convolution(grid, W, axis)(SMOOTH.values)
    places = grid.points() if axis is None else grid.faces(axis)
    z = places[:, None, :] - grid.points()[None, :, :]
    for k in range(2):
        if grid.periodic[k]:
            length = grid.upper[k] - grid.lower[k]
            z[..., k] -= length * np.round(z[..., k] / length - 1e-12)
    direct = W.value(z.reshape(-1, 2)).reshape(len(places), -1) @ SMOOTH.values.ravel() * grid.volume
    shape = grid.cells if axis is None else grid.face_shape(axis)
    assert_allclose(found, direct.reshape(shape), rtol=1e-12, atol=1e-13)


@pytest.mark.checklist("G22")
@pytest.mark.parametrize(
    ("F", "temperature", "drift"),
    [
        (wf.FDivergence("reverse-kl", TARGET), 1.0, lambda x: TARGET.score(x)),
        (0.5 * wf.Entropy() + wf.Potential("x**4/4 + y"), 0.5, lambda x: -np.stack([x[:, 0] ** 3, 1 + 0 * x[:, 0]], 1)),
        (
            2 * wf.FDivergence("reverse-kl", TARGET) + 0.3 * wf.Entropy() + wf.Potential("x"),
            2.3,
            lambda x: 2 * TARGET.score(x) - [1.0, 0.0],
        ),
    ],
)
def test_the_noisy_form(F, temperature, drift):
    """dx = drift dt + sqrt(2 T) dW with drift = T ∇ log of the invariant density."""
    flow = make_flow(F, CLOUD)
    assert flow.temperature() == pytest.approx(temperature)
    assert_allclose(flow.drift(0.0, CLOUD), drift(CLOUD.positions), rtol=1e-12)
    h = 1e-5
    for axis in range(2):
        e = h * np.eye(2)[axis]
        logs = [flow.log_density(0.0, CLOUD.at(CLOUD.positions + s * e)) for s in (1, -1)]
        assert_allclose(
            temperature * (logs[0] - logs[1]) / (2 * h), flow.drift(0.0, CLOUD)[:, axis], rtol=1e-7, atol=1e-7
        )


def test_a_cloud_without_such_a_form_says_so():
    with pytest.raises(wf.InputError, match="Langevin"):
        make_flow(wf.PowerEntropy(2), CLOUD).temperature()


@pytest.mark.parametrize("name", ["point", "gaussian"])
def test_proximal_is_the_minimiser(name):
    """Against random neighbours of every size, and by its decrease."""
    flow, state = flow_of(name)
    tau, rng = 0.3, np.random.default_rng(0)
    best = flow.proximal(0.0, state, tau, {}).state

    def merit(s):
        return flow.energy(0.0, s) + np.sum((s.coordinates - state.coordinates) ** 2) / (2 * tau)

    assert merit(best) < merit(state)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(20):
            other = best.at(best.coordinates + size * rng.standard_normal(best.coordinates.shape))
            assert merit(best) <= merit(other) + 1e-13
