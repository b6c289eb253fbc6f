"""One look for all pictures: colours, sizes, new figures, files."""

import re
import textwrap
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from wflow.errors import InputError
from wflow.results import Result
from wflow.states import kind

# Okabe and Ito, Color Universal Design (2008), without the yellow, which is lost on white.
BLUE, RED, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, GREY = "#1A1A1A", "#8C8C8C"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
# Lines differ in more than colour.
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (9, 2)), (0, (2, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
# White is empty; lightness falls evenly to the darkest blue.
DENSITY = LinearSegmentedColormap.from_list(
    "wflow", ["#FFFFFF", "#D6E8F5", "#9CCBE6", "#56A3D1", "#1F78B4", "#0B4F8A", "#08234A"]
)
STYLE: Any = {
    "font.size": 13.0,
    "axes.titlesize": 14.0,
    "axes.labelsize": 14.0,
    "legend.fontsize": 12.0,
    "lines.linewidth": 2.2,
    "lines.markersize": 6.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.prop_cycle": cycler(color=COLORS),
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": 160,
    "svg.hashsalt": "wflow",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
# No dates inside: the same picture gives the same file.
STAMPS: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
FOLD = re.compile(r"\[[^\[\]]*\]|…(?:, …)+")  # an innermost list, or folded ones in a row
LETTERS = 9.5  # of a title on an inch
FORMULA = re.compile(r"(?:[xyz]\d?|t|pi|exp|log|sin|cos|tanh|sqrt|abs|of|[\d.\s+*/(),-])+")
POWER, FUNCTION = re.compile(r"\*\*(\d+)"), re.compile(r"\b(exp|log|sin|cos|tanh|sqrt|abs|pi)\b")
THIN, SPACED = r"\,", r",\ "
READ = 60  # letters of a title that are read at a glance


def styled(draw: Any) -> Any:
    """A function that draws in the package's look, whatever the user's settings; the name of a picture is its path
    also where it comes second."""

    @wraps(draw)
    def inner(*arguments: Any, **named: Any) -> Any:
        given = list(arguments)
        if len(given) == 2 and _names_picture(given[1]) and "path" not in named:
            named["path"] = given.pop()
        with rc_context(STYLE):
            return draw(*given, **named)

    return inner


def _names_picture(argument: Any) -> bool:
    return isinstance(argument, str | Path) and Path(argument).suffix.lower() in STAMPS


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that is drawn into memory only."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as .png, .svg or .pdf; folders are made. The same figure gives the same bytes.

    Raises `InputError` for another suffix.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in STAMPS:
        raise InputError(f"a picture is a .png, .svg or .pdf file, got {target.name!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figure.savefig(target, metadata=STAMPS[suffix])
    return target


def finished(figure: Figure, path: str | Path | None) -> Figure:
    """The figure, saved where there is a path."""
    if path is not None:
        save(figure, path)
    return figure


def as_results(results: Any) -> list[Result]:
    """One result or several as a list."""
    given = [results] if isinstance(results, Result) else list(results)
    for one in given:
        if not isinstance(one, Result):
            raise InputError(f"this picture takes results of wf.run or wf.load, got {type(one).__name__}")
    if not given:
        raise InputError("there is no result to draw")
    return given


def check_states(states: Sequence[Any]) -> list[str]:
    """The words for the kinds of states."""
    if any(isinstance(one, Result) for one in states):
        raise InputError("this picture takes states, got a Result: give its final, or one of its states")
    return [kind(one) for one in states]


def labels(results: Sequence[Result], names: Sequence[str] | None) -> list[str]:
    """Names for results: those given, else state and stepper where they tell the results apart."""
    if names is not None:
        if len(names) != len(results):
            raise InputError(f"names has {len(names)} entries for {len(results)} results")
        return [str(name) for name in names]
    for keys in (("state",), ("stepper",), ("functional",), ("state", "stepper")):
        found = [", ".join(shortened(r.info.get(key, "?"), 30) for key in keys) for r in results]
        if len(set(found)) == len(found):
            return found
    return [f"{name} {k + 1}" for k, name in enumerate(found)]


def shortened(text: Any, width: int) -> str:
    """A text with its lists of numbers left out where it is long, then cut at a word, or hard where that is too
    long."""
    plain = folded(text, width)
    if len(plain) <= width:
        return plain
    return textwrap.shorten(plain, width, placeholder=" …") if " " in plain[:width] else plain[: width - 1] + "…"


def folded(text: Any, width: int) -> str:
    """A text on one line, its lists of numbers left out where it is longer than `width`.

    >>> folded("FDivergence('kl', GaussianMixture([[-2.0], [2.0]], [[[0.5]], [[0.25]]], [0.5, 0.5]))", 50)
    "FDivergence('kl', GaussianMixture(…))"
    """
    plain = " ".join(str(text).split())
    if len(plain) <= width:
        return plain
    while plain != (less := FOLD.sub("…", plain)):
        plain = less
    return plain


def title_of(result: Result) -> str:
    """What the result descends, as a title."""
    text = str(result.info.get("functional", "none"))
    return "given drift" if text == "none" else text


def typeset(text: str) -> str:
    """A formula in x, y, z as mathematics; any other text as it is.

    >>> typeset("x**2/4 + y**2 of (x + y)")
    '$x^{2}/4 + y^{2}$ of $(x + y)$'
    """
    if len(text) > READ or not FORMULA.fullmatch(text):
        return text
    parts = [FUNCTION.sub(r"\\mathrm{\1}", POWER.sub(r"^{\1}", part)) for part in text.split(" of ")]
    return " of ".join(f"${part.replace('*', THIN).replace(', ', SPACED)}$" for part in parts)


def set_title(figure: Figure, *lines: str) -> None:
    """Lines above a figure, without their numbers where they are long, each broken once at its width and then cut;
    dollars and underscores stay what they are. One line that is a formula is set as one."""
    width = int(LETTERS * figure.get_figwidth())
    parts = [
        part
        for line in lines
        for part in textwrap.wrap(folded(line, min(width, READ)), width, max_lines=2, placeholder=" …")
    ]
    formula = len(lines) == 1 and typeset(lines[0]) != lines[0]
    figure.suptitle(typeset(lines[0]) if formula else "\n".join(parts), fontsize=13, parse_math=formula)
