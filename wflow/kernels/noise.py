"""Counter-based random numbers: every normal is a pure function of (seed, step, particle, axis).

The same bits come out on any number of threads, in any order, for any share of the particles and after any
restart. The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC'11): key = the two halves of the seed; counter = (particle, stream and pair of axes, low and
high half of the step).

Seeds and steps are taken modulo 2**64; particle numbers must stay below 2**32 and axes below 2**25. Numba
has no vector logarithm, sine or cosine, so they are polynomials here (fdlibm's, below one unit in the last
place each), with the multiply-adds fused by name: the bits are the same on every machine. Loops over contiguous
scratch of `BLOCK` numbers are what LLVM turns into vector code.
"""

import numpy as np
from numba import njit, prange

from wflow.kernels.lanes import fma, widest

BLOCK = 512  # particles at a time: the scratch (16 kB) stays in the first-level cache
STRIPE = 4 * BLOCK  # particles a thread takes at a time; no threads are started for fewer

_MASK = 0xFFFFFFFFFFFFFFFF
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_STREAM = np.uint64(24)  # a stream's number stands above this bit of the second counter word

# Words to reals
_2_TO_M64 = 2.0**-64
_2_TO_M52 = 2.0**-52
_QUARTER_PI = 0.25 * np.pi
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_11 = np.int64(11)
_12, _62 = np.uint64(12), np.uint64(62)

# log: fdlibm e_log.c; _ROOT_HALF are the bits of a number just below sqrt(1/2)
_ROOT_HALF = np.uint64(0x3FE6A09E00000000)
_EXPONENT = np.uint64(0xFFF0000000000000)
_52 = np.int64(52)
_LN2 = 0.6931471805599453
_L1, _L2, _L3 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01
_L4, _L5, _L6 = 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01
_L7 = 1.479819860511658591e-01

# 1/d for d in [1 + sqrt(1/2), 1 + sqrt(2)] to 1.3e-3: 1 - d q(d) is Chebyshev's polynomial of degree 3
_R0, _R1, _R2 = 1.47775591, -0.72244411, 0.11686289

# sin, cos on [-pi/4, pi/4]: fdlibm k_sin.c, k_cos.c
_S1, _S2, _S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
_S4, _S5, _S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
_C1, _C2, _C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
_C4, _C5, _C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11


@njit(cache=True, inline="always")
def philox(key0, key1, c0, c1, c2, c3):
    """Four random words from a key of two and a counter of four; a word is 32 bits, held in a uint64."""
    # What stands above the lower 32 bits of c1 and c3 ends above those of c0 and c2, where a product does not see it.
    for _ in range(10):
        p0 = _M0 * (c0 & _LOW)
        p1 = _M1 * (c2 & _LOW)
        c0 = (p1 >> _32) ^ c1 ^ key0
        c1 = p1
        c2 = (p0 >> _32) ^ c3 ^ key1
        c3 = p0
        key0 = (key0 + _W0) & _LOW
        key1 = (key1 + _W1) & _LOW
    return c0 & _LOW, c1 & _LOW, c2 & _LOW, c3 & _LOW


@njit(cache=True, inline="always")
def _inverse(d):
    """1/d for d in [1.7, 2.42], nearly rounded: Newton thrice, as division is slow even in vectors."""
    y = fma(fma(_R2, d, _R1), d, _R0)
    for _ in range(3):
        y = fma(fma(-d, y, 1.0), y, y)
    return y


@njit(cache=True, inline="always")
def log_positive(x):
    """log(x) of a positive normal number, to 1.3 units in the last place."""
    bits = np.float64(x).view(np.uint64)
    shifted = bits - _ROOT_HALF
    k = np.float64(np.int64(shifted) >> _52)
    f = np.uint64(bits - (shifted & _EXPONENT)).view(np.float64) - 1.0
    s = f * _inverse(2.0 + f)
    z = s * s
    w = z * z
    odd = fma(w, fma(w, fma(w, _L7, _L5), _L3), _L1)
    even = fma(w, fma(w, _L6, _L4), _L2)
    # f leads: it is exact, and what is taken off it is small.
    return fma(k, _LN2, fma(-s, f - fma(z, odd, w * even), f))


