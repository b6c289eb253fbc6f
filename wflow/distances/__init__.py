"""Distances between states and targets of any kind."""

from wflow.distances.geodesics import displacement, transport_map
from wflow.distances.overlap import grid_around, l1, values_on
from wflow.distances.transport import moments, wasserstein2, wasserstein2_with_method

__all__ = [
    "displacement",
    "grid_around",
    "l1",
    "moments",
    "transport_map",
    "values_on",
    "wasserstein2",
    "wasserstein2_with_method",
]
