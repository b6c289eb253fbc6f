"""Layouts of every kind and what to write into them: shared by the tests of the store."""

import numpy as np
import pytest

from wflow.store import Layout, Reader, Variable, Writer

ENERGY = Variable("energy", ("time",))


def grid(dim):
    axes, shape = ("x", "y", "z")[:dim], (5, 4, 3)[:dim]
    coordinates = {axis: (np.arange(n) + 0.5) / n for axis, n in zip(axes, shape, strict=True)}
    density = Variable("density", ("time", *axes), shape)
    return Layout(3, coordinates, (density, ENERGY), {"target": (axes, np.ones(shape))}, ("time", "dt"))


def cloud():
    place = Variable("position", ("time", "particle", "axis"), (700, 2))
    weight = Variable("weight", ("time", "particle"), (700,))
    velocity = Variable("velocity", ("time", "particle", "axis"), (700, 2))
    attributes = {
        "state": "particles",
        "functional": "∫ q log q",
        "seed": 2**63 + 1,
        "versions": ["é", "b"],
        "none": "",
    }
    return Layout(3, {"axis": np.arange(2)}, (place, weight, velocity), {}, ("time",), attributes)


def gaussian():
    covariance = Variable("covariance", ("time", "axis", "axis_2"), (2, 2))
    return Layout(3, {}, (Variable("mean", ("time", "axis"), (2,)), covariance, ENERGY), {}, ("time", "dt"))


def point():
    return Layout(None, {}, (Variable("position", ("time", "axis"), (3,)),), {}, ("time",))


LAYOUTS = {"1-D": grid(1), "2-D": grid(2), "3-D": grid(3), "cloud": cloud(), "gaussian": gaussian(), "point": point()}


def values(layout, k):
    rng = np.random.default_rng(k)
    return {"time": 0.5 * k} | {v.name: rng.normal(size=v.shape) for v in layout.framed}


def write(path, layout, count, status=None):
    """Two steps to a frame, the time of step j is j."""
    with Writer(path, layout) as out:
        for k in range(count):
            for j in (2 * k, 2 * k + 1):
                out.step({"time": j})
            out.frame(values(layout, k))
        if status:
            out.close(status)
    return path


def agrees(path, layout, count):
    with Reader(path) as file:
        assert file.frames == count
        assert set(file.names) == {v.name for v in layout.framed}
        np.testing.assert_array_equal(file.column("time"), 0.5 * np.arange(count))
        np.testing.assert_array_equal(file.steps["time"], np.arange(2 * count))
        for v in layout.framed:
            wanted = [values(layout, k)[v.name] for k in range(count)]
            assert file.dims(v.name) == v.dims
            np.testing.assert_array_equal(file.column(v.name), np.reshape(wanted, (count, *v.shape)))
            if count:
                np.testing.assert_array_equal(file.frame(v.name, -1), wanted[-1])
        for name, (_, array) in layout.static.items():
            np.testing.assert_array_equal(file.static(name), array)
        for name, value in layout.attributes.items():
            assert file.attributes[name] == value
        with pytest.raises(IndexError, match=f"of {count}"):
            file.frame("time", count)
