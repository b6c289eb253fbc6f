"""Three Langevin integrators: the error of their stationary law against the step."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from scipy.special import gamma

import wflow as wf
from wflow.plot.style import COLORS, INK, MARKERS, new_figure, save, styled

STEPPERS = {
    "Euler–Maruyama": wf.steppers.Langevin("euler-maruyama"),
    "Leimkuhler–Matthews": wf.steppers.Langevin(),
    "BAOAB, underdamped": wf.steppers.UnderdampedLangevin(2.0),
}
# Where the bias is well above the noise and the scheme is stable.
QUADRATIC = {name: (0.1, 0.2, 0.4, 0.8, 1.2) for name in STEPPERS}
QUARTIC = dict(zip(STEPPERS, ((0.01, 0.02, 0.04, 0.08), (0.06, 0.08, 0.12, 0.16), (0.15, 0.2, 0.25, 0.3)), strict=True))
ORDERS = dict(zip(STEPPERS, (1, 2, 2), strict=True))
EXACT = 2.0 * float(gamma(0.75) / gamma(0.25))  # E x² under exp(-x⁴/4)


def main(
    particles: int = 400_000,
    time: float = 40.0,
    seed: int = 0,
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

    On the quartic E x² = 2 Γ(3/4)/Γ(1/4) = 0.67598. Printed and, with `table`, written: the mean over the particles and
    over the time from 4 on, its error against the truth, and its standard error, from the particles, which are
    independent. The slope is that of log |error| against log h.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for text, exact, sizes in (("x**2/2", 1.0, QUADRATIC), ("x**4/4", EXACT, QUARTIC)):
        for name, stepper in STEPPERS.items():
            with stage(f"{text}, {name}"):
                for h in sizes[name]:
                    mean, error = second_moment(text, stepper, h, particles, time, seed)
                    rows.append({"V": text, "scheme": name, "h": h, "mean": mean, "bias": mean - exact, "error": error})
    lines = [",".join(rows[0])] + [",".join(written(value) for value in row.values()) for row in rows]
    print("\n".join(lines))
    if table is not None:
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    slopes = {name: slope([row for row in rows if row["V"] == "x**4/4" and row["scheme"] == name]) for name in STEPPERS}
    for name, (value, error) in slopes.items():
        print(f"{name:>20}: order {value:.2f} ± {error:.2f} on the quartic, declared {ORDERS[name]}")
    save(draw(rows), out / "bias.png")
    print(f"picture: {out}")
    return {"rows": rows, "slopes": slopes}


def second_moment(text: str, stepper: Any, h: float, particles: int, time: float, seed: int) -> tuple[float, float]:
    """E x² under the invariant law of a scheme, and its standard error."""
    start = np.random.default_rng(seed).normal(size=(particles, 1)).clip(-2.0, 2.0)
    steps = wf.iterate(wf.Entropy() + wf.Potential(text), wf.Particles(start), dt=h, t_end=time, stepper=stepper, rng=seed)
    total, count = np.zeros(particles), 0
    for now, cloud in steps:
        if now >= 4.0:
            total += np.square(cloud.positions[:, 0])
            count += 1
    means = total / count
    return float(means.mean()), float(means.std() / np.sqrt(particles))


def slope(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """The order of the bias in h by least squares, weighted by the standard errors, and its own standard error."""
    h, bias, error = (np.array([row[key] for row in rows]) for key in ("h", "bias", "error"))
    x, weight = np.log(h), (bias / error) ** 2
    centered = x - np.average(x, weights=weight)
    total = float((weight * centered**2).sum())
    return float((weight * centered * np.log(np.abs(bias))).sum() / total), total**-0.5


def written(value: Any) -> str:
    """A number or a name in the table."""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 0.1 else str(value if isinstance(value, str) else round(value, 6))


@styled
def draw(rows: list[dict[str, Any]]) -> Any:
    """Variance on the quadratic, and the size of the error on the quartic, against the step."""
    figure = new_figure(12.0, 5.2)
    left, right = figure.subplots(1, 2)
    for k, name in enumerate(STEPPERS):
        mine = [row for row in rows if row["scheme"] == name]
        look: dict[str, Any] = {"color": COLORS[k], "marker": MARKERS[k], "linestyle": "none", "label": name}
        flat, steep = ([row for row in mine if row["V"] == text] for text in ("x**2/2", "x**4/4"))
        shift = 1.0 + 0.02 * (k - 1)  # else two of the three hide each other
        left.plot([row["h"] * shift for row in flat], [row["mean"] for row in flat], **look)
        h, bias = np.array([row["h"] for row in steep]), np.array([abs(row["bias"]) for row in steep])
        errors = np.array([row["error"] for row in steep])
        right.errorbar(h, bias, yerr=[np.minimum(errors, 0.9 * bias), errors], capsize=3, **look)
        middle = np.exp(np.average(np.log(bias) - ORDERS[name] * np.log(h), weights=(bias / errors) ** 2))
        line = np.array([h.min() / 1.2, h.max() * 1.2])
        right.plot(line, middle * line ** ORDERS[name], color=COLORS[k], linewidth=1.4)
        right.annotate(f"order {ORDERS[name]}", (line[1], middle * line[1] ** ORDERS[name]), color=COLORS[k], fontsize=12,
                       xytext=(4, 0), textcoords="offset points", va="center")  # fmt: skip
    sizes = np.linspace(0.05, 1.25, 100)
    left.plot(sizes, 1 / (1 - sizes / 2), color=COLORS[0], linewidth=1.4)
    left.axhline(1.0, color=INK, linewidth=1.0, zorder=0)
    left.set(xlabel="step h", ylabel="stationary variance", title="V = x²/2: 1/(1 - h/2), and the exact 1", ylim=(0.8, 2.7))
    right.set(xlabel="step h", ylabel="|error of E x²|", title="V = x⁴/4", xscale="log", yscale="log")
    ticks = [0.01, 0.03, 0.1, 0.3]
    right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    right.set_xlim(0.008, 0.6)
    right.minorticks_off()
    left.legend(loc="upper left")
    return figure


if __name__ == "__main__":
    typer.run(main)
