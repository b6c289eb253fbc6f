"""Wasserstein gradient flows: on a grid, with particles, as a Gaussian, at a point.

Everything a user needs comes with `import wflow as wf`. Names are loaded when they are first used, so that the import
itself is quick and brings in neither Numba nor h5py, matplotlib, SymPy or POT.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "errors": ("FileError", "InputError", "InterruptionWarning", "RunWarning", "Status"),
    "targets": ("Gaussian", "GaussianMixture", "Gibbs", "KernelDensity", "Uniform"),
    "expression": ("FiniteSum",),
    "grid": ("Grid",),
    "functionals": (
        *("Blob", "Entropy", "FDivergence", "Interaction", "InternalEnergy", "Potential", "PowerEntropy"),
        *("Dirichlet", "FisherInformation", "ValueFunctional", "L1", "Box", "Ball"),
    ),
    "states": ("Density", "Particles", "Point"),
    "flows": ("energy",),
    "comparison": ("compare",),
    "orders": ("convergence",),
    "distances": ("displacement", "transport_map", "wasserstein2"),
    "spectra": ("committor", "equilibrium", "first_passage_time", "spectrum"),
    "results": ("Result", "load"),
    "loop": ("iterate", "run"),
    "landscape": ("basins", "critical_points", "hill_climb", "minimize"),
}
_MODULES = ("derivatives", "estimators", "exact", "metrics", "plot", "steppers")
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME), *_MODULES]

if TYPE_CHECKING:
    from . import derivatives, estimators, exact, metrics, plot, steppers
    from .comparison import compare
    from .distances import displacement, transport_map, wasserstein2
    from .errors import FileError, InputError, InterruptionWarning, RunWarning, Status
    from .flows import energy
    from .functionals import (
        Blob,
        Dirichlet,
        Entropy,
        FDivergence,
        FisherInformation,
        Interaction,
        InternalEnergy,
        Potential,
        PowerEntropy,
        ValueFunctional,
    )
    from .grid import Grid
    from .landscape import basins, critical_points, hill_climb, minimize
    from .loop import iterate, run
    from .orders import convergence
    from .results import Result, load
    from .spectra import committor, equilibrium, first_passage_time, spectrum
    from .states import Density, Particles, Point
    from .targets import Gaussian, GaussianMixture, Gibbs, KernelDensity, Uniform


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
