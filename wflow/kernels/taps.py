"""Uniform B-splines of order 4 and 6 at one particle: the weights of all its nodes as one vector."""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from wflow.kernels.vectors import Vector, constant, multiply_add, repeated

# order: (divisor, upper half of the taps, each in powers of t from 1 on), t in [0, 1] the particle's place in its cell.
# The lower half mirrors it, in 1 - t, so that no weight is below zero or has lost digits. De Boor (1978), chapter 9.
SPLINES = {
    4: (6, ((1, 3, 3, -3), (0, 0, 0, 1))),
    6: (120, ((26, 50, 20, -20, -20, 10), (1, 5, 10, 10, 5, -5), (0, 0, 0, 0, 0, 1))),
}


def derivative(order: int, times: int) -> list[list[float]]:
    """Rows of powers, from 1 on, of 1 - t for the lower half of the taps and of t for the others, of the derivative of
    all taps by t.

    >>> derivative(4, 3)
    [[-1.0, 3.0, -3.0, 1.0]]
    """
    divisor, taps = SPLINES[order]
    upper = [[number / divisor for number in tap] for tap in taps]
    for _ in range(times):
        upper = [[k * number for k, number in enumerate(tap)][1:] for tap in upper]
    lower = [[(-1) ** times * number for number in tap] for tap in upper[::-1]]
    return [list(row) for row in zip(*lower, *upper, strict=True)]


def _spline(typingctx: Any, t: Any, taps: Any, times: Any) -> Any:
    """The weights of all taps at t, or their first or second derivative by t, by Horner's rule; error 1e-16.

    `taps` is a tuple as long as the order, `times` a literal number.
    """
    order, rows = taps.count, derivative(taps.count, times.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        t = repeated(builder, args[0], order)
        below = [2 * k < order for k in range(order)]
        place = multiply_add(builder, t, constant([1.0 - 2.0 * k for k in below]), constant(below))
        value = constant(rows[-1])
        for row in rows[-2::-1]:
            value = multiply_add(builder, place, value, constant(row))
        return value

    return Vector(order)(types.float64, taps, times), codegen


spline: Any = intrinsic(prefer_literal=True)(_spline)
