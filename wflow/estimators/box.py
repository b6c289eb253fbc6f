"""A box as plain data, for estimators below the layer of grids."""

from dataclasses import dataclass

import numpy as np

from wflow.errors import InputError, choose

SIDES = ("no-flux", "periodic")


@dataclass(frozen=True, eq=False)
class Box:
    """lower (d,), upper (d,), and per axis "no-flux" (samples are mirrored at both walls) or "periodic"."""

    lower: np.ndarray
    upper: np.ndarray
    sides: tuple[str, ...]

    def __post_init__(self) -> None:
        lower = np.atleast_1d(np.asarray(self.lower, dtype=float))
        upper = np.atleast_1d(np.asarray(self.upper, dtype=float))
        for side in self.sides:
            choose(side, SIDES, "side of a box")
        if lower.ndim != 1 or lower.shape != upper.shape or len(self.sides) != len(lower):
            raise InputError(
                f"a box needs lower, upper and sides of one length, got {lower.shape}, {upper.shape} and "
                f"{len(self.sides)} sides"
            )
        if not np.all(np.isfinite(lower) & np.isfinite(upper) & (lower < upper)):
            raise InputError(f"a box needs finite lower < upper, got {lower} and {upper}")
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "sides", tuple(self.sides))

    @property
    def mirrored(self) -> np.ndarray:
        """(d,) bool: the axes with walls."""
        return np.array([side == "no-flux" for side in self.sides])
