"""How the density of a cloud is estimated, and which way its sums over pairs are made, for the record of a run."""

from contextlib import suppress
from typing import Any

from wflow.errors import InputError
from wflow.estimators import Kernel
from wflow.flows.particles import ParticleFlow
from wflow.states import Particles

WAYS = {"mesh": "a mesh", "near": "near pairs", "direct": "direct sums"}


def pair_sums(flow: Any, state: Any) -> str:
    """ "interaction by a mesh of spacing 0.1; density by direct sums" and the like, at the start of a run; "" where
    there are none."""
    if not (isinstance(flow, ParticleFlow) and isinstance(state, Particles)):
        return ""
    said = [part.text for part in flow.pulls]
    said += [f"blob by {WAYS[part.engine]}" for part in flow.blobs]
    if flow.terms.densities and isinstance(flow.estimator, Kernel):
        with suppress(InputError):  # of a Dirac, from which noise may start
            said.append(f"density by {WAYS[flow.estimator.engine_for(state.positions, state.weights, flow.box)]}")
    return "; ".join(said)


def density_estimator(flow: Any) -> str:
    """The estimator of the density of a cloud, defaults resolved; "" where none is asked for."""
    if not (isinstance(flow, ParticleFlow) and flow.terms.densities):
        return ""
    return str(getattr(flow.estimator, "text", repr(flow.estimator)))
