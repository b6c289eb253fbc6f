"""The landscape of an objective: its critical points, SciPy's optimizers on it, and hill climbing on a lattice."""

from wflow.landscape.critical import CriticalPoint, classify, critical_points
from wflow.landscape.lattices import Basins, basins, hill_climb
from wflow.landscape.optimizers import METHODS, minimize

__all__ = ["METHODS", "Basins", "CriticalPoint", "basins", "classify", "critical_points", "hill_climb", "minimize"]
