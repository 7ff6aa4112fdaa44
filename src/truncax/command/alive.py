"""A sign of life on stderr while something takes long."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO


@contextmanager
def alive(step: str, stream: TextIO | None = None, *, announce: bool = True) -> Iterator[None]:
    """Show ``step`` while the body runs: its seconds count up on a terminal; elsewhere it is one line.

    With ``announce=False`` nothing is written where there is no terminal.
    """
    out = sys.stderr if stream is None else stream
    if not out.isatty():
        if announce:
            print(f"{step} ...", file=out, flush=True)
        yield
        return
    done = Event()

    def tell() -> None:
        start, text = time.perf_counter(), ""
        while True:
            text = f"{step} ... {time.perf_counter() - start:.0f} s"
            print(f"\r{text}", end="", file=out, flush=True)
            if done.wait(1):
                break
        print("\r" + " " * len(text) + "\r", end="", file=out, flush=True)

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
