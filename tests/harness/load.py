"""Many requests at once from threads, each with a recorded outcome: nothing that was sent is forgotten."""

import threading
from concurrent.futures import ThreadPoolExecutor

from .http import Reply


def together(count: int, send) -> list:
    """Calls `send(number)` in `count` threads that start at one moment; gives the results or exceptions in order."""
    gate = threading.Barrier(count)

    def one(number):
        gate.wait(30)
        try:
            return send(number)
        except Exception as error:  # noqa: BLE001 - the outcome is what the test looks at
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def in_background(count: int, send) -> "Background":
    return Background(count, send)


class Background:
    """Calls `send()` over and over in `count` threads until the block ends; `outcomes` holds every result."""

    def __init__(self, count: int, send):
        self.outcomes: list = []
        self._send, self._stop = send, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def _run(self):
        while not self._stop.is_set():
            try:
                self.outcomes.append(self._send())
            except Exception as error:  # noqa: BLE001
                self.outcomes.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def failures(self) -> list:
        return [one for one in self.outcomes if not (isinstance(one, Reply) and one.status == 200)]
