"""Bad input is refused at once with `InputError`: what was wrong, what was found, what to do."""

import numpy as np
import pytest

import wflow as wf

G = wf.Grid(-1, 1, 4)
GAUSS = wf.Gaussian([0.0], 1.0)
V, P = wf.Potential("x**2"), wf.Point([1.0])
Q = wf.Density(G, GAUSS)
CLOUD = wf.Particles([[0.0], [1.0]])


def go(**arguments):
    return wf.run(V, P, **arguments)


BAD = [
    # values
    (lambda: wf.Density(G, [1, np.nan, 1, 1]), "1 value"),
    (lambda: wf.Density(G, [1, np.inf, 1, 1]), "finite"),
    (lambda: wf.Density(G, [1, -0.5, 1, 1]), "negative"),
    (lambda: wf.Density(G, np.zeros(4)), "mass"),
    (lambda: wf.Density(G, np.ones(4) + 1j), "numbers"),
    (lambda: wf.Density(G, "1"), "numbers"),
    (lambda: wf.Density(G, wf.Uniform(5.0, 6.0)), "zero in every cell"),
    (lambda: wf.Particles([[np.nan]]), "finite"),
    (lambda: wf.Particles([[0.0], [1.0]], [1, -1]), "negative"),
    (lambda: wf.Particles([[0.0], [1.0]], [0, 0]), "zero"),
    (lambda: wf.Point([np.inf]), "finite"),
    (lambda: wf.Gaussian([0.0], -1.0), "positive definite"),
    (lambda: wf.Gaussian([0.0, 0.0], [[1, 2], [2, 1]]), "eigenvalue is -1"),
    (lambda: wf.Gaussian([0.0, 0.0], [[1, 0.5], [0.4, 1]]), "symmetric"),
    (lambda: wf.Gaussian([0.0], np.nan), "finite"),
    (lambda: wf.GaussianMixture([[0.0], [1.0]], 1.0, [1, -2]), "negative"),
    (lambda: wf.Gibbs("x**2", temperature=0.0), "positive"),
    (lambda: wf.Gibbs("x**2", temperature=[1.0, 2.0]), "one positive"),
    (lambda: wf.KernelDensity([[0.0], [1.0]], bandwidth=-1.0), "positive"),
    # shapes and dimensions
    (lambda: wf.Density(G, np.ones(5)), r"\(4,\)"),
    (lambda: wf.Density(G, lambda x: x), r"\(4, 1\)"),
    (lambda: wf.Density(G, wf.Gaussian([0.0, 0.0], 1.0)), "dimension 2"),
    (lambda: wf.Particles([0.0, 1.0]), r"x\[:, None\]"),
    (lambda: wf.Particles(np.zeros((0, 2))), "shape"),
    (lambda: wf.Particles([[0.0], [1.0]], [1.0]), r"\(2,\)"),
    (lambda: wf.Point([[1.0]]), "shape"),
    (lambda: wf.Gaussian([0.0, 0.0], [1.0, 1.0, 1.0]), "shape"),
    (lambda: wf.GaussianMixture([[0.0], [1.0]], [1.0, 1.0, 1.0]), "one for each"),
    (lambda: GAUSS.density([1.0]), "shape"),
    (lambda: GAUSS.density([[1.0, 2.0]]), "1 column"),
    (lambda: wf.Gibbs(lambda x: x[:, 0]), "dim"),
    (lambda: wf.run(wf.Potential("y"), P, t_end=1.0), "needs dimension 2"),
    (lambda: wf.run(wf.Potential(lambda x: x), P, t_end=1.0), "shape"),
    (lambda: wf.run(None, P, t_end=1.0, drift=["1", "2"]), "1 field"),
    (lambda: wf.run(wf.FDivergence("kl", wf.Gaussian([0, 0], 1.0)), Q, t_end=1.0), "dimension 2"),
    # boxes
    (lambda: wf.Grid(1, -1, 4), "exceed"),
    (lambda: wf.Grid(1, 1, 4), "exceed"),
    (lambda: wf.Grid([0, 0], [1, -1], 4), "exceed"),
    (lambda: wf.Grid(0, 1, 0), "at least 1"),
    (lambda: wf.Grid(0, 1, 2.5), "whole"),
    (lambda: wf.Grid(0, 1, True), "whole"),
    (lambda: wf.Grid([0] * 4, [1] * 4, 2), "1, 2 or 3"),
    (lambda: wf.Grid([0, 0], [1, 1, 1], 2), "entries"),
    (lambda: wf.Grid(0, 1, 2, ["no-flux", "no-flux"]), "2 entries"),
    (lambda: wf.Grid(0, 1, 2, [("periodic", "no-flux")]), "periodic on both"),
    (lambda: wf.Grid(0, 1, 2, None), "boundary"),
    (lambda: wf.Grid(0, np.nan, 2), "finite"),
    (lambda: wf.Uniform(1.0, 0.0), "exceed"),
    (lambda: wf.Particles([[5.0]], domain=G), "outside"),
    (lambda: wf.Particles([[0.5]], domain=wf.Grid(0, 1, 2, "absorbing")), "absorbing"),
    (lambda: wf.Particles([[0.5]], domain=wf.Grid([0, 0], [1, 1], 2)), "dimension 2"),
    (lambda: wf.Particles([[0.5]], domain="no-flux"), "wf.Grid"),
    # names
    (lambda: wf.FDivergence("revrse-kl", GAUSS), "did you mean 'reverse-kl'"),
    (lambda: wf.FDivergence("KL", GAUSS), r"did you mean 'kl'\? Known: .*, alpha\.$"),
    (lambda: wf.FDivergence("?", GAUSS), r"unknown divergence '\?'\. Known: "),
    (lambda: wf.Grid(0, 1, 2, "noflux"), "did you mean 'no-flux'"),
    (lambda: wf.KernelDensity([[0.0], [1.0]], bandwidth="scot"), "did you mean 'scott'"),
    (lambda: wf.KernelDensity([[0.0], [1.0]], method="mash"), "did you mean 'mesh'"),
    (lambda: wf.steppers.Langevin(scheme="euler-maruyma"), "did you mean 'euler-maruyama'"),
    (lambda: next(wf.iterate(V, P, t_ned=1.0)), "t_ned"),
    (lambda: wf.run(wf.Entropy(), CLOUD, t_end=1.0, estimator="silvermann"), "did you mean 'silverman'"),
    # functionals
    (lambda: wf.FDivergence("total-variation", GAUSS), "f'' = 0"),
    (lambda: wf.FDivergence("alpha", GAUSS), "alpha"),
    (lambda: wf.FDivergence("kl", GAUSS, alpha=1.0), "alpha"),
    (lambda: wf.FDivergence("alpha", GAUSS, alpha=np.inf), "finite"),
    (lambda: wf.FDivergence("alpha", GAUSS, alpha="2"), "numbers"),
    (lambda: wf.FDivergence("kl", wf.Gaussian), "must be a density"),
    (lambda: wf.FDivergence("kl", Q), "must be a density"),
    (lambda: wf.PowerEntropy(1), r"use Entropy\(\)"),
    (lambda: wf.PowerEntropy(-1), "m > 0"),
    (lambda: wf.PowerEntropy("2"), "numbers"),
    (lambda: wf.PowerEntropy(np.nan), "finite"),
    (lambda: wf.InternalEnergy("-q**2"), "convex"),
    (lambda: wf.InternalEnergy("x**2"), "unknown name 'x'"),
    (lambda: wf.InternalEnergy(3), "text"),
    (lambda: wf.Interaction("x*t"), "time"),
    (lambda: wf.run(wf.Interaction("x**3"), CLOUD, t_end=1.0), "even"),
    (lambda: 0 * wf.Entropy(), "positive"),
    (lambda: -1.0 * wf.Entropy(), "positive"),
    (lambda: np.nan * wf.Entropy(), "finite"),
    (lambda: np.array([1.0, 2.0]) * wf.Entropy(), "one positive number"),
    (lambda: wf.Entropy() + 1, "adds to a functional"),
    (lambda: wf.run(wf.FDivergence("kl", wf.Gibbs("x*t")), Q, t_end=1.0), "time"),
    # times
    (lambda: go(), "exactly one"),
    (lambda: go(t_end=1.0, steps=3, dt=0.1), "both"),
    (lambda: go(steps=3), "needs dt"),
    (lambda: go(t_end=-1.0), "positive"),
    (lambda: go(t_end=0.0), "positive"),
    (lambda: go(t_end=np.nan), "finite"),
    (lambda: go(t_end="1"), "numbers"),
    (lambda: go(t_end=1.0, dt=0.0), "positive"),
    (lambda: go(steps=2.5, dt=0.1), "whole"),
    (lambda: go(steps=0, dt=0.1), "at least 1"),
    (lambda: go(t_end=1.0, tol=0.0), "positive"),
    (lambda: go(t_end=1.0, max_steps=0), "at least 1"),
    (lambda: go(t_end=1.0, save=1), "at least 2"),
    (lambda: go(t_end=1.0, save="evry"), "save"),
    (lambda: go(t_end=1.0, save=None), "save"),
    (lambda: go(t_end=1.0, save=[0.5, 0.2]), "rising"),
    (lambda: go(t_end=1.0, save=[0.5, 2.0]), "between 0 and the end"),
    (lambda: go(t_end=1.0, save=[-0.5, 0.5]), "between 0 and the end"),
    (lambda: go(t_end=1.0, stepper=wf.steppers.ExplicitEuler()), "give dt"),
    # other arguments
    (lambda: go(t_end=1.0, stepper="trbdf2"), r"got 'trbdf2'; did you mean wf\.steppers\.TRBDF2\(\)\?$"),
    (lambda: go(t_end=1.0, stepper="BDF2()"), r"did you mean wf\.steppers\.TRBDF2\(\)\?$"),
    (lambda: go(t_end=1.0, stepper=wf.steppers.Heun), r"got the class Heun; did you mean wf\.steppers\.Heun\(\)\?$"),
    (lambda: go(t_end=1.0, stepper=3), r"got 3\. Known in wf\.steppers: ExplicitEuler, .*MiniBatch\.$"),
    (lambda: go(t_end=1.0, metric="Newton"), r"metric .* did you mean wf\.metrics\.Newton\(\)\?$"),
    (lambda: go(t_end=1.0, metric=wf.metrics.Natural()), "not on Point"),
    (lambda: go(t_end=1.0, estimator=0.1), "particles only"),
    (lambda: go(t_end=1.0, stop=3), "function"),
    (lambda: go(t_end=1.0, diagnostics=[1]), "dict"),
    (lambda: go(t_end=1.0, diagnostics={"a": 3}), "function"),
    (lambda: go(t_end=1.0, diagnostics={"energy": lambda t, s: 1.0}), "there already"),
    (lambda: go(t_end=1.0, diagnostics={"time": lambda t, s: 1.0}), "twice"),
    (lambda: go(t_end=1.0, rng=1.5), "rng"),
    (lambda: go(t_end=1.0, rng=-1), "rng"),
    (lambda: go(t_end=1.0, out=5), "path"),
    (lambda: wf.run("x**2", P, t_end=1.0), "functional"),
    (lambda: wf.run(V, [1.0], t_end=1.0), "state"),
    (lambda: wf.run(V, wf.Gibbs("x"), t_end=1.0), "state"),
    (lambda: wf.run(None, P, t_end=1.0), "nothing to follow"),
    (lambda: wf.run(V, P, dt=0.1, steps=2, stepper=wf.steppers.Langevin()), "Particles"),
    (lambda: wf.run(wf.PowerEntropy(2), CLOUD, dt=0.1, steps=2, stepper=wf.steppers.Langevin()), "Langevin"),
    (lambda: wf.run(wf.Entropy(), wf.Particles([[0.0], [0.0]]), t_end=1.0), "coincide"),
    (
        lambda: wf.run(wf.Entropy(), wf.Particles([[0.0], [0.0]]), dt=0.1, steps=1, stepper=wf.steppers.Heun()),
        "coincide",
    ),
]


