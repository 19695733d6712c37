"""Correctness and speed on a GPU: every kernel and every network against the processors, then the figures of `benches/run cuda`.

Runs on a machine that has a driver, the CUDA 13 libraries (those of PyTorch's packages will do) and Python with numpy and
onnx, and neither Rust nor a network. `make_pack` puts everything else into the folder `pack` beside this file.

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
TOLERANCE = 2e-2  # half precision, two orders of summation, up to fifty layers


def figure(name, unit="", at_least=None, at_most=None, measured=None, skipped=None, **more):
    target = {"at_least": at_least} if at_least is not None else {"at_most": at_most} if at_most is not None else "information"
    return {"figure": name, "unit": unit, "target": target, "measured": measured, "skipped": skipped, **more}


def holds(row):
    if row["measured"] is None or row["target"] == "information":
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


def kernels(programs, environment, folder, commit):
    names = ["kernels that agree with their references", "gather, cast and normalise of 64 x 3 x 224 x 224 over the copy bandwidth"]
    if "kernel_check" not in programs:
        return [figure(names[0], at_least=1.0, skipped="kernel_check was not packed"), figure(names[1], at_least=0.8, skipped="kernel_check was not packed")]
    report = folder / "kernels.json"
    done = subprocess.run([programs["kernel_check"], "--commit", commit, "--output", report], env=environment, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="\n")
    if not report.exists():
        reason = f"kernel_check ended with {done.returncode}: {done.stderr.strip()[-300:]}"
        return [figure(names[0], at_least=1.0, skipped=reason), figure(names[1], at_least=0.8, skipped=reason)]
    rows = json.loads(report.read_text())
    right = [row["right"] for row in rows["kernels"]]
    shares = [1 / row["time_over_floor"] for row in rows["kernels"] if row["kernel"].startswith("image 64 x 224^2")]
    return [
        figure(names[0], at_least=1.0, measured=sum(right) / len(right), kernels=rows),
        figure(names[1], at_least=0.8, measured=min(shares) if shares else None, skipped=None if shares else "no such row"),
    ]


def answers(programs, environment, folder):
    """The networks on the GPU against the same files on the processors, several batch sizes, fresh random inputs."""
    import networks
    import numpy

    repository = folder / "answers"
    networks.write(repository, "KIND_GPU")
    networks.write(repository, "KIND_CPU", "_cpu")
    networks.write(repository, "KIND_GPU", "_graph", "optimization { cuda { graphs: true } }")
    random, rows = numpy.random.default_rng(int(time.time())), []
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
                rows.append(figure(f"{name}{suffix}: relative difference to the processors", at_most=TOLERANCE, measured=worst))
        with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as reply:
            page = reply.read().decode()
        told = all(f"{name}{{" in page for name in ("nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_power_usage"))
        rows.append(figure("metrics of the GPU are told", at_least=1.0, measured=float(told)))
    return rows


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

    def __init__(self, address, model, name, array, outputs):
        self.connection = http.client.HTTPConnection(address, timeout=120)
        self.lent, self.name, self.model, self.outputs = Lent([array.nbytes, outputs.nbytes]), name, model, outputs
        self.lent.put(0, array)
        for index, (part, size) in enumerate([("in", array.nbytes), ("out", outputs.nbytes)]):
            body = {"raw_handle": {"b64": base64.b64encode(self.lent.handles[index]).decode()}, "device_id": 0, "byte_size": size}
            self.post(f"/v2/cudasharedmemory/region/{name}_{part}/register", body)
        region = lambda part, size: {"shared_memory_region": f"{name}_{part}", "shared_memory_byte_size": size}  # noqa: E731
        self.request = {
            "inputs": [{"name": "INPUT", "shape": list(array.shape), "datatype": "FP16", "parameters": region("in", array.nbytes)}],
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


def lent_memory(address, model, batch, bare_rate, seconds):
    """ResNet-50 with tensors that stay on the GPU: the answer, and the rate of four callers over the bare engine's."""
    import numpy

    names = [f"{model} through CUDA shared memory: relative difference to the message", "ResNet-50 through CUDA shared memory over the bare engine"]
    array = numpy.random.default_rng(5).standard_normal((batch, 3, 224, 224)).astype(numpy.float16)
    callers = [LentTensors(address, model, f"c{index}", array, numpy.zeros((batch, 1000), numpy.float16)) for index in range(4)]
    callers[0].infer()
    found, wanted = callers[0].answer().astype(numpy.float64), infer(address, model, array, "FP16").astype(numpy.float64)
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
        figure(names[0], at_most=1e-3, measured=difference),
        figure(names[1], at_least=0.97, measured=None if skipped else rate / bare_rate, skipped=skipped, rows_per_second=rate),
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


