"""Results held against each other."""

import numpy as np
import pytest

import wflow as wf

TARGET = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
START = wf.Gaussian([1.0], 0.5)


@pytest.fixture(scope="module")
def results():
    grid = wf.Grid(-6.0, 6.0, 120)
    cloud = wf.Particles(START.sample(200, rng=1))
    return (
        wf.run(TARGET, wf.Density(grid, START), t_end=1.0, save=5),
        wf.run(TARGET, START, t_end=1.0, save=3),
        wf.run(TARGET, cloud, t_end=1.0, save=3, tol=1e-2),
    )


def test_common_times_only_and_every_column(results):
    grid, gaussian, cloud = results
    compared = wf.compare(grid, gaussian, cloud)
    assert compared.names == ("density", "gaussian", "particles")
    assert [(row["time"], row["other"]) for row in compared.rows] == [
        (t, name) for t in (0.0, 0.5, 1.0) for name in ("gaussian", "particles")
    ]
    for row in compared.rows:
        near = 0.01 if row["other"] == "gaussian" else 0.3
        assert all(0.0 <= row[key] < near for key in ("w2", "l1", "mean", "covariance"))
        assert row["energy"] == row["energy_other"] - row["energy_reference"]
        assert abs(row["energy"]) < near
        assert row["reference"] == "density"
    index = int(np.flatnonzero(grid.times == 0.5)[0])
    assert compared.rows[2]["energy_reference"] == grid.diagnostics["energy"][index]


def test_the_numbers_of_a_known_pair():
    a, b = (
        wf.run(wf.Potential("x**2/2 + y**2/2"), wf.Gaussian(m, 1.0), t_end=1.0, save="ends", tol=1e-8)
        for m in ([0.0, 0.0], [3.0, 4.0])
    )
    row = wf.compare(a, b, names=["a", "b"]).rows[-1]
    assert row["w2"] == pytest.approx(5 * np.exp(-1), rel=1e-6)
    assert row["mean"] == pytest.approx(5 * np.exp(-1), rel=1e-6)
    assert row["covariance"] < 1e-8
    assert row["energy"] == pytest.approx(12.5 * np.exp(-2), rel=1e-6)
    assert row["w2_method"] == "closed form of Bures, exact"


def test_the_table_is_aligned_and_says_how(results):
    text = str(wf.compare(*results, names=["grid", "closed family", "cloud"]))
    lines = text.splitlines()
    assert lines[0] == "reference: grid"
    assert lines[1].split() == ["time", "against", "W2", "L1", "|mean|", "|cov|", "energy"]
    assert len({len(line) for line in lines[1:8]}) == 1
    assert lines[8:10] == ["W2 of closed family: quantiles of fine cells", "W2 of cloud: quantiles, exact"]
    assert [line.partition(":")[0] for line in lines[10:13]] == [
        *(f"cost of {name}" for name in ("grid", "closed family", "cloud")),
    ]
    assert lines[-2].startswith("closed family at t = 1: W2")
    assert lines[-1].startswith("cloud at t = 1: W2")


def test_points_have_no_l1_and_other_functionals_no_energy():
    a = wf.run(wf.Potential("x**2"), wf.Point([1.0]), steps=4, dt=0.1, save="all")
    b = wf.run(wf.Potential("x**2 / 2"), wf.Point([1.0]), steps=4, dt=0.1, save="all")
    rows = wf.compare(a, b).rows
    assert [row["time"] for row in rows] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert np.isnan(rows[-1]["l1"])
    assert np.isnan(rows[-1]["energy"])
    assert rows[-1]["w2"] == pytest.approx(0.9**4 - 0.8**4, rel=1e-12)
    assert "-" in str(wf.compare(a, b)).splitlines()[6].split()


