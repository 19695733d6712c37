"""Correctness and speed on a GPU: every kernel and every network against the processors, then the figures of `benches/run cuda`.

Runs on a machine that has a driver, the CUDA 13 libraries (those of PyTorch's packages will do) and Python with numpy and
onnx, and neither Rust nor a network. `make_pack` puts everything else into the folder `pack` beside this file.

Every figure of `figures.json` is printed and recorded, measured or not; what else is measured is information.

usage: measure.py --report FILE [--commit TEXT] [--seconds N] [--only kernels,answers,networks,torch]
Ends with 0 when every figure was measured and holds, 1 when one is missed or wrong, 3 when something could not be measured.
"""

import argparse
import base64
import ctypes
import http.client
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The tolerance of answers is that of half precision, two orders of summation, up to fifty layers.
FIGURES = json.loads((HERE / "figures.json").read_text())


def figure(name, measured=None, skipped=None, unit="", **more):
    """A row; its unit and target are those of `figures.json`, and what does not stand there is only told."""
    known = next((one for one in FIGURES if name == one["figure"]), {"unit": unit, "target": None})
    return {"figure": name, "unit": known["unit"], "target": known["target"], "measured": measured, "skipped": skipped, **more}


def missing(part, rows, reason):
    """The figures of a part that `rows` lack."""
    given = {row["figure"] for row in rows}
    return [figure(one["figure"], skipped=reason) for one in FIGURES if one["part"] == part and one["figure"] not in given]


def holds(row):
    if row["measured"] is None or row["target"] is None:
        return None
    (sense, limit), = row["target"].items()
    return row["measured"] >= limit if sense == "at_least" else row["measured"] <= limit


def library_folders():
    """Folders of CUDA's libraries within Python's packages, for the system's loader."""
    folders = []
    for path in map(Path, sys.path):
        folders += sorted(path.glob("nvidia/*/lib"))
    return [str(folder) for folder in folders]


def unpack(folder: Path) -> dict[str, Path]:
    """The programs and libraries of the pack, unpacked into `folder`; names that are missing were not packed."""
    found = {}
    for packed in sorted((HERE / "pack").glob("*/*.xz")):
        target = folder / packed.stem
        if not target.exists():
            with lzma.open(packed) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            target.chmod(0o755)
        found[packed.stem] = target
    return found


