"""Movies of results: ffmpeg from the PATH, else the one of imageio-ffmpeg, else a GIF."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wflow.errors import InputError
from wflow.plot import drawing as draw
from wflow.plot.style import BLUE, GREY, as_results, new_figure, set_title, styled, title_of
from wflow.results import Result
from wflow.states import Density, Point

MOST = 300
DPI = 100
SUFFIXES = (".mp4", ".gif")


@styled
def movie(result: Result, path: str | Path, fps: float = 15.0, most: int = MOST, title: Sequence[str] = ()) -> Path:
    """Write a movie of a result, a picture to a frame, with fixed axes and colours; the path of what was written.

    Every frame is shown for the same time, whatever the time between frames; a bar above the picture is as long as the
    time that has passed. A .mp4 (H.264) becomes a .gif of the same name where there is no ffmpeg that can make it:
    neither on the PATH nor in the package imageio-ffmpeg. `fps`: pictures a second. `most`: pictures at most, chosen
    evenly. `title`: lines above the pictures, in place of what the result descends. Drawn as `wf.plot.state` draws
    them, with the target where the result has one; a point leaves its way behind it. Cost: about 0.1 s a picture.
    Raises `InputError` for another suffix, and for numbers that are not positive.
    """
    one, target = as_results(result)[0], Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"a movie is a .mp4 or .gif file, got {target.name!r}")
    if not (np.isfinite(fps) and fps > 0.0 and most >= 1):
        raise InputError(f"fps and most must be positive, got {fps} and {most}")
    if not len(one.times):
        raise InputError("the result has no frames to show")
    target.parent.mkdir(parents=True, exist_ok=True)
    chosen = np.unique(np.linspace(0, len(one.times) - 1, min(most, len(one.times))).round().astype(int))
    program = ffmpeg() if target.suffix.lower() == ".mp4" else None
    if program is not None and _replaced(
        target, lambda part: _encode(program, pictures(one, chosen, title), part, fps)
    ):
        return target
    target = target.with_suffix(".gif")
    _replaced(target, lambda part: _gif(pictures(one, chosen, title), part, fps))
    return target


def ffmpeg() -> str | None:
    """The ffmpeg to use, or None."""
    found = shutil.which("ffmpeg")
    if found is None:
        with suppress(ImportError, RuntimeError, OSError):
            found = import_module("imageio_ffmpeg").get_ffmpeg_exe()
    return found


def pictures(result: Result, chosen: Any, title: Sequence[str] = ()) -> Iterator[np.ndarray]:
    """The pictures, (height, width, 3) of bytes with even sides."""
    first, indices = result.states[0], [int(k) for k in chosen]
    flat = first.dim == 1
    # One state in memory at a time: a cloud may be large.
    limits = draw.union([draw.extent(result.states[k]) for k in indices])
    levels = None
    if isinstance(first, Density) and not flat:
        levels = draw.color_levels([float(draw.marginal(result.states[k]).max()) for k in indices])
    figure = new_figure(7.2, 4.8 if flat else draw.panel_height(limits, 5.6) + 1.2)
    ax = figure.subplots()
    set_title(figure, *(title or (title_of(result),)))
    high = (0.0, 1.05 * _top(result, indices)) if flat else (limits[0][1], limits[1][1])
    for number, k in enumerate(indices):
        ax.clear()
        shades = _draw(ax, result, indices[: number + 1], limits, levels)
        ax.set_title(f"t = {result.times[k]:.3g}", pad=10.0)
        ax.set(xlim=(limits[0][0], limits[1][0]), ylim=high)
        ax.set(aspect="auto" if flat else draw.aspect(limits))
        _clock(ax, float(result.times[k] / result.times[indices[-1]]) if result.times[indices[-1]] else 1.0)
        if number == 0:
            if shades is not None:
                bar = figure.colorbar(shades, ax=ax, shrink=0.9, pad=0.02, aspect=24, label="density q")
                bar.set_ticks(shades.levels[::3], labels=[f"{v:.2g}" for v in shades.levels[::3]])
            figure.canvas.draw()
            figure.set_layout_engine("none")  # else the axes would tremble
        yield _pixels(figure)


def _top(result: Result, indices: list[int]) -> float:
    """The largest density of a 1-D result and its target."""
    if isinstance(result.states[0], Point):
        return 1.0
    known = 0.0 if result.target is None else float(np.max(result.target))
    return max(known, *(float(draw.line_of(result.states[k])[1].max()) for k in indices))


def _draw(ax: Any, result: Result, indices: list[int], limits: draw.Range, levels: Any) -> Any:
    """The state of the last of the frames; what a colour bar needs."""
    state, shades = result.states[indices[-1]], None
    if isinstance(state, Point) and state.dim > 1:
        way = np.stack([result.states[k].x for k in indices])
        ax.plot(way[:, 0], way[:, 1], color=BLUE, linewidth=1.8)
    if state.dim == 1:
        draw.draw_line(ax, state)
    else:
        shades = draw.draw_plane(ax, state, levels)
    if result.target is not None and state.dim <= 2:
        draw.draw_target(ax, result.target, state, limits)
    draw.name_axes(ax, state.dim)
    return shades


def _clock(ax: Any, share: float) -> None:
    """A bar along the upper edge as long as the share of the time that has passed."""
    for end, color in ((1.0, "#DDDDDD"), (share, GREY)):
        ax.plot([0.0, end], [1.01, 1.01], transform=ax.transAxes, color=color, linewidth=3.0, clip_on=False)


def _pixels(figure: Any) -> np.ndarray:
    figure.set_dpi(DPI)
    figure.canvas.draw()
    shown = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    return shown[: shown.shape[0] // 2 * 2, : shown.shape[1] // 2 * 2].copy()


def _replaced(target: Path, write: Callable[[Path], bool]) -> bool:
    """Write beside `target`, then put it in its place if that went well."""
    part = target.with_name(f".part.{target.name}")
    try:
        good = write(part)
        if good:
            os.replace(part, target)
        return good
    finally:
        part.unlink(missing_ok=True)


def _encode(program: str, shown: Iterator[np.ndarray], path: Path, fps: float) -> bool:
    """Pipe the pictures to ffmpeg; whether it took them."""
    first = next(shown)
    size = f"{first.shape[1]}x{first.shape[0]}"
    command = [program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps)]
    command += ["-i", "-", "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    quiet = subprocess.DEVNULL
    try:
        with subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
            assert process.stdin is not None
            for picture in chain([first], shown):
                process.stdin.write(picture.tobytes())
            process.stdin.close()
            return process.wait() == 0
    except OSError:  # not to be started, or gone before the end: without libx264
        return False


def _gif(shown: Iterator[np.ndarray], path: Path, fps: float) -> bool:
    """The colours of each picture are its own 256."""
    images = (Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE) for picture in shown)
    first = next(images)
    duration = max(20, round(1000.0 / fps))  # browsers slow down what is faster
    first.save(path, "GIF", save_all=True, append_images=images, duration=duration, loop=0)
    return True
