"""All estimators, and what a user may write for one."""

from typing import cast

from numpy.typing import ArrayLike

from wflow.errors import InputError
from wflow.estimators.gaussian import GaussianFit
from wflow.estimators.kernel import Kernel
from wflow.estimators.laplace import Laplace
from wflow.estimators.protocol import Estimator
from wflow.estimators.spectral import Spectral
from wflow.estimators.stein import Stein

ESTIMATORS = (Kernel, Laplace, GaussianFit, Stein, Spectral)


def as_estimator(given: Estimator | str | ArrayLike | None) -> Estimator:
    """An estimator, from None (`Kernel()`), a bandwidth (a number, one per axis or a rule) or an estimator.

    >>> as_estimator("scott")
    Kernel(bandwidth='scott', method='auto', order=4, accuracy=None, adaptive=False)
    """
    if given is None:
        return Kernel()
    if isinstance(given, type):
        raise InputError(f"an estimator is an object, got the class {given.__name__}; write {given.__name__}()")
    if callable(given):
        return given
    return Kernel(bandwidth=cast("str | float | tuple[float, ...]", given))
