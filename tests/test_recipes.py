"""Runs rebuilt from their files: only from expressions, and never by running what a file says."""

import numpy as np
import pytest

import wflow as wf
from wflow.functionals import FUNCTIONALS
from wflow.loop import recorder
from wflow.loop.recipes import KINDS, rebuilt, recipe
from wflow.steppers import STEPPERS
from wflow.targets import TARGETS

MIXTURE = wf.GaussianMixture([[-1.0], [1.5]], 0.5)
OBJECTS = [
    MIXTURE,
    wf.Gaussian([0.1, 1 / 3], [[1.0, 0.2], [0.2, 2.0]]),
    wf.Gibbs("(x**2 - 1)**2", temperature=0.3),
    wf.Uniform([-1.0], [2.0]),
    wf.FDivergence("alpha", MIXTURE, alpha=0.3),
    wf.Entropy(),
    wf.PowerEntropy(3),
    wf.InternalEnergy("q**3"),
    wf.Potential("x**2 + cos(t)"),
    wf.Interaction("exp(-x**2)"),
    wf.Blob(wf.Entropy(), 0.2),
    wf.Potential("x**2 + y**2", inner=["x", "y**2"]),
    wf.Dirichlet() + wf.FisherInformation(),
    *(wf.Dirichlet(), wf.FisherInformation(MIXTURE), wf.L1(0.5), wf.Box(0.0, [1.0, np.inf]), wf.Ball(2.0)),
    wf.metrics.FisherRao(),
    wf.metrics.WassersteinFisherRao(0.5),
    0.25 * wf.Entropy() + 2.0 * wf.Potential("x**2") + wf.Interaction("x**2"),
    wf.metrics.Newton(0.5),
    wf.metrics.Norm(np.inf),
    wf.metrics.Mirror("entropy"),
    wf.metrics.Stein(),
    wf.estimators.Kernel(bandwidth="score"),
    wf.estimators.Stein(),
    wf.steppers.Langevin(temperature="1 + exp(-t)"),
    wf.steppers.LineSearch(),
    *(stepper() for stepper in STEPPERS),
]


def kind_of(made):
    return next((kind for kind, classes in KINDS.items() if isinstance(made, classes)), "functional")


@pytest.mark.parametrize("made", OBJECTS, ids=lambda made: repr(made)[:40])
def test_objects_are_rebuilt_from_their_text(made):
    again = rebuilt(repr(made), kind_of(made))
    assert type(again) is type(made)
    assert repr(again) == repr(made)


def test_every_functional_and_target_is_among_them():
    """But kernel densities, whose samples are not in their text, and functions."""
    seen = {type(made) for made in OBJECTS}
    assert set(FUNCTIONALS) - seen == {wf.ValueFunctional}
    assert set(TARGETS) - seen == {wf.KernelDensity}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch hacked')",
        "Entropy( )",
        "Entropy().__class__",
        "Entropy.__init__",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "Potential(open('hacked', 'w'))",
        "'a' * 1000000000",
        "[0] * 1000000000",
        "Unknown()",
        "Potential('<lambda>')",
        "KernelDensity(50 samples in 1-D, bandwidth=[0.48])",
        "(" * 5000,
        "-" * 50000 + "1",
        "Entropy(" * 90 + ")" * 90,
        "1",
    ],
)
def test_what_is_no_description_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if text == "1":
        assert rebuilt(text, "functional") == 1
        return
    with pytest.raises(wf.InputError, match="cannot be rebuilt"):
        rebuilt(text, "functional")
    assert not list(tmp_path.iterdir())


class Killed(BaseException):
    pass


RUNS = {
    "density": lambda out: wf.run(
        0.5 * wf.Entropy() + wf.Potential("x**2"),
        wf.Density(wf.Grid(-3, 3, 16, "periodic"), wf.Gaussian([0.3], 0.5)),
        t_end=0.3,
        drift="sin(x) + t",
        out=out,
    ),
    "cloud": lambda out: wf.run(
        wf.FDivergence("reverse-kl", MIXTURE),
        wf.Particles(np.linspace(-1, 1, 9)[:, None], np.arange(1.0, 10.0), domain=wf.Grid(-2, 2, 4)),
        steps=12,
        dt=0.05,
        stepper=wf.steppers.Langevin(),
        rng=5,
        out=out,
    ),
    "gaussian": lambda out: wf.run(
        wf.FDivergence("reverse-kl", MIXTURE),
        wf.Gaussian([0.1], 0.7),
        t_end=0.5,
        metric=wf.metrics.Natural(),
        out=out,
    ),
    "blob": lambda out: wf.run(
        wf.PowerEntropy(2),
        wf.Particles(np.linspace(-1, 1, 9)[:, None]),
        t_end=0.1,
        estimator=wf.estimators.Kernel(0.3),
        out=out,
    ),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("after", [0, 2])
def test_a_run_goes_on_from_its_file_alone(name, after, tmp_path, monkeypatch):
    """Killed before its first checkpoint or after it."""
    RUNS[name](tmp_path / "whole.h5")
    kept, left = recorder.Recorder.keep, [3]

    def keep(self, standing, always=False):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        if after:
            kept(self, standing, always=True)

    monkeypatch.setattr(recorder.Recorder, "keep", keep)
    with pytest.raises(Killed):
        RUNS[name](tmp_path / "part.h5")
    monkeypatch.undo()
    functional, state, arguments = recipe(wf.load(tmp_path / "part.h5"))
    again = wf.run(functional, state, **arguments, out=tmp_path / "part.h5", resume=True)
    whole = wf.load(tmp_path / "whole.h5")
    for result in (again, whole):
        for part in ("created", "stepper_reason"):
            result.info.pop(part)
    assert again == whole


def test_runs_with_functions_are_refused(tmp_path):
    for more in ({"stop": len}, {"diagnostics": {"a": lambda t, s: 0.0}}, {"drift": lambda x: -x}):
        if "stop" in more:
            more = {"stop": lambda t, s: False}
        wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=0.1, out=tmp_path / "a.h5", **more)
        with pytest.raises(wf.InputError, match=f"{next(iter(more))} cannot be rebuilt, being functions"):
            recipe(wf.load(tmp_path / "a.h5"))
    found = wf.minimize(wf.Potential("x**2"), wf.Point([1.0]))
    with pytest.raises(wf.InputError, match=r"not of wf\.run"):
        recipe(found)