ENGINE = ("hanok", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so")


def need(programs, *names):
    """Raises what says that the pack lacks something."""
    lacking = [name for name in names if name not in programs]
    if lacking:
        raise RuntimeError(f"make_pack did not pack {', '.join(lacking)}")


class Server:
    """`hanok serve --cuda=required` on a repository, ready inside `with`."""

    def __init__(self, programs, repository, environment, *arguments):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.process = subprocess.Popen(
            [programs["hanok"], "serve", "--cuda=required", "--model-repository", repository, "--http-port", "0",
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


def kernels(programs, environment, folder, commit, found):
    need(programs, "kernel_check")
    report = folder / "kernels.json"
    done = subprocess.run([programs["kernel_check"], "--commit", commit, "--output", report], env=environment, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="\n")
    if not report.exists():
        raise RuntimeError(f"kernel_check ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    rows = json.loads(report.read_text())
    right = [row["right"] for row in rows["kernels"]]
    shares = [1 / row["time_over_floor"] for row in rows["kernels"] if row["kernel"].startswith("image 64 x 224^2")]
    found += [
        figure("kernels that agree with their references", sum(right) / len(right), kernels=rows),
        figure("gather, cast and normalise of 64 x 3 x 224 x 224 over the copy bandwidth", min(shares) if shares else None, None if shares else "no such row"),
        sanitized(programs, environment),
    ]


def sanitized(programs, environment):
    """Every kernel once under `compute-sanitizer`, where there is one that works on this machine; told, not required."""
    name = "complaints of compute-sanitizer about the kernels"
    tool = shutil.which("compute-sanitizer", path=f"{environment.get('PATH', '')}:/usr/local/cuda/bin")
    if tool is None:
        return figure(name, skipped="there is no compute-sanitizer")
    command = [tool, "--tool", "memcheck", "--launch-timeout", "120", programs["kernel_check"], "--rounds", "0"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return figure(name, skipped="compute-sanitizer was not done in 300 seconds")
    summary = re.search(r"ERROR SUMMARY: (\d+) error", done.stdout + done.stderr)
    if summary is None:
        return figure(name, skipped=f"compute-sanitizer does not work here: {(done.stdout + done.stderr).strip()[-300:]}")
    return figure(name, float(summary[1]), output=(done.stdout + done.stderr)[-4000:])


def answers(programs, environment, folder, rows):
    """The networks on the GPU against the same files on the processors, several batch sizes, fresh random inputs."""
    import networks
    import numpy

    need(programs, *ENGINE)
    repository = folder / "answers"
    networks.write(repository, "KIND_GPU")
    networks.write(repository, "KIND_CPU", "_cpu")
    networks.write(repository, "KIND_GPU", "_graph", "optimization { cuda { graphs: true } }")
    random = numpy.random.default_rng(int(time.time()))
    with Server(programs, repository, environment) as server:
        for name in networks.NETWORKS:
            for suffix in ("", "_graph"):
                worst = 0.0
                for batch in (1, 3, 8):
                    if name == "bert_base":
                        array, kind = random.integers(0, 30522, (batch, 128)), "INT64"
                    else:
                        shape = (batch, 3, 224, 224) if name == "resnet50" else (batch, 64)
                        array, kind = random.standard_normal(shape).astype(numpy.float16), "FP16"
                    found, wanted = (infer(server.http, name + end, array, kind).astype(numpy.float64) for end in (suffix, "_cpu"))
                    difference = numpy.linalg.norm(found - wanted) / numpy.linalg.norm(wanted)
                    worst = max(worst, float(difference) if numpy.isfinite(difference) else float("inf"))
                rows.append(figure(f"{name}{suffix}: relative difference to the processors", worst))
        with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as reply:
            page = reply.read().decode()
        told = all(f"{name}{{" in page for name in ("nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_power_usage"))
        rows.append(figure("metrics of the GPU are told", float(told)))


def bench(programs, environment, folder, address, model, *arguments):
    report = folder / "bench.json"
    report.unlink(missing_ok=True)
    command = [programs["hanok"], "bench", model, "--server", address, "--json", report, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0 or not report.exists():
        raise RuntimeError(f"hanok bench {model}: {done.stderr.strip()[-500:]}")
    return json.loads(report.read_text())["levels"]


class Lent:
    """Memory of the GPU that this process lends to the server: two cudaMalloc allocations and their handles."""

    def __init__(self, sizes):
        found = [path for folder in library_folders() for path in sorted(Path(folder).glob("libcudart.so.*"))]
        self.runtime = ctypes.CDLL(str(found[0]) if found else "libcudart.so.13")
        self.pointers, self.handles = [], []
        for size in sizes:
            pointer, handle = ctypes.c_void_p(), ctypes.create_string_buffer(64)
            self.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
            self.call("cudaIpcGetMemHandle", handle, pointer)
            self.pointers.append(pointer)
            self.handles.append(handle.raw)

    def call(self, name, *arguments):
        code = getattr(self.runtime, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} failed with {code}")

    def put(self, index, array):
        self.call("cudaMemcpy", self.pointers[index], array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes), 1)

    def get(self, index, array):
        self.call("cudaMemcpy", array.ctypes.data_as(ctypes.c_void_p), self.pointers[index], ctypes.c_size_t(array.nbytes), 2)
        return array

    def free(self):
        for pointer in self.pointers:
            self.call("cudaFree", pointer)


class LentTensors:
    """A caller whose input and output lie in regions of its own, over one connection."""

    def __init__(self, address, model, name, array, kind, outputs):
        self.connection = http.client.HTTPConnection(address, timeout=120)
        self.lent, self.name, self.model, self.outputs = Lent([array.nbytes, outputs.nbytes]), name, model, outputs
        self.lent.put(0, array)
        for index, (part, size) in enumerate([("in", array.nbytes), ("out", outputs.nbytes)]):
            body = {"raw_handle": {"b64": base64.b64encode(self.lent.handles[index]).decode()}, "device_id": 0, "byte_size": size}
            self.post(f"/v2/cudasharedmemory/region/{name}_{part}/register", body)
        region = lambda part, size: {"shared_memory_region": f"{name}_{part}", "shared_memory_byte_size": size}  # noqa: E731
        self.request = {
            "inputs": [{"name": "INPUT", "shape": list(array.shape), "datatype": kind, "parameters": region("in", array.nbytes)}],
            "outputs": [{"name": "OUTPUT", "parameters": region("out", outputs.nbytes)}],
        }

    def post(self, path, body):
        self.connection.request("POST", path, json.dumps(body))
        reply = self.connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {content[:300]}")

    def infer(self):
        self.post(f"/v2/models/{self.model}/infer", self.request)

    def answer(self):
        return self.lent.get(1, self.outputs)

    def end(self):
        for part in ("in", "out"):
            self.post(f"/v2/cudasharedmemory/region/{self.name}_{part}/unregister", {})
        self.connection.close()
        self.lent.free()


def tensors(model, batch):
    """An input for `model`, its data type, and a place for the output."""
    import numpy

    random = numpy.random.default_rng(5)
    if model == "bert_base":
        return random.integers(0, 30522, (batch, 128)), "INT64", numpy.zeros((batch, 768), numpy.float16)
    return random.standard_normal((batch, 3, 224, 224)).astype(numpy.float16), "FP16", numpy.zeros((batch, 1000), numpy.float16)


def lent_memory(address, model, batch, bare_rate, seconds):
    """A network with tensors that stay on the GPU: the answer, and the rate of four callers over the bare engine's."""
    import numpy

    array, kind, outputs = tensors(model, batch)
    callers = [LentTensors(address, model, f"c{index}", array, kind, outputs.copy()) for index in range(4)]
    callers[0].infer()
    found, wanted = callers[0].answer().astype(numpy.float64), infer(address, model, array, kind).astype(numpy.float64)
    difference = float(numpy.linalg.norm(found - wanted) / numpy.linalg.norm(wanted))
    counts, failures, end = [0] * len(callers), [], time.monotonic() + seconds

    def work(index):
        try:
            while time.monotonic() < end:
                callers[index].infer()
                counts[index] += 1
        except Exception as error:  # told by the row, not by a thread
            failures.append(f"{type(error).__name__}: {error}")

    begin = time.monotonic()
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = batch * sum(counts) / (time.monotonic() - begin)
    for caller in callers:
        caller.end()
    skipped = failures[0] if failures else None
    return [
        figure(f"{model}: relative difference of CUDA shared memory to the message", difference),
        figure(f"{model}: rows a second through CUDA shared memory over the bare engine", None if skipped else rate / bare_rate, skipped, rows_per_second=rate),
    ]


class BareLoop:
    """The engine in a loop without a server, on the same GPU, by the same backend."""

    def __init__(self, programs, environment, model: Path, batch: int):
        self.process = subprocess.Popen(
            [programs["hanok-benches"], "bare-loop", model, "--gpu", "0", "--batch", str(batch), "--library", programs["libonnxruntime.so.1.31.1"]],
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


def speed(programs, environment, folder, seconds, rows):
    import networks

    need(programs, *ENGINE, "hanok-benches")
    repository = folder / "speed"
    networks.write(repository, "KIND_GPU", extra="optimization { cuda { graphs: true } }")
    length = f"{seconds}s"
    for name, (_, largest) in networks.NETWORKS.items():
        batches = [size for size in (1, 8, 16, 32, 64) if size <= largest]
        bare = {}
        for batch in batches if name != "perceptron" else [1]:
            loop = BareLoop(programs, environment, repository / name, batch)
            bare[batch] = loop.rate(seconds)
            loop.end()
        best = max(bare, key=lambda batch: bare[batch]["rows_per_second"])
        batch_seconds = bare[best]["seconds"] / bare[best]["executions"]
        with Server(programs, repository, environment) as server:
            if name == "perceptron":
                level, = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--concurrency", "1", "--duration", length)
                overhead = (level["latency_us"]["p50"] - batch_seconds * 1e6)
                rows.append(figure("small network, batch 1: server over the bare launch, p50", overhead, bare=bare, level=level))
                continue
            levels = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--batch", str(best), "--concurrency", "2,4,8", "--connections", "4", "--duration", length)
            rate = best * max(level["requests_per_second"] for level in levels)
            share = rate / bare[best]["rows_per_second"]
            rows.append(figure(f"{name}: rows a second through the server over the bare engine, gRPC", share, batch=best, bare=bare, levels=levels))
            level, = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--batch", "1", "--rate", str(0.8 * rate), "--connections", "8", "--duration", length)
            rows.append(figure(f"{name}: p99 at 80 % load over the bare time of a batch", level["latency_us"]["p99"] / (batch_seconds * 1e6), level=level))
            rows += lent_memory(server.http, name, best, bare[best]["rows_per_second"], seconds)


def torch_beside(seconds, rows):
    """ResNet-50 and BERT-base by PyTorch, compiled with CUDA graphs, in the same run."""
    names = ["ResNet-50 by PyTorch, compiled, CUDA graphs, batch 64", "BERT-base by PyTorch, compiled, CUDA graphs, batch 32"]
    import pytorch_networks

    for name, make in zip(names, [pytorch_networks.resnet50, pytorch_networks.bert_base]):
        try:
            rows.append(figure(name, pytorch_networks.rate(*make(), seconds)))
        except (ImportError, RuntimeError) as error:
            rows.append(figure(name, skipped=f"{type(error).__name__}: {error}"))


def device():
    query = "name,uuid,driver_version,memory.total,compute_cap"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True)
    except OSError as error:
        return {"absent": f"nvidia-smi cannot be started: {error.strerror}"}
    return {"absent": done.stdout.strip() or "nvidia-smi failed"} if done.returncode else dict(zip(query.split(","), done.stdout.splitlines()[0].split(", ")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--commit", default="")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="kernels,answers,networks,torch")
    arguments = parser.parse_args()
    found, rows = device(), []
    absent = f"there is no GPU: {found['absent']}" if "absent" in found else None
    if absent:
        print(f"measure.py: {absent}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="hanok-gpu-") as folder:
        folder = Path(folder)
        programs = {} if absent else unpack(folder)
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        environment["LD_LIBRARY_PATH"] = ":".join([*library_folders(), os.environ.get("LD_LIBRARY_PATH", "")])
        commit = arguments.commit or (HERE / "pack/programs/commit").read_text().strip() if (HERE / "pack/programs/commit").exists() else arguments.commit
        parts = {
            "kernels": lambda rows: kernels(programs, environment, folder, commit, rows),
            "answers": lambda rows: answers(programs, environment, folder, rows),
            "networks": lambda rows: speed(programs, environment, folder, arguments.seconds, rows),
            "torch": lambda rows: torch_beside(arguments.seconds, rows),
        }
        for name in arguments.only.split(","):
            if name not in parts:
                sys.exit(f"measure.py: there is no part `{name}`; there are {', '.join(parts)}")
            print(f"== {name}", flush=True)
            reason, of_part = absent, []
            if not absent:
                try:
                    parts[name](of_part)
                except Exception as error:  # one part must not cost the others: device time is short
                    reason = f"{type(error).__name__}: {error}"
            rows += of_part + missing(name, of_part, reason or "it was not measured")
    for row in rows:
        row["ok"] = holds(row)
        shown = row["measured"] if row["measured"] is not None else f"skipped: {row['skipped']}"
        target = " ".join(str(word) for one in (row["target"] or {}).items() for word in one).replace("_", " ") or "-"
        print(f"{row['figure']:<75} {target:<14} {shown} {row['unit'] if row['measured'] is not None else ''} {'' if row['ok'] is None else 'ok' if row['ok'] else 'MISSED'}")
    record = {"suite": "cuda", "commit": commit, "unix_time": int(time.time()), "device": found, "figures": rows}
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(record, indent=2) + "\n")
    print(f"recorded in {arguments.report}")
    if any(row["ok"] is False for row in rows):
        return 1
    expected = {one["figure"] for one in FIGURES}
    return 3 if any(row["measured"] is None for row in rows if row["figure"] in expected) else 0


if __name__ == "__main__":
    sys.exit(main())
