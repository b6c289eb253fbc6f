"""Movies: ffmpeg where there is one, else a GIF, never an error for want of a program; axes and colours stand still."""

import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import wflow as wf
from wflow.plot import movies
from wflow.plot.style import DENSITY, new_figure, styled

KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))


@pytest.fixture(scope="module")
def line():
    state = wf.Density(wf.Grid(-4.0, 4.0, 40), wf.Gaussian([1.0], 0.3))
    return wf.run(KL, state, t_end=0.5, save=4)


@pytest.fixture(scope="module")
def plane():
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 16)
    return wf.run(wf.Entropy(), wf.Density(grid, wf.Gaussian([0.0, 0.0], 0.1)), t_end=0.1, save=3)


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(movies.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)


def fake_ffmpeg(folder, monkeypatch, body):
    """A program of the name that does what `body`, a Python text, says."""
    program = folder / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\n{body}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_gif_where_there_is_no_ffmpeg(line, tmp_path, no_ffmpeg):
    written = movies.movie(line, tmp_path / "new" / "flow.mp4", fps=10)
    assert written == tmp_path / "new" / "flow.gif"
    assert [path.name for path in written.parent.iterdir()] == ["flow.gif"]
    with Image.open(written) as gif:
        assert gif.n_frames == 4
        assert gif.info["duration"] == 100


def test_a_title_stands_in_place_of_the_functional(line, tmp_path, no_ffmpeg, monkeypatch):
    said = []
    monkeypatch.setattr(movies, "set_title", lambda figure, *lines: said.append(lines))
    movies.movie(line, tmp_path / "flow.gif", most=1)
    movies.movie(line, tmp_path / "flow.gif", most=1, title=["to N(0, 1)", "slowly"])
    assert said == [(str(KL),), ("to N(0, 1)", "slowly")]


def test_ffmpeg_gets_every_picture(line, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    note = "data = sys.stdin.buffer.read(); open(sys.argv[-1], 'w').write(f'{len(data)} {sys.argv}')"
    fake_ffmpeg(folder, monkeypatch, note)
    written = movies.movie(line, tmp_path / "flow.mp4")
    assert written == tmp_path / "flow.mp4"
    text = written.read_text(encoding="utf-8")
    width, height = (int(side) for side in text.split("'-s', '")[1].split("'")[0].split("x"))
    assert width % 2 == height % 2 == 0
    assert int(text.split()[0]) == 4 * 3 * width * height


@pytest.mark.skipif(movies.ffmpeg() is None, reason="needs ffmpeg")
def test_the_real_ffmpeg_makes_a_movie_of_every_picture(line, tmp_path):
    """Read back by ffmpeg itself, picture by picture."""
    written = movies.movie(line, tmp_path / "flow.mp4", fps=5)
    assert written == tmp_path / "flow.mp4"
    back = [movies.ffmpeg(), "-loglevel", "error", "-i", str(written), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = np.frombuffer(subprocess.run(back, check=True, capture_output=True).stdout, dtype=np.uint8)
    drawn = np.stack(styled(lambda: list(movies.pictures(line, np.arange(4))))()).astype(float)
    assert data.size == drawn.size
    assert np.abs(data.reshape(drawn.shape) - drawn).mean() < 2.0  # of 255


def test_a_bar_shows_the_time_of_frames_at_unequal_times(tmp_path):
    """As long as the time that has passed: of frames at 0, 0.1 and 1 the second is a tenth of the third."""
    result = wf.run(wf.Potential("x**2"), wf.Point([1.0]), t_end=1.0, save=[0.1, 1.0])
    grey = np.array([0x8C] * 3, dtype=np.uint8)
    lengths = [int((p == grey).all(axis=2).sum(axis=1).max()) for p in movies.pictures(result, np.arange(3))]
    assert lengths[0] < 10
    assert lengths[2] > 500
    assert abs(lengths[1] - 0.1 * lengths[2]) < 8


@pytest.mark.parametrize(
    "body", ["sys.exit(1)", "sys.stdin.buffer.read(); open(sys.argv[-1], 'w').write('half'); sys.exit(1)"]
)
def test_ffmpeg_that_fails_leaves_a_gif(line, tmp_path, monkeypatch, body):
    folder = tmp_path / "bin"
    folder.mkdir()
    fake_ffmpeg(folder, monkeypatch, body)
    assert movies.movie(line, tmp_path / "flow.mp4") == tmp_path / "flow.gif"
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "flow.gif"}


def test_axes_stand_still_and_pictures_differ(plane):
    first, *others = movies.pictures(plane, np.arange(3))
    assert first.dtype == np.uint8
    for other in others:
        assert other.shape == first.shape
        assert not np.array_equal(other, first)
        # The colour bar and everything right of it.
        np.testing.assert_array_equal(other[:, -60:], first[:, -60:])


def test_colours_stand_still(plane):
    darkest = np.round(255 * np.array(DENSITY(1.0)[:3])).astype(np.uint8)
    shown = [picture[:, : 3 * picture.shape[1] // 4] for picture in movies.pictures(plane, np.arange(3))]
    counts = [np.count_nonzero((picture == darkest).all(axis=2)) for picture in shown]
    # The peak falls to a half and less.
    assert counts[0] > 50
    assert counts[1:] == [0, 0]


def test_sides_are_even():
    assert movies._pixels(new_figure(3.01, 2.03)).shape == (202, 300, 3)


def test_at_most_so_many_pictures(line, tmp_path):
    with Image.open(movies.movie(line, tmp_path / "flow.gif", most=2)) as gif:
        assert gif.n_frames == 2


@pytest.mark.parametrize(
    "state",
    [wf.Point([1.0]), wf.Point([1.0, 2.0]), wf.Gaussian([1.0, 0.0], 0.5), wf.Particles([[0.0, 0.0], [1.0, 0.5]])],
    ids=["point 1-D", "point 2-D", "Gaussian", "particles"],
)
def test_every_kind_of_state(state, tmp_path):
    result = wf.run(wf.Potential("x**2" if state.dim == 1 else "x**2 + y**2"), state, t_end=0.5, save=3)
    with Image.open(movies.movie(result, tmp_path / "flow.gif")) as gif:
        assert gif.n_frames == 3


@pytest.mark.parametrize(
    ("name", "more", "text"),
    [("flow.avi", {}, ".mp4 or .gif"), ("flow.gif", {"fps": 0.0}, "positive"), ("flow.gif", {"most": 0}, "positive")],
)
def test_bad_input_is_refused(line, tmp_path, name, more, text):
    with pytest.raises(wf.InputError, match=text):
        movies.movie(line, tmp_path / name, **more)
    assert not list(tmp_path.iterdir())