def speed(programs, environment, folder, seconds):
    import networks

    repository, rows = folder / "speed", []
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
                rows.append(figure("small network, batch 1: server over the bare launch, p50", "us", at_most=60, measured=overhead, bare=bare, level=level))
                continue
            levels = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--batch", str(best), "--concurrency", "2,4,8", "--connections", "4", "--duration", length)
            rate = best * max(level["requests_per_second"] for level in levels)
            share = rate / bare[best]["rows_per_second"]
            rows.append(figure(f"{name}: rows a second through the server over the bare engine, gRPC, batch {best}", at_least=0.97, measured=share, bare=bare, levels=levels))
            level, = bench(programs, environment, folder, f"grpc://{server.grpc}", name, "--batch", "1", "--rate", str(0.8 * rate), "--connections", "8", "--duration", length)
            if name == "resnet50":
                rows += lent_memory(server.http, name, best, bare[best]["rows_per_second"], seconds)
            rows.append(figure(f"{name}: p99 at 80 % load over the bare time of a batch", at_most=2.0, measured=level["latency_us"]["p99"] / (batch_seconds * 1e6), level=level))
    return rows


def torch_bert(torch):
    """The encoder of `networks.bert_base`, by PyTorch's own layers."""
    nn = torch.nn

    class Bert(nn.Module):
        def __init__(self, width=768):
            super().__init__()
            self.words, self.places = nn.Embedding(30522, width), nn.Parameter(torch.zeros(128, width))
            self.norm, self.pool = nn.LayerNorm(width), nn.Linear(width, width)
            layer = nn.TransformerEncoderLayer(width, 12, 4 * width, 0.0, "gelu", batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)

        def forward(self, tokens):
            value = self.layers(self.norm(self.words(tokens) + self.places))
            return torch.tanh(self.pool(value[:, 0]))

    return Bert(), torch.randint(0, 30522, (32, 128), device="cuda")


def torch_beside(seconds):
    """ResNet-50 and BERT-base by PyTorch, compiled with CUDA graphs, in the same run."""
    names = ["ResNet-50 by PyTorch, compiled, CUDA graphs, batch 64", "BERT-base by PyTorch, compiled, CUDA graphs, batch 32"]
    try:
        import torch
    except ImportError as error:
        return [figure(name, "rows/s", skipped=f"{error}") for name in names]

    def resnet():
        import torchvision

        return torchvision.models.resnet50(), torch.randn(64, 3, 224, 224, device="cuda", dtype=torch.half)

    rows = []
    for name, make in zip(names, [resnet, lambda: torch_bert(torch)]):
        try:
            model, data = make()
            rows.append(figure(name, "rows/s", measured=torch_rate(torch, model, data, seconds)))
        except (ImportError, RuntimeError) as error:
            rows.append(figure(name, "rows/s", skipped=f"{type(error).__name__}: {error}"))
    return rows


def torch_rate(torch, model, data, seconds):
    model = torch.compile(model.half().eval().cuda(), mode="max-autotune-no-cudagraphs")
    with torch.inference_mode():
        for _ in range(5):
            model(data)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(data)
        torch.cuda.synchronize()
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            graph.replay()
            torch.cuda.synchronize()
            count += 1
        return len(data) * count / (time.monotonic() - begin)


def device():
    query = "name,uuid,driver_version,memory.total,compute_cap"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True)
    except OSError as error:
        return {"absent": str(error)}
    return {"absent": done.stdout.strip() or "nvidia-smi failed"} if done.returncode else dict(zip(query.split(","), done.stdout.splitlines()[0].split(", ")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--commit", default="")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="kernels,answers,networks,torch")
    arguments = parser.parse_args()
    found, rows = device(), []
    if "absent" in found:
        print(f"measure.py: there is no GPU: {found['absent']}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="hanok-gpu-") as folder:
        folder = Path(folder)
        programs = unpack(folder)
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        environment["LD_LIBRARY_PATH"] = ":".join([*library_folders(), os.environ.get("LD_LIBRARY_PATH", "")])
        commit = arguments.commit or (HERE / "pack/programs/commit").read_text().strip() if (HERE / "pack/programs/commit").exists() else arguments.commit
        parts = {
            "kernels": lambda: kernels(programs, environment, folder, commit),
            "answers": lambda: answers(programs, environment, folder),
            "networks": lambda: speed(programs, environment, folder, arguments.seconds),
            "torch": lambda: torch_beside(arguments.seconds),
        }
        for name in arguments.only.split(","):
            print(f"== {name}", flush=True)
            try:
                if "absent" in found:
                    raise RuntimeError("there is no GPU")
                rows += parts[name]()
            except Exception as error:  # one part must not cost the others: device time is short
                rows.append(figure(f"the part `{name}`", at_least=1.0, skipped=f"{type(error).__name__}: {error}"))
    for row in rows:
        row["ok"] = holds(row)
        shown = row["measured"] if row["measured"] is not None else f"skipped: {row['skipped']}"
        print(f"{row['figure']:<75} {row['target']!s:<20} {shown} {'' if row['ok'] is None else 'ok' if row['ok'] else 'MISSED'}")
    record = {"suite": "cuda", "commit": commit, "unix_time": int(time.time()), "device": found, "figures": rows}
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(record, indent=2) + "\n")
    print(f"recorded in {arguments.report}")
    if any(row["ok"] is False for row in rows):
        return 1
    return 3 if any(row["measured"] is None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
