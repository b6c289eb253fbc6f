"""What can go wrong, and how it is said.

Bad input raises `InputError` before any work. A run that cannot go on ends with a `Status`, keeps its frames and
warns once. Damaged or hostile files raise `FileError`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum


class InputError(ValueError):
    """Bad input: the message says what was wrong, what was found and what to do."""


class FileError(OSError):
    """A file that is damaged, hostile or not of this package."""


class RunWarning(UserWarning):
    """A run stopped before its end; its frames are kept."""


class InterruptionWarning(RunWarning):
    """A run was left at a signal; with a file it can go on."""


class Status(Enum):
    """How a run stands; the value is the sentence shown to the user and written to the file."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped early because the stop function asked for it"
    INTERRUPTED = "interrupted from the keyboard or by a signal"
    MAX_STEPS = "stopped because max_steps was reached before t_end"
    NOT_FINITE = "stopped because a value is not finite: take a smaller dt, or an adaptive stepper"
    STEP_UNDERFLOW = (
        "stopped because the step fell below rounding of the time: the problem is singular or tol too small"
    )
    SOLVER_FAILED = "stopped because the inner solver did not converge at the smallest step"
    UNDEFINED = "stopped because the flow is not defined at the state reached: look at the last frame"
    RAISED = "stopped by an error raised in it, by a function given to it or on the way to the disk"
    NEGATIVE = "stopped because a density turned negative: take a smaller dt, or a positive stepper"

    @property
    def good(self) -> bool:
        """Whether the run did what was asked of it."""
        return self in (Status.COMPLETE, Status.STOPPED)

    @property
    def resumable(self) -> bool:
        """Whether a run can go on from here."""
        return self in (Status.RUNNING, Status.INTERRUPTED, Status.MAX_STEPS, Status.RAISED)


def choose(name: str, options: Iterable[str], what: str) -> str:
    """Return `name` if it is one of `options`; otherwise raise `InputError` with the nearest names.

    >>> choose("kl", ("kl", "chi2"), "divergence")
    'kl'
    """
    options = tuple(options)
    if name in options:
        return name
    near = _nearest(str(name), options)
    hint = f"; did you mean {near!r}?" if near else "."
    raise InputError(f"unknown {what} {name!r}{hint} Known: {', '.join(options)}.")


def abridged(text: str, most: int = 80) -> str:
    """A text for an error message, cut where it is long.

    >>> abridged("x + y + z", 6)
    'x +...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def readable(text: str) -> str:
    """A text of the system as UTF-8 takes it: bytes of names in another encoding stand as their codes.

    >>> readable("caf\\udce9.py")
    'caf\\\\udce9.py'
    """
    return text.encode(errors="backslashreplace").decode()


def check_made(value: object, classes: tuple[type, ...], what: str, place: str) -> None:
    """Raise `InputError` unless `value` is an object of one of the `classes`, which a user finds in `place`; for the
    class itself, or its name, with how it is written.

    >>> check_made("value-error", (ValueError, KeyError), "stepper", "wf.steppers")
    Traceback (most recent call last):
    wflow.errors.InputError: stepper must be an object, got 'value-error'; did you mean wf.steppers.ValueError()?
    """
    if isinstance(value, classes):
        return
    names = [one.__name__ for one in classes]
    given = value.__name__ if isinstance(value, type) else value
    found = f"{what} must be an object, got {f'the class {given}' if isinstance(value, type) else repr(value)}"
    near = _nearest(given.removesuffix("()"), names) if isinstance(given, str) else None
    if near:
        raise InputError(f"{found}; did you mean {place}.{near}()?")
    raise InputError(f"{found}. Known in {place}: {', '.join(names)}.")


def _nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like a name, whatever the case of its letters."""
    lower = {option.lower(): option for option in options}
    near = get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return lower[near[0]] if near else None
