"""Watches a server from a process of its own: is it live within 100 ms, and are good requests answered (I1, I2).

`python -m security.probe HOST:PORT` prints one JSON line for each line that it reads: the figures since the last one. It
measures how late its own sleeps end, and takes that off a latency: a machine that starves the probe is not a slow server.
"""

import http.client
import json
import select
import sys
import threading
import time

GOOD = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})


class Lateness(threading.Thread):
    """Sleeps 2 ms again and again; `total` is by how much all those sleeps were too long, in seconds."""

    total = 0.0

    def __init__(self):
        super().__init__(daemon=True)

    def run(self):
        while True:
            started = time.monotonic()
            time.sleep(0.002)
            self.total += max(0.0, time.monotonic() - started - 0.003)


class Probe:
    def __init__(self, address: str):
        self.lateness = Lateness()
        self.lateness.start()
        self.host, self.port = address.rsplit(":", 1)
        self.connection = None

    def ask(self, method: str, path: str, body=None) -> bool:
        for attempt in (1, 2):
            try:
                self.connection = self.connection or http.client.HTTPConnection(self.host, int(self.port), timeout=5)
                self.connection.request(method, path, body)
                reply = self.connection.getresponse()
                content = reply.read()
                return reply.status == 200 and (body is None or json.loads(content)["outputs"][0]["data"] == [1, 2])
            except (OSError, http.client.HTTPException):
                self.connection = None
        return False

    def watch(self):
        worst, failures, count = 0.0, 0, 0
        while True:
            if select.select([sys.stdin], [], [], 0)[0]:
                if not sys.stdin.readline():
                    return
                print(json.dumps({"worst_live_ms": worst * 1000, "failures": failures, "count": count}), flush=True)
                worst, failures, count = 0.0, 0, 0
            time.sleep(0.01)
            late, started = self.lateness.total, time.monotonic()
            live = self.ask("GET", "/v2/health/live")
            worst = max(worst, time.monotonic() - started - (self.lateness.total - late))
            failures += not live
            failures += not self.ask("POST", "/v2/models/probed/infer", GOOD)
            count += 1


if __name__ == "__main__":
    Probe(sys.argv[1]).watch()
