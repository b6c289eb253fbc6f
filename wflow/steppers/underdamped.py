"""Underdamped Langevin dynamics: particles with velocities, friction and noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wflow.arrays import Array, floats
from wflow.errors import InputError, Status
from wflow.flows import Flow
from wflow.kernels import underdamped as kernels
from wflow.kernels.shares import share_out
from wflow.steppers.protocol import Memory, Noise, Step
from wflow.steppers.stochastic import (
    NOTHING,
    Schedule,
    check_cloud,
    check_schedule,
    compiled,
    heat,
    said,
    stretch,
    walls,
)


@dataclass(frozen=True, repr=False)
class UnderdampedLangevin:
    """dx = v dt, dv = (b(x) - γ v) dt + sqrt(2 γ T) dW with `friction` γ, by the splitting BAOAB.

    Half a kick, half a glide, the Ornstein–Uhlenbeck step of the velocity exactly, half a glide, half a kick
    (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34). Weak order 2; the error of the stationary law of the
    positions is O(h²), none on a Gaussian target. The invariant law is p(x) N(0, T) in v; the mass is 1.

    Velocities start from N(0, T) and are kept in the memory and, as `velocity`, in the frames. They turn round at
    reflecting walls. `temperature` multiplies T, as in `Langevin`. Cost: one drift and one normal a step.
    """

    friction: float = 1.0
    temperature: Schedule = None

    order: ClassVar[None] = None
    adaptive: ClassVar[bool] = False
    counters: ClassVar[tuple[str, ...]] = ("rates",)
    framed: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        number = floats("friction", self.friction)
        if number.ndim or number < 0.0:
            raise InputError(f"friction must be one number, not negative, got {self.friction}")
        object.__setattr__(self, "friction", float(number))
        check_schedule(self.temperature)

    def check(self, flow: Flow, state: Any) -> None:
        check_cloud(self, flow, state)
        if flow.facts.weighted:
            raise InputError(
                "UnderdampedLangevin has velocities, of which a reaction knows nothing: take Langevin or MALA with "
                f"metrics.{flow.name}"
            )

    def begin(self, flow: Flow, state: Any, noise: Noise) -> Memory:
        spread = np.sqrt(heat(flow, self.temperature, 0.0))
        return {"velocity": spread * noise.normals(state.coordinates.shape, ahead=-1)}

    def stretch(self, flow: Flow, state: Any, memory: Memory) -> int:
        return stretch(flow, state)

    def step(self, flow: Flow, time: float, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        return self.sweep(flow, np.array([time]), state, dt, memory, noise)

    def sweep(self, flow: Flow, times: Array, state: Any, dt: float, memory: Memory, noise: Noise) -> Step:
        memory = memory or self.begin(flow, state, noise)
        x, before, box = np.ascontiguousarray(state.coordinates), memory["velocity"], walls(state)
        parts, rates = compiled(flow, state), 1.0 + (np.arange(len(times)) < ("force" not in memory))
        start = memory["force"] if "force" in memory else np.ascontiguousarray(flow.drift(times[0], state))
        # 1 - keep² without cancellation where the friction is small.
        part = -float(np.expm1(-2.0 * self.friction * dt))
        scales = np.sqrt(part * np.array([heat(flow, self.temperature, time + 0.5 * dt) for time in times]))
        out, velocity, bad = flow.empty(x.shape), flow.empty(x.shape), []
        force = flow.empty(x.shape) if parts else np.empty((0, x.shape[1]))
        how = ((parts or NOTHING).drift.arrays, times, dt, float(np.exp(-self.friction * dt)), scales)

        def work(low: int, high: int) -> None:
            rows = slice(low, high)
            arrays = (*noise.source(rows, x.shape[1]), low, *box.arrays, out[rows], velocity[rows], force[rows])
            bad.append(kernels.baoab(x[rows], before[rows], start[rows], *how, *arrays))

        share_out(work, len(x))
        moved = state.at(out)
        if any(bad):
            return Step(moved, status=Status.NOT_FINITE, counts={"rates": rates})
        if parts is None:
            force = np.ascontiguousarray(flow.drift(times[0] + dt, moved))
            kernels.kick(velocity, force, 0.5 * dt)
        return Step(moved, {"velocity": velocity, "force": force}, counts={"rates": rates})

    def __repr__(self) -> str:
        return said(self)
