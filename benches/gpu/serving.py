"""The server, its callers and the bare engine, as processes."""

import json
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path


class Server:
    """`hanok serve --cuda=required` on a repository, with every model ready inside `with`; one that does not load ends it."""

    def __init__(self, programs, repository, environment, *arguments):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.process = subprocess.Popen(
            [programs["hanok"], "serve", "--cuda=required", "--exit-on-error=true", "--strict-readiness=true", "--model-repository", repository, "--http-port", "0",
             "--grpc-port", "0", "--metrics-port", "0", f"--backend-config=onnxruntime,library={programs['libonnxruntime.so.1.31.1']}", *arguments],
            stdout=self.log, stderr=self.log, env=environment)

    def __enter__(self):
        end = time.monotonic() + 240
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            addresses = re.search(r"listening http=(\S+) grpc=(\S+) metrics=([^\s\"]+)", self.text())
            if addresses:
                self.http, self.grpc, self.metrics = (one.replace("0.0.0.0", "127.0.0.1") for one in addresses.groups())
                try:
                    with urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=2):
                        return self
                except OSError:
                    pass
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("the server did not come up:\n" + self.text()[-4000:])

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def text(self):
        return re.sub(r"\x1b\[[0-9;]*m", "", Path(self.log.name).read_text(errors="replace"))

    def metrics_page(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as reply:
            return reply.read().decode()

    def metric(self, name):
        """The sum of a metric over its labels; `None` where it is not told."""
        values = [float(line.rsplit(" ", 1)[1]) for line in self.metrics_page().splitlines() if re.match(rf"{name}[{{ ]", line)]
        return sum(values) if values else None

    def post(self, path, body=None):
        request = urllib.request.Request(f"http://{self.http}{path}", json.dumps(body or {}).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=240) as reply:
            return reply.read()


def infer(address, model, array, kind):
    """One binary request over HTTP; gives the output as an array."""
    import numpy

    data = array.tobytes()
    head = json.dumps({
        "inputs": [{"name": "INPUT", "shape": list(array.shape), "datatype": kind, "parameters": {"binary_data_size": len(data)}}],
        "outputs": [{"name": "OUTPUT", "parameters": {"binary_data": True}}],
    }).encode()
    request = urllib.request.Request(
        f"http://{address}/v2/models/{model}/infer", head + data, {"Inference-Header-Content-Length": str(len(head))})
    with urllib.request.urlopen(request, timeout=120) as reply:
        body, length = reply.read(), int(reply.headers["Inference-Header-Content-Length"])
    shape = json.loads(body[:length])["outputs"][0]["shape"]
    return numpy.frombuffer(body[length:], numpy.float16).reshape(shape)


def bench(programs, environment, folder, address, model, *arguments, processes=1):
    """The levels that `hanok bench` reports, over all of `processes` that run side by side: their rates are added, and the
    worst of their percentiles counts. One generator is one thread, which large tensors keep busy before the server is."""
    reports = [folder / f"bench-{index}.json" for index in range(processes)]
    running = []
    for report in reports:
        report.unlink(missing_ok=True)
        command = [programs["hanok"], "bench", model, "--server", address, "--json", report, *arguments]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    problems = [process.communicate()[1] for process in running]
    for process, problem, report in zip(running, problems, reports):
        if process.returncode != 0 or not report.exists():
            raise RuntimeError(f"hanok bench {model} ended with {process.returncode}: {problem.strip()[-500:]}")
    levels = [json.loads(report.read_text())["levels"] for report in reports]
    for level in (level for of_one in levels for level in of_one):
        if level["errors"] or not level["requests"]:
            raise RuntimeError(f"hanok bench {model}: {level['requests']} answers, errors: {level['errors']}")
    return [together(level) for level in zip(*levels)]


def together(levels):
    """One level of several generators."""
    if len(levels) == 1:
        return levels[0]
    latencies = [level["latency_us"] for level in levels]
    return {
        "requests_per_second": sum(level["requests_per_second"] for level in levels),
        "latency_us": {name: max(latency[name] for latency in latencies) for name in latencies[0]},
        "generators": list(levels),
    }


class BareLoop:
    """The engine in a loop without a server, by the same backend and on numbers of the same kind as `hanok bench` sends, since a
    GPU is faster on zeros; on a GPU where `gpu` is its number."""

    def __init__(self, programs, environment, model: Path, batch: int, gpu=0):
        device = [] if gpu is None else ["--gpu", str(gpu)]
        self.process = subprocess.Popen(
            [programs["hanok-benches"], "bare-loop", model, *device, "--batch", str(batch), "--data", "random", "--library", programs["libonnxruntime.so.1.31.1"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def rate(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the bare loop ended with {self.process.wait()}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