def test_energies_of_a_gibbs_target_are_apart_on_a_grid():
    """By log Z = log √2π - 3: a grid scales p to mass 1, a Gaussian does not."""
    F = wf.FDivergence("reverse-kl", wf.Gibbs("x**2 / 2 + 3"))
    q = wf.Gaussian([1.0], 1.0)
    cloud = wf.Particles(np.linspace(-1.0, 2.0, 40)[:, None])
    grid, family, particles = (
        wf.run(F, s, t_end=1e-3, save="ends") for s in (wf.Density(wf.Grid(-6, 7, 100), q), q, cloud)
    )
    compared = wf.compare(grid, family)
    row = compared.rows[0]
    assert np.isnan(row["energy"])
    assert row["energy_reference"] - row["energy_other"] == pytest.approx(0.5 * np.log(2.0 * np.pi) - 3.0, abs=1e-3)
    assert "energy of gaussian: a grid scales p of Gibbs to mass 1" in str(compared)
    alike = wf.compare(family, particles)
    assert np.isfinite(alike.rows[0]["energy"])
    assert alike.notes == ()


def test_many_times_are_printed_as_twelve():
    """Evenly, with both ends; `rows` has all."""
    a, b = (wf.run(wf.Potential("x**2"), wf.Point([x]), steps=24, dt=0.1, save="all") for x in (1.0, 1.1))
    compared = wf.compare(a, b)
    assert len(compared.rows) == 25
    lines = str(compared).splitlines()
    times = [float(line.split()[0]) for line in lines[2:14]]
    assert times == pytest.approx([0.0, 0.2, 0.4, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7, 2.0, 2.2, 2.4])
    assert lines[14] == "12 of 25 common times; all are in `rows`, or by --json"
    assert len(str(wf.compare(a, b, times=a.times[:20])).splitlines()[2:22]) == 20
    assert "common times" not in str(wf.compare(a, b, times=a.times[:20]))


def test_times_choose_and_refuse(results):
    grid, gaussian, _ = results
    assert [row["time"] for row in wf.compare(grid, gaussian, times=[1.0]).rows] == [1.0]
    with pytest.raises(wf.InputError, match=r"frames at \[0.25\]; they share \[0.0, 0.5, 1.0\]"):
        wf.compare(grid, gaussian, times=[0.25, 0.5])
    other = wf.run(TARGET, START, t_end=0.9, save=3)
    with pytest.raises(wf.InputError, match="same t_end"):
        wf.compare(gaussian, other)


def test_bad_input_is_refused(results):
    with pytest.raises(wf.InputError, match="got Gaussian"):
        wf.compare(results[0], START)
    with pytest.raises(wf.InputError, match="names has 1 entries for 2"):
        wf.compare(results[0], results[1], names=["one"])
    plane = wf.run(wf.Potential("x**2 + y**2"), wf.Point([1.0, 1.0]), t_end=1.0, save=3)
    with pytest.raises(wf.InputError, match="same dimension"):
        wf.compare(results[0], plane)


def test_plot_shows_w2_l1_and_energies(results, tmp_path):
    figure = wf.compare(*results).plot(tmp_path / "compared.png")
    assert (tmp_path / "compared.png").stat().st_size > 10_000
    assert [ax.get_title().split()[0] for ax in figure.axes] == ["W2", "L1", "energy"]
    assert [len(ax.lines) for ax in figure.axes] == [2, 2, 3]


def test_energies_over_decades_are_drawn_on_a_log_scale():
    """Positive ones only; the legend stands beside no panel."""
    a, b = (wf.run(wf.Potential("x**2"), wf.Point([x]), t_end=3.0, save=5) for x in (1.0, 1.1))
    figure = wf.compare(a, b).plot()
    assert figure.axes[-1].get_yscale() == "log"
    assert len(figure.legends) == 1
    assert all(ax.get_legend() is None for ax in figure.axes)
    low, near = (wf.run(wf.Potential("x**2 - 0.1"), wf.Point([x]), t_end=3.0, save=5) for x in (1.0, 1.1))
    assert wf.compare(low, near).plot().axes[-1].get_yscale() == "linear"
    one, other = (wf.run(wf.Potential("x**2"), wf.Point([x]), t_end=0.1, save=5) for x in (1.0, 1.1))
    assert wf.compare(one, other).plot().axes[-1].get_yscale() == "linear"
