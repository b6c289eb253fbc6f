"""Optimal pairing of two clouds of as many points, by an auction whose bids are found in a tree."""

import numpy as np
from numpy.typing import NDArray

from wflow.kernels.auction import auction, shortfall
from wflow.linalg.transport import bures_map, square_root

Array = NDArray[np.float64]
Index = NDArray[np.int64]

FALL = 5.0  # of the increment from one auction to the next: 3 takes a fifth longer, 10 as long
LEAF = 8  # points of a leaf of the tree, at most
BIDS = 600  # a point: three times what clouds without far outliers take
AT_ONCE = 100_000  # bids, a few tenths of a second, between which signals act
FINEST = 1e-15  # of the squared extent: increments below are lost in the rounding of prices
ROUNDING = 4e-16
MOST = 20_000  # points: two to twenty seconds
THIN = 1e-6  # of the variance: what clouds in a plane get across it
ALIKE = 1e-12  # weights that are equal but for rounding


def assignment(x: Array, y: Array, accuracy: float = 1e-5) -> tuple[Index, float, float]:
    """The permutation (n,) for which x (n, d) and y[permutation] are nearest, their rms distance, and how much that may
    be above the least.

    The mean squared distance, means taken off, is sought to the relative `accuracy`; it is mostly nearer. Where points
    lie close against the extent of the clouds digits may end before, and beyond 600 bids a point the last complete
    auction counts: the bound, from the dual problem, says so. On the line both are sorted, exactly.

    An auction (Bertsekas 1988): each point in turn bids for the object that costs it the least, squared distance plus
    price, and raises the price to that of its second choice and an increment; in rounds of ever smaller increments.
    The best objects are found in a tree of boxes with their lowest prices (Kerber, Morozov & Nigmetov 2017), some
    fifty to two hundred times a point. Permutations that are best stay so under x -> A⁻¹ x, y -> A y with A symmetric,
    and under translations; A makes the covariances equal, after which prices differ little and searches end early.

    Cost on one core, two clouds of one normal density: 0.1 s for 2000 points (the network simplex: 0.4 s), 1 s for 10⁴,
    half a minute for 10⁵; clouds of unlike shape or with heavy tails take up to ten times as long. Memory O(n). Meant
    for d ≤ 3.

    >>> assignment(np.array([[0.0], [1.0], [2.0]]), np.array([[2.1], [0.1], [1.1]]))[0]
    array([1, 2, 0])
    """
    shift = x.mean(axis=0) - y.mean(axis=0)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = float(max(np.abs(x).max(), np.abs(y).max())) or 1.0
    x, y = x / scale, y / scale  # whose squares are within range
    best, gap = np.arange(len(x)), 0.0
    if x.shape[1] == 1:
        best[np.argsort(x[:, 0], kind="stable")] = np.argsort(y[:, 0], kind="stable")
    elif x.any() or y.any():
        best, gap = _auctions(x, y, accuracy)
    squared, far = _squared(x, y[best]), float(np.abs(shift).max()) or 1.0
    moved = far * float(np.linalg.norm(shift / far))
    value, least = (float(np.hypot(moved, scale * np.sqrt(max(cost, 0.0)))) for cost in (squared, squared - gap))
    return best, value, value - least


def pairable(a: Array, b: Array, d: int) -> bool:
    """Whether two clouds in d dimensions with these weights are soon paired one for one: as many, of equal weights."""
    if d > 3 or len(a) != len(b) or (d > 1 and len(a) > MOST):
        return False
    return all(float(np.ptp(weights)) <= ALIKE * float(weights.mean()) for weights in (a, b))


def settled(x: Array, value: float, excess: float, most: tuple[float, float]) -> bool:
    """Whether what is open of an rms distance is at most these shares of it, or of the spread of x (n, d)."""
    return excess <= max(most[0] * value, most[1] * float(np.linalg.norm(x.std(axis=0))))


def _auctions(x: Array, y: Array, accuracy: float) -> tuple[Index, float]:
    """The best pairing of the last auction that ended, and its gap."""
    n, bidders, objects = len(x), *_alike(x, y)
    (rows, *_), (columns, low, high) = _tree(bidders), _tree(objects)
    bidders, objects = bidders[rows], objects[columns]
    corners = np.stack([np.minimum(low[0], bidders.min(axis=0)), np.maximum(high[0], bidders.max(axis=0))])
    increment = extent = float(np.sum(np.ptp(corners, axis=0) ** 2))
    price, least, bids = np.zeros(n), np.zeros(len(low)), BIDS * n
    best, gap = np.arange(n), _squared(x, y)
    while increment > FINEST * extent:
        owner, waiting, count = np.full(n, -1), np.arange(n)[::-1].copy(), n
        while count > 0 and bids > 0:
            share = min(bids, AT_ONCE)
            count, left = auction(bidders, objects, price, low, high, least, increment, owner, waiting, count, share)
            bids -= share - left
        if count > 0:
            break
        mate = np.argsort(owner)
        missed, size = shortfall(bidders, objects, price, low, high, least, mate)
        best, gap = np.empty(n, dtype=np.int64), missed + ROUNDING * size
        best[rows] = columns[mate]
        if missed <= accuracy * _squared(x, y[best]):
            break
        increment /= FALL
        for numbers in (least, price):  # only differences count, and smaller numbers have more digits
            numbers -= price.min()
    return best, gap


def _squared(x: Array, y: Array) -> float:
    return float(np.mean(np.sum((x - y) ** 2, axis=1)))


def _alike(x: Array, y: Array) -> tuple[Array, Array]:
    """A⁻¹ x and A y with equal covariances."""
    a, b = (p.T @ p / len(p) for p in (x, y))
    thin = THIN * (np.trace(a) + np.trace(b)) * np.eye(len(a))
    root = square_root(bures_map(b + thin, a + thin))
    return np.ascontiguousarray(np.linalg.solve(root, x.T).T), y @ root


def _tree(points: Array) -> tuple[Index, Array, Array]:
    """Points in the order of a tree of halves along the widest axis, and the corners (nodes, d) of its boxes."""
    n, order, lows, highs = len(points), np.arange(len(points)), [], []
    levels = int(np.ceil(np.log2(max(n / LEAF, 1.0))))
    for depth in range(levels + 1):
        starts = n * np.arange(2**depth) // 2**depth
        lows.append(np.minimum.reduceat(points[order], starts))
        highs.append(np.maximum.reduceat(points[order], starts))
        if depth < levels:
            node = np.repeat(np.arange(2**depth), np.diff(starts, append=n))
            axis = np.argmax(highs[-1] - lows[-1], axis=1)
            order = order[np.lexsort((points[order, axis[node]], node))]
    return order, np.concatenate(lows), np.concatenate(highs)
