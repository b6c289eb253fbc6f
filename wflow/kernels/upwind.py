"""Limited second-order upwind flux along one axis of a box: values `(pre, n, post)`, velocities at its n + 1
faces."""

from numba import njit


@njit(cache=True)
def limited_slope(below, here, above):
    """Van Leer's limiter: the harmonic mean of the one-sided differences, 0 at an extremum.

    Smooth where the data are monotone, which Newton needs, and at most twice either difference, so that the
    reconstruction at both faces of a cell stays between its neighbours and keeps the sign of q.
    """
    left, right = here - below, above - here
    product = left * right
    return 2.0 * product / (left + right) if product > 0.0 else 0.0


@njit(cache=True)
def subtract_divergence(values, velocity, spacing, periodic, out):
    """out -= (F_(i+1) - F_i)/h with F = v⁺ q_left + v⁻ q_right; walls are closed unless the axis is periodic."""
    pre, n, post = values.shape
    for a in range(pre):
        for f in range(0 if periodic else 1, n):
            i, j = (f - 1) % n, f
            before, after = (i - 1) % n, (j + 1) % n
            for b in range(post):
                v = velocity[a, f, b]
                left, right = values[a, i, b], values[a, j, b]
                flat_left, flat_right = i == 0 and not periodic, j == n - 1 and not periodic
                if v > 0.0:
                    tilt = 0.0 if flat_left else limited_slope(values[a, before, b], left, right)
                    flux = v * (left + 0.5 * tilt)
                else:
                    tilt = 0.0 if flat_right else limited_slope(left, right, values[a, after, b])
                    flux = v * (right - 0.5 * tilt)
                out[a, i, b] -= flux / spacing
                out[a, j, b] += flux / spacing
