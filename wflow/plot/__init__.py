"""Pictures of states and results: colour-blind safe, legible on slides, PNG, SVG or PDF by the name of the file.

Every function gives a `matplotlib.figure.Figure` and saves it where a `path` is given. pyplot is not used: nothing
global changes and no window opens.
"""

from wflow.plot.curves import comparison, energy
from wflow.plot.movies import movie
from wflow.plot.overlays import marginals, overlay
from wflow.plot.overview import result
from wflow.plot.panels import frames, ridge, state
from wflow.plot.paths import basins, trajectories
from wflow.plot.style import save

__all__ = [
    "basins",
    "comparison",
    "energy",
    "frames",
    "marginals",
    "movie",
    "overlay",
    "result",
    "ridge",
    "save",
    "state",
    "trajectories",
]


def __dir__() -> list[str]:
    return sorted(__all__)
