"""Pictures: what they show, not how they look."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

import wflow as wf
from wflow.plot.overview import objective_of
from wflow.plot.style import shortened, typeset

NORMAL = wf.Gaussian([0.0, 0.0], [1.0, 0.5])
LINE, PLANE = wf.Grid(-5.0, 5.0, 60), wf.Grid([-5.0, -4.0], [5.0, 4.0], 24)
LONG = wf.GaussianMixture([[-2.0], [2.0]], [0.5, 0.25])


@pytest.fixture(scope="module")
def line():
    F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
    return wf.run(F, wf.Density(LINE, wf.Gaussian([1.0], 0.3)), t_end=2.0, save=5)


@pytest.fixture(scope="module")
def plane():
    start = wf.Gaussian([1.0, 0.0], 0.3)
    F = wf.FDivergence("reverse-kl", NORMAL)
    return wf.run(F, wf.Density(PLANE, start), t_end=1.0, save=3), wf.run(F, start, t_end=1.0, save=3)


@pytest.fixture(scope="module")
def descent():
    return wf.run(wf.Potential("x**2 + 4*y**2"), wf.Point([2.0, 1.0]), steps=8, dt=0.1, save="all")


STATES = {
    "line": wf.Density(LINE, LONG),
    "plane": wf.Density(PLANE, NORMAL),
    "space": wf.Density(wf.Grid([-3] * 3, [3] * 3, 8), wf.Gaussian(np.zeros(3), 1.0)),
    "dots on the line": wf.Particles(LONG.sample(300)),
    "dots": wf.Particles(NORMAL.sample(300)),
    "dots in 5-D": wf.Particles(np.random.default_rng(0).normal(size=(50, 5))),
    "bell": wf.Gaussian([1.0], 2.0),
    "ellipse": NORMAL,
    "star": wf.Point([1.0, 2.0]),
    "place": wf.Point([1.0]),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_every_state_in_every_format(name, suffix, tmp_path):
    path = tmp_path / "new" / f"picture{suffix}"
    wf.plot.state(STATES[name], path=path)
    start = path.read_bytes()[:5]
    assert start.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


def test_a_line_shows_the_cells_the_target_and_the_data():
    q = STATES["line"]
    ax = wf.plot.state(q, target=LONG, data=[0.0, 1.0]).axes[0]
    curves = {curve.get_label(): curve.get_xydata() for curve in ax.lines}
    assert set(curves) == {"state", "target", "data"}
    assert np.array_equal(curves["state"], np.column_stack([LINE.centers[0], q.values]))
    assert np.allclose(curves["target"], curves["state"])
    assert np.array_equal(curves["data"], [[0.0, 0.0], [1.0, 0.0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "density q")


def test_a_target_of_which_the_picture_shows_a_tail_is_drawn_all_the_same():
    box = wf.Density(wf.Grid(-4, 4, 64), wf.Gaussian([0.0], 1.0))
    for state in (box, STATES["dots on the line"]):
        ax = wf.plot.state(state, target=wf.Gaussian([60.0], 0.25)).axes[0]
        assert "target" in [curve.get_label() for curve in ax.lines]


def test_a_gibbs_target_is_drawn_with_mass_one_over_a_cloud():
    ax = wf.plot.state(STATES["dots on the line"], target=wf.Gibbs("x**2 / 2")).axes[0]
    x, p = next(curve for curve in ax.lines if curve.get_label() == "target").get_xydata().T
    assert p.sum() * (x[1] - x[0]) == pytest.approx(1.0)


def test_the_plane_is_not_transposed():
    off = wf.Density(PLANE, wf.Gaussian([2.0, -1.0], 0.2))
    ax = wf.plot.state(off).axes[0]
    inside = [path for path in ax.collections[0].get_paths() if len(path.vertices)][-1].vertices
    assert np.allclose(inside.mean(axis=0), [2.0, -1.0], atol=0.1)
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert -0.5 < low < 2.0 < high < 4.5
    assert -3.5 < bottom < -1.0 < top < 1.5


def test_a_gaussian_is_its_ellipse():
    # Axes of length 3 and 1 at 30 degrees: the sd along the long one is sqrt(9).
    turn = np.array([[np.cos(np.pi / 6), -0.5], [0.5, np.cos(np.pi / 6)]])
    ax = wf.plot.state(wf.Gaussian([1.0, 2.0], turn @ np.diag([9.0, 1.0]) @ turn.T)).axes[0]
    outer = ax.patches[0]
    assert (outer.width, outer.height) == (pytest.approx(12.0), pytest.approx(4.0))
    assert outer.angle % 180 == pytest.approx(30.0)
    assert tuple(outer.center) == (1.0, 2.0)


def test_own_axes_are_used():
    ax = Figure().subplots()
    assert wf.plot.state(STATES["plane"], ax=ax) is ax.figure
    assert len(ax.collections) == 1


def test_pyplot_and_the_settings_stay_out():
    # In a process of its own: in this one a picture drawn before may have changed them already.
    # Asking for the backend is what would import pyplot.
    code = """
