"""Critical points and their kinds, SciPy's optimizers with a Result, hill climbing on a lattice."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import wflow as wf
from wflow.errors import InputError, Status
from wflow.landscape import METHODS, classify

ROSENBROCK = wf.Potential("100*(y - x**2)**2 + (1 - x)**2")


@pytest.mark.checklist("D2", "G4")
@pytest.mark.parametrize(
    ("text", "kind", "degenerate"),
    [
        ("x**2", "minimum", False), ("-x**2", "maximum", False), ("x**3", "saddle", True), ("x**4", "minimum", True),
        ("-x**4", "maximum", True), ("x**2 - y**2", "saddle", False), ("x**2 - y**4", "saddle", True),
        ("x**2 + y**3", "saddle", True), ("x**2 + y**4", "minimum", True), ("-x**2 - 3*y**2", "maximum", False),
    ],
)  # fmt: skip
def test_kinds_of_critical_points(text, kind, degenerate):
    dim = 2 if "y" in text else 1
    found = wf.critical_points(wf.Potential(text), [-1.0] * dim, [1.0] * dim, starts=30)
    assert len(found) == 1
    assert (found[0].kind, found[0].degenerate) == (kind, degenerate)
    assert_allclose(found[0].x, 0, atol=2e-3 if degenerate else 1e-12)


@pytest.mark.checklist("D3")
def test_all_critical_points_of_a_double_well():
    found = wf.critical_points(wf.Potential("(x**2 - 1)**2 + x/5"), [-2.0], [2.0], starts=40)
    roots = np.sort(np.roots([4.0, 0.0, -4.0, 0.2]))
    assert_allclose(np.sort([p.x[0] for p in found]), roots, rtol=1e-12)
    assert [p.kind for p in found] == ["minimum", "minimum", "maximum"]
    assert all(np.diff([p.value for p in found]) > 0)
    plane = wf.critical_points(wf.Potential("(x**2 - 1)**2 + (y**2 - 1)**2"), [-2.0, -2.0], [2.0, 2.0], starts=300)
    kinds = [p.kind for p in plane]
    assert (kinds.count("minimum"), kinds.count("saddle"), kinds.count("maximum")) == (4, 4, 1)


def test_a_flat_direction_is_flagged_and_a_slope_has_no_critical_point():
    line = classify(wf.Potential("x**2"), [0.0, 0.3])
    assert (line.kind, line.degenerate) == ("minimum", True)
    assert classify(wf.Potential("1"), [0.0]).kind == "flat"
    assert wf.critical_points(wf.Potential("x + exp(x)"), [-1.0], [1.0], starts=10) == ()


@pytest.mark.checklist("G4")
def test_descent_from_the_stable_set_of_a_saddle_stops_there():
    V = wf.Potential("x**2 + (y**2 - 1)**2")
    end = wf.run(V, wf.Point([1.0, 0.0]), dt=0.1, steps=400).final.x
    assert_allclose(end, 0, atol=1e-12)
    assert classify(V, end).kind == "saddle"
    near = wf.run(V, wf.Point([1.0, 1e-8]), dt=0.1, steps=400).final.x
    assert classify(V, near).kind == "minimum"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_scipy(method, tmp_path):
    result = wf.minimize(ROSENBROCK, wf.Point([-1.2, 1.0]), method)
    assert result.status is Status.COMPLETE
    assert_allclose(result.final.x, 1, atol=1e-6)
    assert len(result.states) == len(result.times) == len(result.diagnostics["energy"])
    assert_allclose(result.diagnostics["energy"], [wf.energy(ROSENBROCK, s) for s in result.states], rtol=1e-14)
    back = wf.load(result.save(tmp_path / "run.h5"))
    assert_array_equal(back.final.x, result.final.x)
    assert method in back.info["stepper"]


def test_minimize_says_how_it_ended():
    start = wf.Point([-1.2, 1.0])
    with pytest.warns(wf.RunWarning, match="iterations"):
        assert wf.minimize(ROSENBROCK, start, max_steps=3).status is Status.MAX_STEPS
    with pytest.warns(wf.RunWarning, match="precision loss"):
        assert not wf.minimize(wf.Potential("log(x)"), wf.Point([1.0])).status.good
    for arguments, words in [
        ((ROSENBROCK, [1.0, 1.0]), "wf.Point"),
        ((ROSENBROCK, start, "BFSG"), "unknown method"),
        ((ROSENBROCK, start, "BFGS", -1.0), "tol"),
        ((wf.Entropy(), start), "Point has no density"),
        ((wf.Potential("t*x"), start), "time"),
    ]:
        with pytest.raises(InputError, match=words):
            wf.minimize(*arguments)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("V", "start"), [("-x", 0.0), ("-exp(x)", 0.0), ("x**2 - x**4", 1.0)])
def test_no_method_finds_a_minimum_where_there_is_none(V, start, method):
    """Newton-CG, which has no curvature to go by on a slope, reports success; trust-exact raises on -exp(x)."""
    with pytest.warns(wf.RunWarning, match="minimize stopped because"):
        result = wf.minimize(wf.Potential(V), wf.Point([start]), method)
    assert not result.status.good
    end = result.diagnostics["energy"][-1]
    assert ("without bound" in result.info["message"]) == (end < -1e3 or end == -np.inf)
    assert "|grad f| from" in result.info["message"]


@pytest.mark.parametrize("method", METHODS)
def test_a_way_to_infinity_is_no_minimum(method):
    """The gradient falls to nothing there, and SciPy reports success."""
    with pytest.warns(wf.RunWarning, match="minimize stopped because .*, as if it fell without bound") as told:
        assert not wf.minimize(wf.Potential("-log(1 + x**2)"), wf.Point([0.5]), method).status.good
    assert len(told) == 1
    assert not any(word in str(told[0].message) for word in ("t_end", " dt", "inner solver"))
    if method in ("BFGS", "CG", "L-BFGS-B", "trust-exact"):
        with pytest.warns(wf.RunWarning, match="it came to no minimum: .* or to a value that it never takes"):
            assert not wf.minimize(wf.Potential("1/(1 + x**2)"), wf.Point([1.0]), method).status.good


def test_a_minimum_far_away_is_one_and_evaluations_used_up_are_told():
    V, start = wf.Potential("-log(1 + x**2) + x**2/1e8"), wf.Point([0.5])
    for method in ("BFGS", "L-BFGS-B", "Nelder-Mead", "Powell", "trust-exact"):
        result = wf.minimize(V, start, method)
        assert result.status is Status.COMPLETE
        assert_allclose(result.final.x, np.sqrt(1e8 - 1.0), rtol=1e-4)
    for method, words in [("Nelder-Mead", "function evaluations"), ("trust-ncg", "iterations")]:
        with pytest.warns(wf.RunWarning, match=f"used up; max_steps gives it more: Maximum number of {words}"):
            assert wf.minimize(wf.Potential("-log(1 + x**2)"), start, method).status is Status.MAX_STEPS
    with pytest.warns(wf.RunWarning, match="LIMIT"):
        assert wf.minimize(ROSENBROCK, wf.Point([-1.2, 1.0]), "L-BFGS-B", max_steps=3).status is Status.MAX_STEPS


@pytest.mark.checklist("D9")
@pytest.mark.parametrize("corners", [False, True])
def test_hill_climbing_on_a_lattice(corners):
    """Monotone, one neighbour a move, and no neighbour of the end is better."""
    V = wf.Potential("(x - 2*y)**2/9 + (x + y - 7)**2/50 + 3*sin(x)*cos(y)")
    way = wf.hill_climb(V, [12, -9], corners=corners)
    assert_array_equal(way[0], [12, -9])
    values = V.field.value(way.astype(float))
    assert np.all(np.diff(values) < 0)
    assert np.all(np.abs(np.diff(way, axis=0)).sum(axis=1) <= (2 if corners else 1))
    steps = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1) if corners or abs(i) + abs(j) == 1])
    assert np.all(V.field.value((way[-1] + steps).astype(float)) >= values[-1])
    assert len(way) > 5


def test_hill_climbing_gets_stuck_where_a_local_minimum_is():
    V = wf.Potential("(x**2 - 16)**2/50 + x")
    ends = [wf.hill_climb(V, [start])[-1][0] for start in (9, 1, -9)]
    assert ends == [3, 3, -4]
    fine = 0.01 * wf.hill_climb(V, [900], spacing=0.01)[-1][0]
    assert_allclose(fine, np.roots([4 / 50, 0, -64 / 50, 1]).max(), atol=0.011)


def test_bad_input_is_refused():
    V = wf.Potential("x**2")
    for call in (
        lambda: wf.hill_climb(V, [0.5]),
        lambda: wf.hill_climb(V, [[1, 2]]),
        lambda: wf.hill_climb(wf.Potential("-x**2"), [1], most=20),
        lambda: wf.hill_climb(V, [1], spacing=0.0),
        lambda: wf.critical_points(V, [1.0], [0.0]),
        lambda: wf.critical_points(V, [0.0], [1.0, 2.0]),
        lambda: wf.critical_points(V, [0.0], [1.0], starts=0),
        lambda: classify(wf.Potential("log(x)"), [0.0]),
    ):
        with pytest.raises(InputError):
            call()
