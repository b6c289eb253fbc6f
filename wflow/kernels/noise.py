"""Counter-based random numbers: every normal is a pure function of (seed, step, particle, axis).

The same bits come out on any number of threads, in any order, for any share of the particles and after any
restart. The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC'11): key = the two halves of the seed; counter = (particle, stream and pair of axes, low and
high half of the step).

Seeds and steps are taken modulo 2**64; particle numbers must stay below 2**32 and axes below 2**25. Numba
has no vector logarithm, sine or cosine, so they are polynomials here (fdlibm's, below one unit in the last
place each); loops over contiguous scratch of `BLOCK` numbers are what LLVM turns into vector code.
"""

import numpy as np
from numba import njit, prange

BLOCK = 512  # particles at a time: the scratch (8 kB) stays in the first-level cache
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
_12 = np.uint64(12)

# log: fdlibm e_log.c; _ROOT_HALF are the bits of a number just below sqrt(1/2)
_ROOT_HALF = np.uint64(0x3FE6A09E00000000)
_EXPONENT = np.uint64(0xFFF0000000000000)
_52 = np.int64(52)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_L1, _L2, _L3 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01
_L4, _L5, _L6 = 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01
_L7 = 1.479819860511658591e-01

# sin, cos on [-pi/4, pi/4]: fdlibm k_sin.c, k_cos.c
_S1, _S2, _S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
_S4, _S5, _S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
_C1, _C2, _C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
_C4, _C5, _C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11


@njit(cache=True, inline="always")
def philox(key0, key1, c0, c1, c2, c3):
    """Four random words from a key of two and a counter of four; a word is 32 bits, held in a uint64."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ key0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ key1
        c3 = p0 & _LOW
        key0 = (key0 + _W0) & _LOW
        key1 = (key1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(cache=True, inline="always")
def log_positive(x):
    """log(x) of a positive normal number, to one unit in the last place."""
    bits = np.float64(x).view(np.uint64)
    shifted = bits - _ROOT_HALF
    k = np.float64(np.int64(shifted) >> _52)
    f = np.uint64(bits - (shifted & _EXPONENT)).view(np.float64) - 1.0
    half = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    r = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7))) + w * (_L2 + w * (_L4 + w * _L6))
    return s * (half + r) + k * _LN2_LOW - half + f + k * _LN2_HIGH


@njit(cache=True, inline="always")
def sine_cosine(a):
    """sin(a) and cos(a) for |a| <= pi/4, to one unit in the last place."""
    z = a * a
    half = 0.5 * z
    top = 1.0 - half
    sine = a + a * z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * (_S5 + z * _S6)))))
    tail = z * z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * (_C5 + z * _C6)))))
    return sine, top + (((1.0 - top) - half) + tail)


@njit(cache=True, nogil=True, error_model="numpy")
def _words(key0, key1, base, c1, c2, c3, first, second):
    """Two 64-bit words of each of the particles base, base + 1, ..."""
    for i in range(first.size):
        r0, r1, r2, r3 = philox(key0, key1, (base + np.uint64(i)) & _LOW, c1, c2, c3)
        first[i] = (r0 << _32) | r1
        second[i] = (r2 << _32) | r3


@njit(cache=True, nogil=True, error_model="numpy")
def _radii(words, out):
    """Box-Muller radii sqrt(-2 log u) with u in (0, 1] from all 64 bits: at most 9.5."""
    for i in range(words.size):
        u = (np.float64(words[i]) + 0.5) * _2_TO_M64
        out[i] = np.sqrt(-2.0 * log_positive(u))


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(words, first, second):
    """Turn the radii in `first` by random angles: (first, second) become independent normals.

    The upper 53 bits give a signed angle of up to an eighth of a turn, the lowest two mirror it at the
    diagonal and at the origin: the whole circle, without reducing an argument.
    """
    for i in range(words.size):
        word = words[i]
        sine, cosine = sine_cosine(_QUARTER_PI * (np.float64(np.int64(word) >> _11) * _2_TO_M52))
        radius = first[i] * (1.0 - np.float64(np.int64(word & _TWO)))
        mirrored = (word & _ONE) != _ZERO
        first[i] = radius * (sine if mirrored else cosine)
        second[i] = radius * (cosine if mirrored else sine)


@njit(cache=True, nogil=True, error_model="numpy")
def _store(pair, axis, out):
    if axis + 1 < out.shape[1]:
        for i in range(out.shape[0]):
            out[i, axis] = pair[0, i]
            out[i, axis + 1] = pair[1, i]
    else:
        for i in range(out.shape[0]):
            out[i, axis] = pair[0, i]


@njit(cache=True, nogil=True, error_model="numpy")
def fill_normals(seed, step, start, out):
    """Fill `out` (m, d) with the normals of the particles start, start + 1, ...; for use in other kernels.

    `seed`, `step`: uint64; `start`: a signed integer. Each call of Philox gives the normals of two
    consecutive axes; the second is thrown away on the last axis of an odd dimension (so half the work in
    1-D), which keeps a particle's noise apart from the others'.
    """
    # Three short loops over contiguous scratch: LLVM makes better vector code of them (4.5 ns a pair) than of
    # one long body (6.0 ns).
    count, dim = out.shape
    key0, key1, c2, c3 = seed & _LOW, seed >> _32, step & _LOW, step >> _32
    words = np.empty((2, BLOCK), np.uint64)
    pair = np.empty((2, BLOCK))
    for low in range(0, count, BLOCK):
        size = min(BLOCK, count - low)
        base = np.uint64(start + low)
        for axis in range(0, dim, 2):
            _words(key0, key1, base, np.uint64(axis // 2), c2, c3, words[0, :size], words[1, :size])
            _radii(words[0, :size], pair[0, :size])
            _turn(words[1, :size], pair[0, :size], pair[1, :size])
            _store(pair[:, :size], axis, out[low : low + size])


@njit(cache=True, nogil=True, error_model="numpy")
def fill_uniforms(seed, step, stream, start, out):
    """Fill `out` (m,) with the uniforms of particles start, start + 1, ...; seed, step, stream: uint64."""
    key0, key1, c2, c3 = seed & _LOW, seed >> _32, step & _LOW, step >> _32
    c1 = stream << _STREAM
    for i in range(out.shape[0]):
        r0, r1, _, _ = philox(key0, key1, np.uint64(start + i) & _LOW, c1, c2, c3)
        # 52 bits and a half: exact in a double, so neither 0 nor 1 can come out.
        out[i] = (np.float64(np.int64(((r0 << _32) | r1) >> _12)) + 0.5) * _2_TO_M52


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _normals_parallel(seed, step, out):
    for stripe in prange((out.shape[0] + STRIPE - 1) // STRIPE):
        low = stripe * STRIPE
        fill_normals(seed, step, low, out[low : low + STRIPE])


def normals(seed: int, step: int, out: np.ndarray) -> np.ndarray:
    """Fill `out` (n, d) float64 with standard normals keyed by (seed, step, particle, axis) and return it.

    Bitwise the same on any number of threads; the first k rows do not depend on n.
    Cost: 5 ns a pair of axes and particle on one core (AVX-512), 2.6 ns on two.
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