import sys, matplotlib, wflow as wf
def settings(): return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}
before = settings()
wf.plot.state(wf.Point([1.0]))
assert settings() == before, 'settings'
assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'
"""
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_frames_share_range_scale_and_times(plane, tmp_path):
    figure = wf.plot.frames(plane, names=["grid", "family"], data=[[0.0, 0.0]], path=tmp_path / "f.png")
    panels, bar = figure.axes[:-1], figure.axes[-1]
    assert len(panels) == 6
    assert [ax.get_title() for ax in panels] == ["t = 0", "t = 0.5", "t = 1", "", "", ""]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    scales = {tuple(ax.collections[0].levels) for ax in panels[:3]}
    assert len(scales) == 1
    assert max(scales.pop()) == pytest.approx(max(q.values.max() for q in plane[0].states))
    assert bar.get_ylabel() == "density q"
    assert [panels[k].get_ylabel().split("\n")[0] for k in (0, 3)] == ["grid", "family"]


def test_frames_choose_and_refuse_times(line):
    assert [ax.get_title() for ax in wf.plot.frames(line, times=[2.0, 0.5]).axes] == ["t = 2", "t = 0.5"]
    assert [ax.get_title() for ax in wf.plot.frames(line, indices=[1, -1]).axes] == ["t = 0.5", "t = 2"]
    with pytest.raises(wf.InputError, match=r"no frame near t = \[0.7\]"):
        wf.plot.frames(line, times=[0.7])
    with pytest.raises(wf.InputError, match="not both"):
        wf.plot.frames(line, times=[0.5], indices=[1])


def test_a_ridge_stacks_the_frames(line, plane):
    ax = wf.plot.ridge(line, target=wf.Gaussian([0.0], 1.0)).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "0.5", "1", "1.5", "2"]
    step = ax.get_yticks()[1]
    last = next(c.get_ydata() for c in ax.lines if len(c.get_ydata()) == 60)
    assert np.allclose(last - 4 * step, line.final.values)
    with pytest.raises(wf.InputError, match=r"take plot\.frames"):
        wf.plot.ridge(plane[0])


def test_energy_is_above_its_limit_with_the_slope(line):
    ax = wf.plot.energy(line, rates=2.0).axes[0]
    curve, slope = (c.get_xydata() for c in ax.lines)
    assert ax.get_yscale() == "log"
    assert curve[0, 1] == line.diagnostics["energy"][0]
    assert np.array_equal(curve[1:, 1], line.steps["energy"])
    fall = np.log(slope[0, 1] / slope[1, 1]) / (slope[1, 0] - slope[0, 0])
    assert fall == pytest.approx(2.0)
    raised = wf.plot.energy(line, floor=-1.0).axes[0].lines[0].get_ydata()
    assert np.allclose(raised, curve[:, 1] + 1.0)


def test_energy_without_a_known_limit_leaves_its_smallest_out(descent):
    ax = wf.plot.energy([descent], names=["gd"]).axes[0]
    value = np.append(descent.diagnostics["energy"][0], descent.steps["energy"])
    assert np.allclose(ax.lines[0].get_ydata(), value[:-1] - value[-1])
    assert ax.get_ylabel() == "energy above its smallest"


def test_trajectories_follow_the_frames_over_the_objective(descent, tmp_path):
    figure = wf.plot.trajectories(
        [descent, descent], wf.Potential("x**2 + 4*y**2"), ["a", "b"], tmp_path / "t.svg", ((-1, 3), (-1, 2))
    )
    ax = figure.axes[0]
    way = next(c for c in ax.lines if c.get_label() == "a").get_xydata()
    assert np.array_equal(way, np.stack([state.x for state in descent.states]))
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1.0, 3.0), (-1.0, 2.0))
    assert figure.get_suptitle() == r"$x^{2} + 4\,y^{2}$"
    with pytest.raises(wf.InputError, match="bounds must be"):
        wf.plot.trajectories(descent, bounds=((1, 0), (0, 1)))
    with pytest.raises(wf.InputError, match="in the plane"):
        wf.plot.trajectories(wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=1.0))


def test_result_chooses_a_picture_for_every_kind(line, plane, descent):
    assert [ax.get_ylabel() for ax in wf.plot.result(line).axes] == ["time t", "energy"]
    assert len(wf.plot.result(plane[0]).axes) == 3 + 1 + 1  # frames, colour bar, energy
    assert len(wf.plot.result(plane[1]).axes) == 3 + 1
    assert wf.plot.result(descent).get_suptitle() == "Potential('x**2 + 4*y**2')"
    space = wf.run(wf.Potential("x**2 + y**2 + z**2"), wf.Point([1.0, 2.0, 3.0]), t_end=1.0, save=3)
    assert len(wf.plot.result(space).axes[0].lines) == 3


def test_long_titles_fold_their_numbers(line):
    text = "FDivergence('reverse-kl', GaussianMixture([[-2.0], [2.0]], [[[0.5]], [[0.25]]], [0.5, 0.5]))"
    assert shortened(text, 100) == text
    assert shortened(text, 70) == "FDivergence('reverse-kl', GaussianMixture(…))"
    assert len(shortened(text, 40)) <= 40
    assert "reverse-kl" in wf.plot.ridge(line).get_suptitle()
    long = replace(line, info=line.info | {"functional": f"0.5 * {text} + Potential('{' + '.join(['x'] * 60)}')"})
    title = wf.plot.ridge(long).get_suptitle().split("\n")
    assert title[0] == "0.5 * FDivergence('reverse-kl', GaussianMixture(…)) +"
    assert len(title) == 2
    assert title[1].endswith(" …")


def test_the_same_picture_gives_the_same_bytes(plane, tmp_path):
    for suffix in ("png", "svg", "pdf"):
        one, two = (wf.plot.state(plane[0].final, path=tmp_path / f"{k}.{suffix}") for k in "ab")
        assert one is not two
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_other_files_and_objects_are_refused(tmp_path, line):
    with pytest.raises(wf.InputError, match=r"\.png, \.svg or \.pdf"):
        wf.plot.state(wf.Point([1.0]), path=tmp_path / "picture.bmp")
    with pytest.raises(wf.InputError, match="takes results"):
        wf.plot.energy(["no"])
    for picture in (wf.plot.state, lambda one: wf.plot.marginals([one])):
        with pytest.raises(wf.InputError, match="takes states, got a Result: give its final"):
            picture(line)
    with pytest.raises(wf.InputError, match="1-D and 2-D only"):
        wf.plot.state(STATES["space"], target=wf.Gaussian(np.zeros(3), 1.0))
    with pytest.raises(wf.InputError, match="names has 2"):
        wf.plot.frames(line, names=["a", "b"])


def test_a_path_may_come_second(tmp_path):
    q = wf.Density(wf.Grid(-2.0, 2.0, 20), lambda x: 1.0 + x[:, 0] ** 2)
    result = wf.run(wf.Entropy(), q, t_end=0.1, save=3)
    for draw, thing in (
        (wf.plot.state, q),
        (wf.plot.energy, result),
        (wf.plot.ridge, result),
        (wf.plot.result, result),
    ):
        path = tmp_path / f"{draw.__name__}.png"
        draw(thing, path)
        assert path.stat().st_size > 1000


def test_the_objective_lies_beneath_the_way_of_a_point():
    """Where it was stated in expressions; of a function there is nothing to draw."""
    stated = 2 * wf.Potential("x**2 + y**2", inner=["x", "y**2"]) + wf.Potential("x*y")
    x = np.array([[3.0, 1.0], [-1.0, 2.0]])
    result = wf.run(stated, wf.Point([3.0, 1.0]), dt=0.01, steps=3)
    assert_allclose(objective_of(result)(x), [2 * (9 + 1) + 3, 2 * (1 + 16) - 2])
    shaded = [c for c in wf.plot.result(result).axes[0].collections if isinstance(c, QuadContourSet)]
    assert len(shaded) == 2
    for F in (wf.Potential(lambda x: (x**2).sum(axis=1)), wf.Potential("x**2 + t*y")):
        bare = wf.run(F, wf.Point([3.0, 1.0]), dt=0.01, steps=3)
        assert objective_of(bare) is None
        assert not wf.plot.result(bare).axes[0].collections


def test_ways_that_lie_on_each_other_are_both_seen():
    """The lower is wider than the upper; one that goes elsewhere is as ever."""
    starts = ([2.0, 1.0], [2.0, 1.0001], [-1.0, 1.0])
    runs = [wf.run(wf.Potential("x**2 + y**2"), wf.Point(x), dt=0.1, steps=20, save="all") for x in starts]
    lines = wf.plot.trajectories(runs, names=["a", "b", "c"]).axes[0].lines
    widths = {line.get_label(): line.get_linewidth() for line in lines}
    assert widths["a"] > 3 * widths["b"]
    assert widths["b"] < widths["c"] < widths["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x**2/4 + 3*y**2 of (x, y - 1)", r"$x^{2}/4 + 3\,y^{2}$ of $(x,\ y - 1)$"),
        ("sin(5*x)", r"$\mathrm{sin}(5\,x)$"),
        ("Potential('x**2')", "Potential('x**2')"),
        ("my_function", "my_function"),
    ],
)
def test_formulas_are_set_as_formulas(text, said):
    assert typeset(text) == said
