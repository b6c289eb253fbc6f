"""Limited second-order upwind flux along one axis of a box: values `(pre, n, post)`, velocities at its n + 1
faces."""

from numba import njit


@njit(cache=True)
def _slope(below, here, above):
    """Van Leer's limiter: the harmonic mean of the one-sided differences, 0 at an extremum.

    Smooth where the data are monotone, which Newton needs, and at most twice either difference, so that the
    reconstruction at both faces of a cell stays between its neighbours and keeps the sign of q.
    """
    left, right = here - below, above - here
    product = left * right
    return 2.0 * product / (left + right) if product > 0.0 else 0.0


@njit(cache=True)
def carried(below, left, right, above, forward, walled):
    """The value at a face, from the side that it comes from; no slope where that cell lies at a wall."""
    if forward:
        return left + (0.0 if walled[0] else 0.5 * _slope(below, left, right))
    return right - (0.0 if walled[1] else 0.5 * _slope(left, right, above))


@njit(cache=True)
def subtract_divergence(values, velocity, spacing, periodic, out):
    """out -= (F_(i+1) - F_i)/h with F = v⁺ q_left + v⁻ q_right; walls are closed unless the axis is periodic."""
    pre, n, post = values.shape
    for a in range(pre):
        for f in range(0 if periodic else 1, n):
            i, j = (f - 1) % n, f
            before, after = (i - 1) % n, (j + 1) % n
            walled = (i == 0 and not periodic, j == n - 1 and not periodic)
            for b in range(post):
                v, left, right = velocity[a, f, b], values[a, i, b], values[a, j, b]
                flux = v * carried(values[a, before, b], left, right, values[a, after, b], v > 0.0, walled)
                out[a, i, b] -= flux / spacing
                out[a, j, b] += flux / spacing