@njit(cache=True, inline="always")
def sine_cosine(a):
    """sin(a) and cos(a) for |a| <= pi/4, to one unit in the last place."""
    z = a * a
    sine = fma(z, fma(z, fma(z, fma(z, fma(z, _S6, _S5), _S4), _S3), _S2), _S1)
    cosine = fma(z, fma(z, fma(z, fma(z, fma(z, _C6, _C5), _C4), _C3), _C2), _C1)
    return fma(a * z, sine, a), fma(z * z, cosine, fma(-0.5, z, 1.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _words(key0, key1, base, c1, c2, c3, first, second):
    """Two 64-bit words of each of the particles base, base + 1, ..."""
    widest()
    for i in range(BLOCK):
        r0, r1, r2, r3 = philox(key0, key1, base + np.uint64(i), c1, c2, c3)
        first[i] = (r0 << _32) | r1
        second[i] = (r2 << _32) | r3


@njit(cache=True, nogil=True, error_model="numpy")
def _radii(words, out):
    """Box-Muller radii sqrt(-2 log u) with u in (0, 1] from all 64 bits: at most 9.5."""
    widest()
    for i in range(BLOCK):
        u = (np.float64(words[i]) + 0.5) * _2_TO_M64
        out[i] = np.sqrt(-2.0 * log_positive(u))


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(words, first, second):
    """Turn the radii in `first` by random angles: (first, second) become independent normals.

    The upper 53 bits give a signed angle of up to an eighth of a turn, the lowest two mirror it at the
    diagonal and at the origin: the whole circle, without reducing an argument.
    """
    widest()
    for i in range(BLOCK):
        word = words[i]
        sine, cosine = sine_cosine(_QUARTER_PI * (np.float64(np.int64(word) >> _11) * _2_TO_M52))
        radius = np.uint64(np.float64(first[i]).view(np.uint64) ^ ((word & _TWO) << _62)).view(np.float64)
        mirrored = (word & _ONE) != _ZERO
        first[i] = radius * (sine if mirrored else cosine)
        second[i] = radius * (cosine if mirrored else sine)


@njit(cache=True, nogil=True, error_model="numpy")
def block_normals(seed, step, start, words, out):
    """The normals of the particles start to start + `BLOCK` - 1, into `out` (axes rounded up to even, BLOCK).

    `seed`, `step`: uint64; `start`: a signed integer; `words`: scratch (2, BLOCK) uint64. Each call of Philox gives
    the normals of two consecutive axes; the second is thrown away on the last axis of an odd dimension (so half the
    work in 1-D), which keeps a particle's noise apart from the others'.
    """
    # Three short loops: LLVM makes better vector code of them (2.9 ns a pair) than of one long body (5.5 ns).
    key0, key1, c2, c3 = seed & _LOW, seed >> _32, step & _LOW, step >> _32
    for axis in range(0, out.shape[0], 2):
        _words(key0, key1, np.uint64(start), np.uint64(axis // 2), c2, c3, words[0], words[1])
        _radii(words[0], out[axis])
        _turn(words[1], out[axis], out[axis + 1])


@njit(cache=True, nogil=True, error_model="numpy")
def fill_normals(seed, step, start, out):
    """Fill `out` (m, d) with the normals of the particles start, start + 1, ...; for use in other kernels."""
    count, dim = out.shape
    words = np.empty((2, BLOCK), np.uint64)
    rows = np.empty((dim + dim % 2, BLOCK))
    for low in range(0, count, BLOCK):
        block_normals(seed, step, start + low, words, rows)
        for axis in range(dim):
            for i in range(min(BLOCK, count - low)):
                out[low + i, axis] = rows[axis, i]


@njit(cache=True, nogil=True, error_model="numpy")
def block_uniforms(seed, step, stream, start, out):
    """The uniforms of the particles start to start + `BLOCK` - 1, into `out` (BLOCK,); seed, step, stream: uint64."""
    widest()
    key0, key1, c2, c3 = seed & _LOW, seed >> _32, step & _LOW, step >> _32
    c1, base = stream << _STREAM, np.uint64(start)
    for i in range(BLOCK):
        r0, r1, _, _ = philox(key0, key1, base + np.uint64(i), c1, c2, c3)
        # 52 bits and a half: exact in a double, so neither 0 nor 1 can come out.
        out[i] = (np.float64(np.int64(((r0 << _32) | r1) >> _12)) + 0.5) * _2_TO_M52


@njit(cache=True, nogil=True, error_model="numpy")
def fill_uniforms(seed, step, stream, start, out):
    """Fill `out` (m,) with the uniforms of particles start, start + 1, ...; seed, step, stream: uint64."""
    row = np.empty(BLOCK)
    for low in range(0, out.size, BLOCK):
        block_uniforms(seed, step, stream, start + low, row)
        size = min(BLOCK, out.size - low)
        out[low : low + size] = row[:size]


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _normals_parallel(seed, step, out):
    for stripe in prange((out.shape[0] + STRIPE - 1) // STRIPE):
        low = stripe * STRIPE
        fill_normals(seed, step, low, out[low : low + STRIPE])


def normals(seed: int, step: int, out: np.ndarray) -> np.ndarray:
    """Fill `out` (n, d) float64 with standard normals keyed by (seed, step, particle, axis) and return it.

    Bitwise the same on any number of threads; the first k rows do not depend on n.
    Cost: 3 ns a pair of axes and particle on one core with AVX-512, and what writing to memory takes.
    Source: Philox4x32-10 (Salmon et al., SC'11) and Box and Muller (1958).

    >>> normals(7, 0, np.empty((2, 2)))[0].round(6)
    array([-0.299957, -0.054382])
    """
    key = np.uint64(seed & _MASK), np.uint64(step & _MASK)
    if out.shape[0] <= STRIPE:
        fill_normals(*key, 0, out)
    else:
        _normals_parallel(*key, out)
    return out


def uniforms(seed: int, step: int, stream: int, out: np.ndarray) -> np.ndarray:
    """Fill `out` (n,) float64 with uniforms in the open interval (0, 1) and return it.

    `stream` (1 to 255) keeps uses apart; the normals are stream 0. Multiples of 2**-52 plus 2**-53.
    """
    fill_uniforms(np.uint64(seed & _MASK), np.uint64(step & _MASK), np.uint64(stream), 0, out)
    return out