@pytest.mark.parametrize(("bad", "says"), BAD, ids=range(len(BAD)))
def test_bad_input_is_refused_and_the_message_says_why(bad, says):
    with pytest.raises(wf.InputError, match=says):
        bad()


CODE = [
    "__import__('os').system('touch hacked')",
    "x.__class__",
    "(lambda: 1)()",
    "[y for y in (1,)]",
    "open('secret')",
    "exec('1')",
    "x; import os",
    "f'{x}'",
    "x if x else 1",
    "x == 1",
    "9**9**9**9",
    "",
    "x +",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", CODE, ids=range(len(CODE)))
@pytest.mark.parametrize("make", [wf.Potential, wf.Interaction, wf.Gibbs, wf.InternalEnergy], ids=lambda f: f.__name__)
def test_expressions_that_are_code_are_refused(text, make):
    with pytest.raises(wf.InputError):
        make(text)
    with pytest.raises(wf.InputError):
        wf.run(None, P, t_end=1.0, drift=text)


def test_input_error_is_a_value_error():
    assert issubclass(wf.InputError, ValueError)
    assert issubclass(wf.FileError, OSError)


def test_good_input_at_the_border_is_accepted():
    """The neighbours of what is refused above."""
    assert wf.Grid(0, 1, np.int64(3)).cells == (3,)
    assert wf.Density(G, [0, 0, 0, 1]).mass == 1
    assert wf.run(V, P, t_end=1, dt=1, save=[0, 1], stepper=wf.steppers.Heun()).times.tolist() == [0, 1]
    assert wf.run(V, P, t_end=1.0, save=[0.5]).times.tolist() == [0, 0.5, 1]
    assert wf.run(V, P, steps=np.int64(2), dt=0.1, rng=2**64 - 1).info["seed"] == 2**64 - 1


@pytest.mark.parametrize("name", ["derivatives", "estimators", "exact", "metrics", "plot", "steppers"])
def test_completion_shows_what_a_user_takes(name):
    """No module, constant or import of the package's own stands between the names that `dir` lists."""
    module = getattr(wf, name)
    for word in dir(module):
        found = getattr(module, word)
        assert callable(found)
        assert found.__module__.startswith("wflow.")
        assert found.__doc__
    assert len(dir(module)) >= 5


@pytest.mark.parametrize("text", [None, "no file of ours"])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path, text):
    path = tmp_path / "a.h5"
    if text:
        path.write_text(text)
    with pytest.raises(wf.FileError, match="cannot read") as caught:
        wf.load(path)
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
