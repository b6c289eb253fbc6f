"""From cells to nodes with masses between them."""

import numpy as np

from wflow.arrays import Array
from wflow.flows.protocol import Memory
from wflow.kernels import quantiles
from wflow.states import Density

NARROWEST = 1e-12  # of the box: nodes nearer than this would not be apart any more after rounding
# Of all mass: less counts as none. Where a vacuum has infinite energy, thinner tails would need nodes nearer than that.
LEAST, LEAST_FILLING = 1e-100, 1e-20
FULLEST = 2.0  # of the mean mass of a cell: an interval that has grown fuller resolves less than cells would
THIRD = np.polynomial.legendre.leggauss(3)


def opened(y: Array, length: float) -> Array:
    """Nodes moved apart by rounding's worth, where they have met."""
    narrowest = NARROWEST * length
    if np.all(np.diff(y) >= narrowest):
        return y
    ramp = narrowest * np.arange(y.size)
    rising = ramp + np.maximum.accumulate(y - ramp)
    over = rising[-1] - y[-1]
    return np.asarray(rising if over <= 0.0 else np.minimum(rising, y[-1] - ramp[::-1]))


def cells_as_nodes(values: Array, table: Array, flat: bool = False, least: float = LEAST) -> tuple[Array, Array]:
    """Nodes and masses (in units of density times cell) of cell averages: the edges, and more of them in full cells.

    Cells are split until no interval holds more than the mean; runs of empty cells, of less than `least` of all mass
    each, are one interval without mass. Over
    a cell q/p is linear, with slopes limited by van Leer's rule, or `flat`, when the energy is that of the cells.
    """
    count, total = values.size, float(values.sum())
    full = values > least * total
    splits = np.where(full, np.maximum(1, np.ceil(values * count / total - 1e-9)), 1).astype(np.int64)
    first = np.repeat(np.arange(count), splits)
    inner = np.arange(first.size) - np.repeat(np.cumsum(splits) - splits, splits)
    nodes = np.append(first + inner / splits[first], float(count))
    logs = np.empty(first.size)
    quantiles.log_masses(nodes, table, logs)
    ends = np.cumsum(splits) - splits
    within = np.exp(logs - np.repeat(np.maximum.reduceat(logs, ends), splits))
    if not flat:
        total_logs = np.logaddexp.reduceat(logs, ends)
        within *= 1.0 + tilts(values, total_logs)[first] * ((inner + 0.5) / splits[first] - 0.5)
    within /= np.repeat(np.add.reduceat(within, ends), splits)
    masses = np.where(full[first], values[first] * within, 0.0)
    return without_empty(nodes, masses)


def tilts(values: Array, logs: Array) -> Array:
    """Limited slopes of u = q/p over the cells, relative to u, from log p in the cells; 0 at the walls."""
    u = values * np.exp(logs.min() - logs)
    down, up = np.zeros(u.size), np.zeros(u.size)
    down[1:], up[:-1] = np.diff(u), np.diff(u)
    size = np.minimum(2.0 * np.minimum(np.abs(down), np.abs(up)), 0.5 * np.abs(down + up))
    slope = np.where(down * up > 0.0, np.sign(up) * size, 0.0)
    return np.divide(slope, u, out=np.zeros(u.size), where=u > 0.0)


def without_empty(nodes: Array, masses: Array) -> tuple[Array, Array]:
    """Intervals without mass joined, and dropped at the ends."""
    inside = np.flatnonzero(masses > 0.0)
    nodes, masses = nodes[inside[0] : inside[-1] + 2], masses[inside[0] : inside[-1] + 1]
    keep = np.insert((masses[1:] > 0.0) | (masses[:-1] > 0.0), 0, True)
    return np.append(nodes[:-1][keep], nodes[-1]), masses[keep]


def carried(memory: Memory, before: Density, after: Density) -> Memory:
    """What a reaction makes of quantiles that stand for `before`: nodes stay, masses grow as the cells around them do.

    To O(h²), and without the smear of going to the cells and back, h²/12 a step. {} where there are none, or where they
    would resolve less than the cells.
    """
    if "nodes" not in memory or not np.array_equal(memory["values"], before.values):
        return {}
    nodes, masses = memory["nodes"], memory["masses"]
    held = (before.values > 0.0) & (after.values > 0.0)
    logs, at = np.log(after.values[held]) - np.log(before.values[held]), np.flatnonzero(held) + 0.5
    # On to the outer sides of the outermost cells; where cells differ by much, lines say nothing beyond them.
    ends = np.clip(0.5 * (logs[[0, -1]] - logs[[1, -2]]), -0.5, 0.5) if logs.size > 1 else np.zeros(2)
    logs = np.concatenate([logs[:1] + ends[0], logs, logs[-1:] + ends[1]])
    at = np.concatenate([at[:1] - 0.5, at, at[-1:] + 0.5])
    places = nodes[:-1] + 0.5 * (THIRD[0][:, None] + 1.0) * np.diff(nodes)
    grown = masses * (0.5 * THIRD[1] @ np.exp(np.interp(places, at, logs)))
    grown = grown * (masses.sum() / grown.sum())
    if grown.max() > FULLEST * grown.sum() / before.values.size:
        return {}
    return {"nodes": nodes, "masses": grown, "values": after.values}
