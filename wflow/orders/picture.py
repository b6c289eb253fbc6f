"""The picture of a study: errors against h on log scales."""

from pathlib import Path
from typing import Any

import numpy as np

from wflow.plot.style import COLORS, GREY, INK, MARKERS, finished, new_figure, styled

HEADS = {"l1": "L1", "l2": "L2", "linf": "Linf", "w2": "W2"}


@styled
def draw(study: Any, path: str | Path | None) -> Any:
    """Errors of every norm with the fitted lines, and a triangle of the first norm's slope."""
    figure = new_figure(6.4, 5.2)
    ax = figure.subplots()
    for k, (norm, errors) in enumerate(study.errors.items()):
        color, mean, fit = COLORS[k % len(COLORS)], errors.mean(axis=0), study.fits[norm]
        ax.loglog(study.h, mean, MARKERS[k % len(MARKERS)], color=color, label=f"{HEADS[norm]}: {fit.order:.2f}")
        if len(errors) > 1:
            spread = 1.96 * errors.std(axis=0, ddof=1) / len(errors) ** 0.5
            ax.errorbar(study.h, mean, spread, fmt="none", ecolor=color, capsize=4)
        if np.isfinite(fit.order):
            ax.loglog(study.h, fit.constant * study.h**fit.order, color=color, linewidth=1.4)
    fit = next(iter(study.fits.values()))
    if np.isfinite(fit.order):
        left, right = np.exp(np.quantile(np.log(study.h), (0.0, 0.4)))
        low, high = (0.5 * fit.constant * end**fit.order for end in (left, right))
        ax.loglog([left, right, right, left], [low, low, high, low], color=INK, linewidth=1.2)
        ax.annotate(f"{fit.order:.2f}", (right, (low * high) ** 0.5), (5, 0), textcoords="offset points", va="center")
    ax.set(xlabel="h", ylabel="error", title="" if study.asymptotic else "not asymptotic")
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)
    ax.legend(title="norm: order")
    return finished(figure, path)
