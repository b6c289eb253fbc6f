"""Bids of an auction between bidders and objects, each object with a price, whose best offers are found in a tree.

The tree is a heap: node k has the children 2k + 1 and 2k + 2, leaf l of `leaves` holds the objects n l // leaves to
n (l + 1) // leaves. `low` and `high` (nodes, d) are the boxes of the nodes, `least` (nodes,) their smallest prices.
"""

import numpy as np
from numba import njit

DEEPEST = 128  # entries on the way through a tree of 2^60 leaves


@njit(cache=True)
def _bound(bidder, low, high, least, node):
    """No object of the node costs less: squared distance to its box and its smallest price."""
    total = least[node]
    for k in range(len(bidder)):
        gap = max(low[node, k] - bidder[k], bidder[k] - high[node, k], 0.0)
        total += gap * gap
    return total


@njit(cache=True)
def _offers(bidder, objects, price, first, last, best):
    """`best` (object, cost, second cost) after looking at objects first to last."""
    which, cost, second = best
    for j in range(first, last):
        total = price[j]
        for k in range(len(bidder)):
            total += (bidder[k] - objects[j, k]) ** 2
        if total < cost:
            which, cost, second = j, total, cost
        elif total < second:
            second = total
    return which, cost, second


@njit(cache=True)
def _best(bidder, objects, price, low, high, least, slack, stack, bounds):
    """The object of least squared distance plus price, what it costs, and what the second best does; an object that is
    better than the second by no more than `slack` may be missed."""
    n, leaves = len(objects), (len(least) + 1) // 2
    best, count = (-1, np.inf, np.inf), 1
    stack[0], bounds[0] = 0, -np.inf
    while count > 0:
        count -= 1
        node = stack[count]
        if bounds[count] >= best[2] - slack:
            continue
        leaf = node - (leaves - 1)
        if leaf >= 0:
            best = _offers(bidder, objects, price, n * leaf // leaves, n * (leaf + 1) // leaves, best)
            continue
        near, far = 2 * node + 1, 2 * node + 2
        here, there = _bound(bidder, low, high, least, near), _bound(bidder, low, high, least, far)
        if there < here:
            near, far, here, there = far, near, there, here
        # The nearer one last, so that it is taken first.
        stack[count], bounds[count] = far, there
        stack[count + 1], bounds[count + 1] = near, here
        count += 2
    return best


@njit(cache=True)
def _rise(j, price, least):
    """Smallest prices of the nodes above an object whose price has risen."""
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
def auction(bidders, objects, price, low, high, least, increment, owner, waiting, count, bids):
    """Up to so many bids of the `count` bidders in `waiting`; gives how many then wait, and the bids left.

    Bidders (n, d) and objects (n, d) as many; `price` (n,), `least`, `owner` (n,), -1 for none, and `waiting` (n,)
    change in place. Each takes what costs it the least up to 3/2 `increment`. The last one outbid bids first, which
    takes a third less time than the first one, as its neighbours are still in the cache.
    """
    stack, bounds = np.empty(DEEPEST, np.int64), np.empty(DEEPEST)
    while count > 0 and bids > 0:
        count -= 1
        bids -= 1
        i = waiting[count]
        j, cost, second = _best(bidders[i], objects, price, low, high, least, 0.5 * increment, stack, bounds)
        rise = (second - cost if second < np.inf else 0.0) + increment
        # Where an increment is lost in the rounding of a price, the next number: no two bid for ever.
        price[j] = max(price[j] + rise, np.nextafter(price[j], np.inf))
        _rise(j, price, least)
        if owner[j] >= 0:
            waiting[count] = owner[j]
            count += 1
        owner[j] = i
    return count, bids


@njit(cache=True)
def shortfall(bidders, objects, price, low, high, least, mate):
    """Mean over the bidders of what their objects cost above the least, and of the costs that this is a difference of.

    The first is how much the mean squared distance of the pairs may be above the least: the gap of the dual problem.
    """
    n, missed, size = len(bidders), 0.0, 0.0
    stack, bounds = np.empty(DEEPEST, np.int64), np.empty(DEEPEST)
    for i in range(n):
        j, own = mate[i], 0.0
        for k in range(bidders.shape[1]):
            own += (bidders[i, k] - objects[j, k]) ** 2
        own += price[j]
        missed += max(own - _best(bidders[i], objects, price, low, high, least, 0.0, stack, bounds)[1], 0.0)
        size += own
    return missed / n, size / n
