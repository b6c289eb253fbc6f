"""Metrics: what "steepest" means. Each is a direction from the covector δF and a way to move along it.

Adding one: a small class here and its name in `METRICS`.
"""

from typing import Any

from wflow.errors import InputError, check_made
from wflow.metrics.chart import Chart
from wflow.metrics.flat import Euclidean, Norm, Preconditioned, Wasserstein
from wflow.metrics.local import Natural, Newton
from wflow.metrics.mirror import Mirror
from wflow.metrics.protocol import Metric
from wflow.metrics.reaction import FisherRao, WassersteinFisherRao, centred, grown
from wflow.metrics.stein import Stein, median_width
from wflow.states import Gaussian, Point

METRICS = (
    *(Euclidean, Wasserstein, Newton, Natural, Mirror, Preconditioned, Norm, Chart, Stein),
    *(FisherRao, WassersteinFisherRao),
)

__all__ = [
    "METRICS",
    "Chart",
    "Euclidean",
    "FisherRao",
    "Metric",
    "Mirror",
    "Natural",
    "Newton",
    "Norm",
    "Preconditioned",
    "Stein",
    "Wasserstein",
    "WassersteinFisherRao",
    "as_metric",
    "centred",
    "grown",
    "median_width",
]


def __dir__() -> list[str]:
    return sorted(metric.__name__ for metric in METRICS)


def as_metric(metric: Any, state: Any) -> Metric:
    """The metric given, or the default of the state; refused where it is not defined."""
    if metric is None:
        return Euclidean() if isinstance(state, Point) else Wasserstein()
    check_made(metric, METRICS, "metric", "wf.metrics")
    if not isinstance(state, metric.states):
        names = ", ".join(s.__name__ for s in metric.states)
        hint = "; on a Point give it fisher=... or scores=..." if isinstance(metric, Natural) else ""
        if isinstance(metric, FisherRao | WassersteinFisherRao) and isinstance(state, Gaussian):
            hint = "; there the Fisher–Rao metric is metrics.Natural()"
        raise InputError(f"metric {type(metric).__name__} is defined on {names}, not on {type(state).__name__}{hint}")
    return metric
