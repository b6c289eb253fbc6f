"""SIGINT and SIGTERM while a run goes on: the step is finished first."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Signals:
    """Notes the first signal in `seen`; the next one takes its own effect at once.

    SIGINT is noted where Python's own handler is in place; SIGTERM too where `terminate`, because a run that keeps
    nothing has nothing to finish. Outside the main thread, where Python lets nobody handle signals, nothing is noted.
    """

    def __init__(self, terminate: bool) -> None:
        self.seen: int | None = None
        self._terminate = terminate
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
            if self._terminate and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def after(self, answered: bool) -> None:
        """What the signal does once the run has been left in order and its file is closed.

        SIGTERM: the handler before ours, or exit code 143. SIGINT: `KeyboardInterrupt`, unless it is `answered` by the
        status INTERRUPTED; one that came in the last step, or later, would be lost.
        """
        if self.seen == signal.SIGINT and not answered:
            raise KeyboardInterrupt
        if self.seen != signal.SIGTERM:
            return
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            handler(signal.SIGTERM, None)
        else:
            raise SystemExit(128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
