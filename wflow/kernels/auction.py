"""Bids of an auction between points and places, each place with a price, whose best offers are found in a tree.

The tree is a heap: node k has the children 2k + 1 and 2k + 2, leaf l of `leaves` holds the places n l // leaves to
n (l + 1) // leaves. `low` and `high` (nodes, d) are the boxes of the nodes, `least` (nodes,) their smallest prices.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def _bound(point, low, high, least, node):
    """No place of the node costs less: squared distance to its box and its smallest price."""
    total = least[node]
    for k in range(len(point)):
        gap = max(low[node, k] - point[k], point[k] - high[node, k], 0.0)
        total += gap * gap
    return total


@njit(cache=True)
def _offers(point, places, price, first, last, best):
    """`best` (place, cost, second cost) after looking at places first to last."""
    which, cost, second = best
    for j in range(first, last):
        total = price[j]
        for k in range(len(point)):
            total += (point[k] - places[j, k]) ** 2
        if total < cost:
            which, cost, second = j, total, cost
        elif total < second:
            second = total
    return which, cost, second


@njit(cache=True)
def _best(point, places, price, low, high, least, stack, bounds):
    """The place of least squared distance plus price, what it costs, and what the second best does."""
    n, leaves = len(places), (len(least) + 1) // 2
    best, count = (-1, np.inf, np.inf), 1
    stack[0], bounds[0] = 0, -np.inf
    while count > 0:
        count -= 1
        node = stack[count]
        if bounds[count] >= best[2]:
            continue
        leaf = node - (leaves - 1)
        if leaf >= 0:
            best = _offers(point, places, price, n * leaf // leaves, n * (leaf + 1) // leaves, best)
            continue
        near, far = 2 * node + 1, 2 * node + 2
        here, there = _bound(point, low, high, least, near), _bound(point, low, high, least, far)
        if there < here:
            near, far, here, there = far, near, there, here
        # The nearer one last, so that it is taken first.
        stack[count], bounds[count] = far, there
        stack[count + 1], bounds[count + 1] = near, here
        count += 2
    return best


@njit(cache=True)
def _rise(j, price, least):
    """Smallest prices of the nodes above a place whose price has risen."""
    n, leaves = len(price), (len(least) + 1) // 2
    leaf = ((j + 1) * leaves - 1) // n
    node, smallest = leaf + leaves - 1, np.inf
    for i in range(n * leaf // leaves, n * (leaf + 1) // leaves):
        smallest = min(smallest, price[i])
    while smallest > least[node]:
        least[node] = smallest
        if node == 0:
            return
        node = (node - 1) // 2
        smallest = min(least[2 * node + 1], least[2 * node + 2])


@njit(cache=True)
def auction(points, places, price, low, high, least, increment, mate):
    """Give every point a place, `mate` (n,), at prices that rise from `price` (n,), in place: each gets what costs it
    the least up to `increment`. Points (n, d) and places (n, d) as many; the last one outbid bids first, which takes a
    third less time than the first one, as its neighbours are still in the cache."""
    n, depth = len(points), 4
    while 2**depth < len(least):
        depth += 1
    stack, bounds = np.empty(2 * depth, np.int64), np.empty(2 * depth)
    owner, waiting = np.full(n, -1), np.arange(n)[::-1].copy()
    count = n
    while count > 0:
        count -= 1
        i = waiting[count]
        j, cost, second = _best(points[i], places, price, low, high, least, stack, bounds)
        price[j] += (second - cost if second < np.inf else 0.0) + increment
        _rise(j, price, least)
        if owner[j] >= 0:
            waiting[count] = owner[j]
            count += 1
        owner[j], mate[i] = i, j
