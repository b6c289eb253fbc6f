"""Three Langevin integrators: the error of their stationary law against the step."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from numpy.polynomial import chebyshev
from scipy.special import gamma

import wflow as wf
from wflow.flows import make_flow
from wflow.plot.style import COLORS, INK, MARKERS, new_figure, save, styled

STEPPERS = {
    "Euler–Maruyama": wf.steppers.Langevin("euler-maruyama"),
    "Leimkuhler–Matthews": wf.steppers.Langevin(),
    "BAOAB (underdamped)": wf.steppers.UnderdampedLangevin(2.0),
}
# Where the schemes are stable on the tails.
QUADRATIC = dict.fromkeys(STEPPERS, (0.1, 0.2, 0.4, 0.8, 1.2))
QUARTIC = dict(zip(STEPPERS, ((0.01, 0.02, 0.04, 0.08), (0.02, 0.04, 0.08, 0.16), (0.1, 0.15, 0.2, 0.3)), strict=True))
ORDERS = dict(zip(STEPPERS, (1, 2, 2), strict=True))
EXACT = 2.0 * float(gamma(0.75) / gamma(0.25))  # E x² under exp(-x⁴/4)


def main(
    particles: int = 400_000,
    time: float = 40.0,
    seed: int = 0,
    pictures: int = 40,
    out: Path = Path("results/langevin"),
    table: Path | None = None,
) -> dict[str, Any]:
    """Sample exp(-V) with a step h and measure E x², for V = x²/2 and V = x⁴/4.

    Each scheme has an invariant law of its own, which is near p = exp(-V)/Z for small h. Its error does not go away
    with time or with more particles. The three cost the same, one gradient and one normal a step:

    Euler–Maruyama, x' = x - h V'(x) + √(2h) ξ: error O(h). On V = k x²/2 the variance is 1/(k (1 - h k/2)) exactly.

    Leimkuhler–Matthews, x' = x - h V'(x) + √(2h) (ξ + ξ')/2, ξ' the noise of the next step: error O(h²), none on a
    quadratic.

    BAOAB for dx = v dt, dv = (-V'(x) - γ v) dt + √(2γ) dW, here γ = 2: in x the error is O(h²), none on a quadratic.

    On the quartic E x² = 2 Γ(3/4)/Γ(1/4) = 0.67598, and the invariant law of each scheme is found without sampling
    too, from the matrix of its Markov chain (`law_of`); the order is the slope of log |error| against log h of the
    three smallest steps there. Printed and, with `table`, written: `mean` over the particles and the time from 4 on,
    its `error` against the truth, its standard error `noise`, from the particles, which are independent, and `law`,
    the error of the scheme's own law. A movie of so many `pictures` shows a cloud between two wells; 0 for none.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for text, truth, sizes in (("x**2/2", 1.0, QUADRATIC), ("x**4/4", EXACT, QUARTIC)):
        for name, stepper in STEPPERS.items():
            with stage(f"{text}, {name}"):
                for h in sizes[name]:
                    mean, noise = second_moment(text, stepper, h, particles, time, seed)
                    law = law_of(stepper, text, h) - truth if truth == EXACT else known_bias(name, h)
                    rows.append(
                        {
                            "V": text,
                            "scheme": name,
                            "h": h,
                            "mean": mean,
                            "error": mean - truth,
                            "noise": noise,
                            "law": law,
                        }
                    )
    lines = [",".join(rows[0]), *(",".join(written(value) for value in row.values()) for row in rows)]
    print("\n".join(lines))
    if table is not None:
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    orders = {name: order([row for row in rows if row["V"] == "x**4/4" and row["scheme"] == name]) for name in STEPPERS}
    for name, value in orders.items():
        print(f"{name:>20}: order {value:.2f} on the quartic, declared {ORDERS[name]}")
    save(draw(rows), out / "bias.png")
    if pictures:
        with stage("movie"):
            wells = wf.FDivergence("reverse-kl", wf.Gibbs("2*(x**2 - 1)**2 + 2*y**2"))
            cloud = wf.Particles(np.tile([-1.0, 0.0], (1000, 1)))
            flow = wf.run(wells, cloud, t_end=4.0, dt=0.01, stepper=wf.steppers.Langevin(), save=pictures, rng=seed)
            wf.plot.movie(flow, out / "wells.mp4", fps=8, title=["Langevin, V = 2 (x² - 1)² + 2 y²"])
    print(f"picture: {out}")
    return {"rows": rows, "orders": orders}


def second_moment(text: str, stepper: Any, h: float, particles: int, time: float, seed: int) -> tuple[float, float]:
    """E x² by sampling, and its standard error."""
    cloud = wf.Particles(np.random.default_rng(seed).normal(size=(particles, 1)).clip(-2.0, 2.0))
    F = wf.Entropy() + wf.Potential(text)
    total, count = np.zeros(particles), 0
    for now, state in wf.iterate(F, cloud, dt=h, steps=round(time / h), stepper=stepper, rng=seed):
        if now >= 4.0:
            total += np.square(state.positions[:, 0])
            count += 1
    means = total / count
    return float(means.mean()), float(means.std() / np.sqrt(particles))


def known_bias(name: str, h: float) -> float:
    """Of the variance on V = x²/2."""
    return 1.0 / (1.0 - 0.5 * h) - 1.0 if name == "Euler–Maruyama" else 0.0


class Given:
    """Noise handed in, the same for a step and the next; `Langevin` reads this step's from its memory."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def normals(self, shape: tuple[int, ...], ahead: int = 0) -> np.ndarray:
        """All rows."""
        return self.table.copy()

    def source(self, rows: slice, dim: int) -> tuple[np.ndarray, np.uint64, np.uint64]:
        """Some rows."""
        return self.table[rows], np.uint64(0), np.uint64(0)


def law_of(stepper: Any, text: str, h: float, time: float = 20.0) -> float:
    """E x² under the invariant law of a scheme, without sampling; six digits.

    One step from every node of a Chebyshev lattice, under every node of a Gauss–Hermite rule, makes the matrix P of
    the Markov chain, and Pⁿ f tends to the mean of f. The lattice has x and what the scheme remembers: noise or
    velocity.
    """
    edge, edge_v = 3.2, 6.0
    xi, weights = np.polynomial.hermite_e.hermegauss(16)
    weights, lattice = weights / weights.sum(), edge * chebyshev.chebpts2(48)
    fast = isinstance(stepper, wf.steppers.UnderdampedLangevin)
    second = edge_v * chebyshev.chebpts2(28) if fast else xi if stepper == wf.steppers.Langevin() else np.zeros(1)
    shape = (len(lattice), len(second), len(xi))
    x, u, noise = (a.reshape(-1, 1) for a in np.meshgrid(lattice, second, xi, indexing="ij"))
    state, memory = wf.Particles(x), {"velocity": u} if fast else {"noise": u}
    flow = make_flow(wf.Entropy() + wf.Potential(text), state)
    taken = stepper.step(flow, 0.0, state, h, memory, Given(noise))
    B = basis(taken.state.positions.reshape(shape), lattice, edge)
    if fast:
        P = np.einsum("ijnk,ijnl,n->ijkl", B, basis(taken.memory["velocity"].reshape(shape), second, edge_v), weights)
    else:
        P = B.swapaxes(2, 3) * weights  # the noise of this step is remembered in the next
        P = P if len(second) > 1 else P.sum(axis=3)
    P = P.reshape(shape[0] * shape[1], -1)
    value = np.repeat(lattice**2, shape[1])
    for _ in range(round(time / h)):
        value = P @ value
    return float(value.reshape(shape[:2])[np.abs(lattice) < 1.0].mean())


def basis(places: np.ndarray, nodes: np.ndarray, edge: float) -> np.ndarray:
    """The polynomials that are one at a Chebyshev node of [-edge, edge] and zero at the others: (..., nodes)."""
    degree = len(nodes) - 1
    inverse = np.linalg.inv(chebyshev.chebvander(nodes / edge, degree))
    return chebyshev.chebvander(places.clip(-edge, edge) / edge, degree) @ inverse


def order(rows: list[dict[str, Any]]) -> float:
    """The slope of log |error of the law| against log h, of the three smallest steps."""
    h, law = np.array([(row["h"], abs(row["law"])) for row in rows[:3]]).T
    return float(np.polyfit(np.log(h), np.log(law), 1)[0])


def written(value: Any) -> str:
    """A number or a name in the table."""
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.6g}"


@styled
def draw(rows: list[dict[str, Any]]) -> Any:
    """Variance on the quadratic, and the size of the error on the quartic, against the step."""
    figure = new_figure(12.0, 5.2)
    left, right = figure.subplots(1, 2)
    for k, name in enumerate(STEPPERS):
        mine = [row for row in rows if row["scheme"] == name]
        look: dict[str, Any] = {"color": COLORS[k], "marker": MARKERS[k], "linestyle": "none", "label": name}
        flat, steep = ([row for row in mine if row["V"] == text] for text in ("x**2/2", "x**4/4"))
        shift = (1.0, 0.985, 1.015)[k]  # else two of the three hide each other
        left.plot([row["h"] * shift for row in flat], [row["mean"] for row in flat], **look)
        h, error, noise, law = np.array([[abs(row[key]) for row in steep] for key in ("h", "error", "noise", "law")])
        right.errorbar(h, error, yerr=[np.minimum(noise, 0.9 * error), noise], capsize=3, **look)
        right.plot(h, law, color=COLORS[k], linewidth=1.4)
        right.annotate(f"order {ORDERS[name]}", (h[-1], law[-1]), color=COLORS[k], fontsize=12, xytext=(10, 0),
                       textcoords="offset points", va="center")  # fmt: skip
    sizes = np.linspace(0.05, 1.25, 100)
    left.plot(sizes, 1 / (1 - sizes / 2), color=COLORS[0], linewidth=1.4)
    left.axhline(1.0, color=INK, linewidth=1.0, zorder=0)
    left.set(xlabel="step h", ylabel="stationary variance", title="V = x²/2: exact is 1", ylim=(0.8, 2.7))
    right.set(
        xlabel="step h",
        ylabel="|error of E x²|",
        title="V = x⁴/4: lines are the schemes' own laws",
        xscale="log",
        yscale="log",
    )
    ticks = [0.01, 0.03, 0.1, 0.3]
    right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    right.set_xlim(0.008, 0.6)
    right.minorticks_off()
    left.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    typer.run(main)
