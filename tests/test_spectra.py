"""Equilibria, slowest rates and modes, committors and first-passage times."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

import wflow as wf
from wflow.flows import make_flow
from wflow.linalg import network
from wflow.linalg.multigrid import Operator
from wflow.spectra import committor, equilibrium, first_passage_time, spectrum

WELL, SOFT = "(x**2 - 1)**2", "x**4/4 - x**2/2"
# V, ε, gap of ∂q = (q V')' + ε q'' on the whole line, half of the box.
GAPS = (
    (WELL, 1.0, 0.748681672349, 3.0),
    (WELL, 0.5, 0.227273301008, 2.6),
    (WELL, 0.25, 0.029779593309, 2.4),
    (WELL, 0.1, 7.835709e-5, 2.0),
    (SOFT, 1.0, 0.792088426580, 4.5),
    (SOFT, 0.5, 0.422944645398, 3.8),
    (SOFT, 0.25, 0.187170418087, 3.3),
    (SOFT, 0.1, 0.0335452873079, 2.7),
)


def well(temperature, text=WELL):
    """ε ∫ q log q + ∫ V q."""
    return temperature * wf.Entropy() + wf.Potential(text)


@pytest.mark.parametrize(("text", "temperature", "gap", "half"), GAPS)
def test_spectral_gaps_of_double_wells(text, temperature, gap, half):
    for cells, error in ((128, 1e-3), (1024, 1e-5)):
        rates = spectrum(well(temperature, text), wf.Grid(-half, half, cells), k=2).rates
        assert rates[0] == 0.0
        assert rates[1] == pytest.approx(gap, rel=error)


def test_rates_are_of_order_two_in_space():
    errors = [
        abs(spectrum(well(0.5), wf.Grid(-2.6, 2.6, cells), k=2).rates[1] - 0.227273301008) for cells in (64, 128, 256)
    ]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - 2.0) < 0.1)


def test_ornstein_uhlenbeck_rates_are_whole_numbers():
    functional = wf.FDivergence("reverse-kl", wf.Gaussian(0.0, 1.0))
    assert spectrum(functional, wf.Grid(-9.0, 9.0, 256), k=5).rates == pytest.approx(np.arange(5), abs=1e-4)


def test_modes_are_orthonormal_and_those_of_the_oscillator():
    grid = wf.Grid(-8.0, 8.0, 512)
    result = spectrum(wf.Entropy() + wf.Potential("x**2/2"), grid, k=4)
    q, x = result.equilibrium.values, grid.centers[0]
    products = (result.modes / q) @ result.modes.T * grid.volume
    assert np.allclose(products, np.eye(4), atol=1e-10)
    hermite = np.stack([np.ones_like(x), x, (x**2 - 1) / np.sqrt(2), (x**3 - 3 * x) / np.sqrt(6)]) * q
    signs = np.sign((hermite * result.modes / q).sum(axis=1))
    assert signs[0] == 1.0
    assert np.abs(result.modes - signs[:, None] * hermite).max() < 1e-3


@pytest.mark.parametrize("direct", [True, False])
def test_rates_of_sums_are_sums_of_rates(direct, monkeypatch):
    if not direct:
        monkeypatch.setattr(network, "LARGEST", 0.0)
    first = spectrum(well(0.1), wf.Grid(-2.2, 2.2, 40), k=6).rates
    second = spectrum(well(0.1, "2*x**2"), wf.Grid(-2.0, 2.0, 30), k=4).rates
    both = np.sort((first[:, None] + second).ravel())[:6]
    grid = wf.Grid([-2.2, -2.0], [2.2, 2.0], (40, 30))
    rates = spectrum(well(0.1, "(x**2 - 1)**2 + 2*y**2"), grid, k=6).rates
    assert rates == pytest.approx(both, rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("direct", [True, False])
def test_multiple_rates_are_all_found(direct, monkeypatch):
    if not direct:
        monkeypatch.setattr(network, "LARGEST", 0.0)
    grid = wf.Grid([-5.0] * 3, [5.0] * 3, 12, ["no-flux", "periodic", "absorbing"])
    axes = [wf.Grid(-5.0, 5.0, 12, kind) for kind in ("no-flux", "periodic", "absorbing")]
    parts = [spectrum(wf.Entropy() + wf.Potential("x**2/2"), axis, k=5).rates for axis in axes]
    sums = np.sort([sum(rates) for rates in itertools.product(*parts)])[:8]
    rates = spectrum(wf.Entropy() + wf.Potential("(x**2 + y**2 + z**2)/2"), grid, k=8).rates
    assert rates == pytest.approx(sums, rel=1e-8)
    assert rates[0] > 0.0
    ball = spectrum(wf.Entropy() + wf.Potential("(x**2 + y**2 + z**2)/2"), wf.Grid([-5.0] * 3, [5.0] * 3, 12), k=10)
    steps = np.diff(ball.rates)
    assert np.flatnonzero(steps > 1e-7).tolist() == [0, 3, 6]  # 0 | 1, 1, 1 | xy, xz, yz | xx, yy, zz


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("reverse-kl", 1.0),
        ("kl", 1.0),
        ("chi2", 2.0),
        ("reverse-chi2", 2.0),
        ("hellinger", 0.5),
        ("jensen-shannon", 0.25),
        ("jeffreys", 2.0),
        ("triangular", 1.0),
    ],
)
def test_divergences_relax_at_their_curvature_times_the_gap(name, factor):
    target = wf.Gibbs(WELL, temperature=0.5)
    grid = wf.Grid(-2.6, 2.6, 512)
    rates = spectrum(wf.FDivergence(name, target), grid, k=3).rates
    assert rates[1] == pytest.approx(factor * 0.227273301008 / 0.5, rel=1e-4)
    assert rates == pytest.approx(factor * spectrum(wf.FDivergence("reverse-kl", target), grid, k=3).rates, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "numbers"), [("no-flux", (0, 1, 2)), ("periodic", (0, 2, 2)), ("absorbing", (1, 2, 3))]
)
def test_rates_of_heat_in_a_box(kind, numbers):
    errors = []
    for cells in (32, 64):
        result = spectrum(wf.Entropy(), wf.Grid(0.0, 1.0, cells, kind), k=3)
        errors.append(np.abs(result.rates - np.pi**2 * np.array(numbers) ** 2)[-1])
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)
    if kind == "absorbing":
        shape = np.sin(np.pi * result.equilibrium.grid.centers[0]) * np.pi / 2
        assert np.abs(result.equilibrium.values - shape).max() < 1e-2


def test_a_mode_decays_under_the_flow_at_its_rate():
    functional, grid = well(0.25), wf.Grid(-2.4, 2.4, 64)
    result = spectrum(functional, grid, k=3)
    bump = 0.1 * result.modes[1]
    start = wf.Density(grid, result.equilibrium.values + bump, normalize=False)
    final = wf.run(functional, start, t_end=20.0, tol=1e-8, save="ends", stepper=wf.steppers.Exponential()).final
    expected = result.equilibrium.values + np.exp(-20.0 * result.rates[1]) * bump
    assert np.abs(final.values - expected).max() < 1e-8


@pytest.mark.parametrize("temperature", [0.1, 0.01, 0.0025])
def test_tiny_rates_keep_their_digits(temperature):
    # Half of the mass of a well crosses: rate × mean first-passage time to the top = 1 up to exponentially small terms.
    functional, grid = well(temperature), wf.Grid(-1.8, 1.8, 720)  # the ends lie below exp(-690)
    result = spectrum(functional, grid, k=3)
    time = first_passage_time(functional, grid, lambda x: x[:, 0] > 0.0)
    q, left = result.equilibrium.values, (grid.centers[0] < 0.0) & np.isfinite(time)
    product = result.rates[1] * (time * q)[left].sum() / q[left].sum()
    assert product == pytest.approx(1.0, rel=1e-3 if temperature == 0.1 else 1e-9)
    assert result.rates[2] > 1.0


def test_mass_in_one_well_crosses_at_the_slowest_rate():
    grid = wf.Grid([-2.2, -2.0], [2.2, 2.0], 48)
    functional = well(0.1, "(x**2 - 1)**2 + 2*y**2")
    inside = equilibrium(functional, grid).values * (grid.centers[0][:, None] < 0.0)
    result = wf.run(functional, wf.Density(grid, inside), t_end=1e5, save=11, tol=1e-8)
    left = np.array([state.values[:24].sum() * grid.volume for state in result.states])
    rate = -np.polyfit(result.times[1:8], np.log(left[1:8] - 0.5), 1)[0]
    assert rate == pytest.approx(7.835709e-5, rel=1e-2)
    assert abs(result.final.mass - 1.0) < 1e-12


def test_porous_medium_in_a_harmonic_well_has_legendre_rates():
    # q = (μ - x²)₊/2: the linearised flow is ((μ - x²) w')' = -rate w, with rates l (l + 1).
    rates = spectrum(wf.PowerEntropy(2) + wf.Potential("x**2"), wf.Grid(-1.5, 1.5, 800), k=4).rates
    assert rates == pytest.approx([0.0, 2.0, 6.0, 12.0], rel=0.01, abs=1e-12)
    # A tail of entropy takes the free boundary away; the mean relaxes at V'' whatever the energy.
    smooth = wf.Entropy() + wf.PowerEntropy(2) + wf.Potential("x**2/2")
    errors = [spectrum(smooth, wf.Grid(-6.0, 6.0, n), k=2).rates[1] - 1.0 for n in (50, 100)]
    assert abs(errors[1]) < 2e-5


def test_rates_with_interactions():
    # Attraction x²/2 holds the shape, not the place: Gaussian with rates 0 (mass), 0 (mean), 2, 3, ...
    grid = wf.Grid(-7.0, 7.0, 256)
    result = spectrum(wf.Entropy() + wf.Interaction("x**2/2"), grid, k=4)
    assert result.rates == pytest.approx([0.0, 0.0, 2.0, 3.0], abs=1e-3)
    # A uniform density on a ring under W = -c cos x: k² (1 - c/2) at k = 1, k² beyond; unstable for c > 2.
    ring = wf.Grid(0.0, 2 * np.pi, 128, "periodic")
    rates = spectrum(wf.Entropy() + wf.Interaction("-3*cos(x)"), ring, k=5).rates
    assert rates == pytest.approx([-0.5, -0.5, 0.0, 4.0, 4.0], abs=4e-3)
    moved = wf.Density(ring, lambda x: 1.0 + 0.1 * np.cos(x[:, 0]))
    stable = equilibrium(wf.Entropy() + wf.Interaction("-3*cos(x)"), ring, start=moved)
    assert spectrum(wf.Entropy() + wf.Interaction("-3*cos(x)"), ring, k=3, at=stable).rates.min() > -1e-9


def test_walls_part_the_support():
    def log_density(x):
        return np.where(np.abs(x[:, 0]) < 0.25, -np.inf, 0.0)

    target = wf.Gibbs(lambda x: -log_density(x), dim=1)
    grid = wf.Grid(-1.0, 1.0, 80)
    functional = wf.FDivergence("reverse-kl", target)
    rates = spectrum(functional, grid, k=4).rates
    assert rates[:2].tolist() == [0.0, 0.0]
    assert rates[2:] == pytest.approx((np.pi / 0.75) ** 2, rel=1e-2)
    ends = (lambda x: x[:, 0] < -0.9, lambda x: x[:, 0] < -0.3)
    time = first_passage_time(functional, grid, ends[0])
    assert np.isinf(time[60])
    assert np.isnan(time[40])
    assert np.isnan(committor(functional, grid, ends[0], lambda x: (x[:, 0] > -0.3) & (x[:, 0] < -0.2))[60])


REST = (
    (wf.PowerEntropy(2) + wf.Potential("x**2"), None),
    (wf.PowerEntropy(3) + wf.Potential("x**4 - x**2"), None),
    (wf.PowerEntropy(0.5) + wf.Potential("x**2"), None),
    (wf.InternalEnergy("q*log(q) + q**3") + wf.Potential("x**2"), None),
    (0.2 * wf.Entropy() + wf.PowerEntropy(2) + wf.Potential("x**2"), None),
    (wf.PowerEntropy(1.5) + wf.Potential("5*(x**2 - 1)**2"), None),
    (wf.FDivergence("kl", wf.Gaussian(0.0, 1.0)) + wf.FDivergence("chi2", wf.Gaussian(1.0, 1.0)), None),
    (wf.FDivergence("hellinger", wf.Gaussian(0.0, 1.0)), None),
    (wf.Entropy() + wf.Interaction("x**2/2"), None),
    (0.1 * wf.Entropy() + wf.Potential(SOFT) + wf.Interaction("x**2"), 0.7),
    (0.05 * wf.Entropy() + wf.Potential("x**2") + wf.Interaction("20*exp(-x**2)"), 0.5),  # a full step overshoots
    (wf.PowerEntropy(2) + wf.Interaction("-2*exp(-x**2)"), 0.5),
    (wf.PowerEntropy(2) + wf.Potential("x**2/10") + wf.Interaction("-2*exp(-x**2)"), 0.5),
)


@pytest.mark.parametrize(("functional", "mean"), REST)
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_equilibria_are_at_rest(functional, mean, mass):
    grid = wf.Grid(-3.0, 3.0, 120)
    start = None if mean is None else wf.Density(grid, wf.Gaussian(mean, 0.3))
    q = equilibrium(functional, grid, mass=mass, start=start)
    flow = make_flow(functional, q)
    assert abs(q.mass / mass - 1.0) < 1e-14
    assert np.abs(flow.rate(0.0, q)).sum() * grid.volume < 1e-10
    xi = flow.variation.slope(0.0, q.values)
    filled = q.values > 1e-200
    assert np.ptp(xi[filled]) < 1e-8 * (1.0 + np.abs(xi[filled]).max())
    if not filled.all():
        assert xi[~filled].min() >= xi[filled].max() - 1e-10
    uniform = wf.Density(grid, np.full(120, mass / 6.0), normalize=False)
    assert wf.energy(functional, q) < wf.energy(functional, uniform)


def test_a_step_from_equilibrium_changes_nothing():
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 24)
    for functional in (wf.PowerEntropy(2) + wf.Potential("x**2 + 2*y**2"), well(0.3, "(x**2 - 1)**2 + y**2")):
        q = equilibrium(functional, grid)
        after = wf.run(functional, q, dt=0.1, steps=1, stepper=wf.steppers.ImplicitEuler()).final
        assert np.abs(after.values - q.values).sum() * grid.volume < 1e-10


def test_barenblatt_profile():
    # φ'(q) + V = μ with φ' = 2 q, V = x²: q = (μ - x²)₊/2, mass 2 μ^(3/2)/3 = 1.
    grid = wf.Grid(-2.0, 2.0, 800)
    q = equilibrium(wf.PowerEntropy(2) + wf.Potential("x**2"), grid)
    exact = np.maximum(1.5 ** (2 / 3) - grid.centers[0] ** 2, 0.0) / 2
    assert np.abs(q.values - exact).max() < 1e-5


def test_the_start_chooses_among_critical_points():
    functional = 0.1 * wf.Entropy() + wf.Potential(SOFT) + wf.Interaction("x**2")
    grid = wf.Grid(-3.0, 3.0, 120)
    ends = [equilibrium(functional, grid, start=wf.Density(grid, wf.Gaussian(m, 0.2))) for m in (-0.7, 0.0, 0.7)]
    assert [round(float(q.mean[0]), 2) for q in ends] == [-0.96, 0.0, 0.96]
    saddle, stable = spectrum(functional, grid, 3, at=ends[1]).rates, spectrum(functional, grid, 3, at=ends[2]).rates
    assert saddle[0] < -0.1
    assert stable.min() > -1e-9
    assert stable[1] > 1.0


LINE = "(x**2 - 1)**2 + 0.3*x"


def passage_errors(temperature, cells):
    """Largest errors of the committor and, over its largest value, of the passage time; sets end on faces."""
    grid, functional = wf.Grid(-2.0, 2.0, cells), well(temperature, LINE)
    first, last = -0.9, 0.85
    h = committor(functional, grid, lambda x: x[:, 0] < first, lambda x: x[:, 0] > last)
    tau = first_passage_time(functional, grid, lambda x: x[:, 0] > last)
    x = np.linspace(-2.0, last, 200 * 57 + 1)
    weight = np.exp(((x**2 - 1) ** 2 + 0.3 * x + 0.4) / temperature)
    half = 0.5 * np.diff(x)
    between = x[1:] > first + 1e-9  # sums from `first` on: what lies before would drown them
    up = np.concatenate([[0.0], np.cumsum(np.where(between, half * (weight[1:] + weight[:-1]), 0.0))])
    below = np.concatenate([[0.0], np.cumsum(half * (1 / weight[1:] + 1 / weight[:-1]))])
    inner = weight * below / temperature
    after = np.concatenate([np.cumsum((half * (inner[1:] + inner[:-1]))[::-1])[::-1], [0.0]])
    c = grid.centers[0]
    inside, before = (c > first) & (c < last), c < last
    exact = np.interp(c, x, up / up[-1])
    exact_time = np.interp(c, x, after)
    return np.abs(h - exact)[inside].max(), np.abs(tau - exact_time)[before].max() / after.max()


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_passage_against_quadrature_at_order_two(temperature):
    # Gardiner, Handbook of Stochastic Methods (2004), sections 5.2.7 and 5.2.8.
    coarse, fine = np.array(passage_errors(temperature, 160)), np.array(passage_errors(temperature, 320))
    assert np.all(np.abs(np.log2(coarse / fine) - 2.0) < 0.1)
    assert np.all(fine < 1e-2 * temperature)


def test_time_to_leave_an_interval():
    grid = wf.Grid(0.0, 1.0, 80, "absorbing")
    x = grid.centers[0]
    assert np.abs(first_passage_time(0.5 * wf.Entropy(), grid) - x * (1 - x)).max() < 2e-4
    half = wf.Grid(0.0, 1.0, 80, [("no-flux", "absorbing")])
    assert np.abs(first_passage_time(wf.Entropy(), half) - (1 - x**2) / 2).max() < 1e-4


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.02, 0.008])
def test_passage_in_two_dimensions_is_that_of_the_line(temperature):
    # Sets and drift in x alone: nothing depends on y. At 0.008 the wells hold 1e60 times what the tops do.
    line, plane = wf.Grid(-2.0, 2.0, 80), wf.Grid([-2.0, -1.0], [2.0, 1.0], (80, 24))
    text = "x**2*(x**2 - 2.25)**2/1.5 + 0.1*x"
    flat, full = well(temperature, text), well(temperature, text + " + 2*y**2")
    a, b = (lambda x: x[:, 0] < -1.35), (lambda x: x[:, 0] > 1.35)
    expected, found = committor(flat, line, a, b), committor(full, plane, a, b)
    times, expected_times = first_passage_time(full, plane, b), first_passage_time(flat, line, b)
    for values, known in ((found, expected), (times, expected_times)):
        live = np.isfinite(values)  # corners below exp(-690) are left out
        assert live.mean() > 0.9
        assert np.allclose(values[live], (known[:, None] + 0 * values)[live], rtol=1e-7, atol=0.0)


def test_weights_too_wide_for_a_large_grid_are_refused(monkeypatch):
    monkeypatch.setattr(network, "LARGEST", 0.0)
    plane = wf.Grid([-2.0, -1.0], [2.0, 1.0], (80, 24))
    cold = well(0.01, "x**2*(x**2 - 2.25)**2/1.5 + 0.1*x + 2*y**2")
    a, b = (lambda x: x[:, 0] < -1.35), (lambda x: x[:, 0] > 1.35)
    with pytest.raises(wf.InputError, match="orders of magnitude"):
        committor(cold, plane, a, b)
    with pytest.raises(wf.InputError, match="orders of magnitude"):
        first_passage_time(cold, plane, b)


def test_muller_brown_agrees_with_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "experiments"))
    numbers = importlib.import_module("muller_brown").main(cells=36, out=tmp_path)
    assert numbers["rates"][1] == pytest.approx(1.5556, rel=5e-3)  # at 128² 1.55563
    assert numbers["crossings over rate"] == pytest.approx(1.0, abs=0.02)
    assert numbers["weight over rate"] == pytest.approx(1.0, abs=1e-2)
    assert numbers["energy over 2 rate"] == pytest.approx(1.0, abs=1e-2)
    assert numbers["mass error"] < 1e-12
    # The movie is a GIF where there is no ffmpeg.
    assert {path.stem for path in tmp_path.iterdir()} == {"answers", "flow", "decay"}
    assert {path.suffix for path in tmp_path.iterdir()} - {".mp4", ".gif"} == {".png", ".h5"}


def test_committor_and_its_opposite_add_up_on_a_ring():
    grid = wf.Grid([0.0, 0.0], [1.0, 1.0], (30, 20), ["periodic", "no-flux"])
    a, b = np.zeros(grid.cells, bool), np.zeros(grid.cells, bool)
    a[:3, :5], b[20:24, 9:] = True, True
    functional = 0.2 * wf.Entropy() + wf.Potential("sin(6.283185307179586*x) + y**2")
    there, back = committor(functional, grid, a, b), committor(functional, grid, b, a)
    assert np.abs(there + back - 1.0).max() < 1e-10
    assert np.all(there[a] == 0.0)
    assert np.all(there[b] == 1.0)
    assert 0.0 < there[10, 10] < 1.0


def test_elimination_solves_every_box():
    rng = np.random.default_rng(3)
    for shape in ((1, 1, 7), (1, 9, 13), (1, 2, 2), (5, 7, 6)):
        for wraps in itertools.product((False, True), repeat=3):
            faces = [rng.random(tuple(n + (a == axis) for a, n in enumerate(shape))) for axis in range(3)]
            for axis, face in enumerate(faces):
                if wraps[axis]:
                    np.moveaxis(face, axis, 0)[-1] = np.moveaxis(face, axis, 0)[0]
            system = Operator(0.1 + rng.random(shape), *faces, wraps)
            rhs, product = rng.random(shape), np.empty(shape)
            system.apply(network.factorise(system).solve(rhs), product)
            assert np.abs(product - rhs).max() < 1e-12


GRID, BOX = wf.Grid(-2.0, 2.0, 20), wf.Grid(-2.0, 2.0, 20, "absorbing")
LEFT = np.arange(20) < 5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: equilibrium(wf.Potential("x**2"), GRID), "Dirac"),
        (lambda: equilibrium(wf.Interaction("x**2"), GRID), "Dirac"),
        (lambda: equilibrium(well(1.0), BOX), "all mass leaves"),
        (lambda: equilibrium(well(1.0, "x**2 + t*x"), GRID), "changes in time"),
        (lambda: equilibrium(well(1.0), GRID, mass=-1.0), "mass must be"),
        (lambda: equilibrium(well(1.0), 3), "grid must be"),
        (lambda: equilibrium(wf.Entropy() + wf.Interaction("x**2"), GRID, start=np.ones(20)), "start must be"),
        (lambda: spectrum(well(1.0), GRID, k=0), "k must be"),
        (lambda: spectrum(well(1.0), GRID, k=21), "k must be"),
        (lambda: spectrum(wf.PowerEntropy(2) + wf.Potential("30*x**2"), GRID, k=12), "refine the grid"),
        (lambda: spectrum(wf.PowerEntropy(2), BOX), "linear flows only"),
        (lambda: spectrum(well(1.0), GRID, at=wf.Density(GRID, np.ones(20))), "no state of rest"),
        (lambda: committor(wf.PowerEntropy(2), GRID, LEFT, ~LEFT), "linear flow"),
        (lambda: committor(well(1.0), GRID, LEFT, LEFT), "share 5"),
        (lambda: committor(well(1.0), GRID, LEFT, LEFT & False), "no cell centre"),
        (lambda: committor(well(1.0), GRID, LEFT, np.ones(20)), "must be booleans"),
        (lambda: first_passage_time(well(1.0), GRID), "nothing is ever reached"),
    ],
)
def test_what_has_no_answer_is_refused(call, words):
    with pytest.raises(wf.InputError, match=words):
        call()
