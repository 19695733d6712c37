"""GPUs without one: off by default, clear reasons where they are asked for, and everything that a stand-in of the driver shows.

The stand-ins (`runtime/devices/tests/stand_in`) take the place of the driver and of NVML through the system's loader. They
compute nothing: what they show is which calls are made and what is told of the answers.
"""

import base64
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from harness import binary
from harness.server import ROOT

STAND_IN = ROOT / "runtime/devices/tests/stand_in"
WHOLE, PART = "GPU-00112233-4455-6677-8899-aabbccddee00", "MIG-00112233-4455-6677-8899-aabbccddee01"
HANDLE = base64.b64encode(b"\7" * 64)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """The environment in which the stand-ins are the driver and NVML."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler called `cc`")
    folder = tmp_path_factory.mktemp("stand_in")
    for source, library in (("driver.c", "libcuda.so.1"), ("nvml.c", "libnvidia-ml.so.1")):
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / library, STAND_IN / source], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def has_driver():
    return subprocess.run(["sh", "-c", "ldconfig -p | grep -q libcuda.so.1"]).returncode == 0


without_gpu = pytest.mark.skipif(has_driver(), reason="this machine has a driver")
GROUP = "instance_group [ {{ kind: {kind} }} ]\n"


def simple(repository, name, group):
    repository.copy("simple")
    shutil.move(repository.path / "simple", repository.path / name)
    config = (repository.path / name / "config.pbtxt").read_text()
    assert "instance_group" not in config and 'name: "simple"' in config
    repository.write(f"{name}/config.pbtxt", config.replace('"simple"', f'"{name}"') + group)
    return repository


@without_gpu
def test_without_a_driver_models_that_may_are_served_by_the_processors(repository, serve):
    simple(repository, "may", "")
    simple(repository, "must", GROUP.format(kind="KIND_GPU"))
    server = serve(repository, "--cuda", wait="live")
    server.await_true(lambda: server.get("/v2/models/may/ready").status == 200, "the model that may run anywhere", 30)
    assert server.log().count("no GPU is used: the CUDA driver is not available: libcuda.so.1") == 1
    index = {entry["name"]: entry for entry in server.post("/v2/repository/index", {}).json()}
    assert index["may"]["state"] == "READY"
    assert "the CUDA driver is not available" in index["must"]["reason"] and "KIND_CPU" in index["must"]["reason"]
    assert "nv_gpu" not in server.metrics().text


@without_gpu
def test_a_gpu_may_be_required(repository):
    command = [str(binary()), "serve", "--cuda=required", "--model-repository", str(repository.add("m").path), "--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode not in (0, 101) and "--cuda=required: the CUDA driver is not available" in done.stderr


def test_gpus_are_off_by_default(repository, serve, stand_in):
    simple(repository, "must", GROUP.format(kind="KIND_GPU"))
    repository.add("m")
    server = serve(repository, "--cuda-memory-pool-byte-size=0:1000", wait="live", environment=stand_in)
    server.await_true(lambda: server.get("/v2/models/m/ready").status == 200, "a model", 30)
    reason = next(entry["reason"] for entry in server.post("/v2/repository/index", {}).json() if entry["name"] == "must")
    assert "start the server with --cuda" in reason
    assert "--cuda-memory-pool-byte-size has no effect" in server.log()
    with pytest.raises(InferenceServerException, match="shared memory"):
        tritonclient.http.InferenceServerClient(server.http).register_cuda_shared_memory("a", HANDLE, 0, 64)


def test_the_doctor_tells_devices_and_what_is_missing(stand_in):
    done = subprocess.run([str(binary()), "doctor"], capture_output=True, text=True, timeout=60, env={**stand_in, "PATH": "/usr/bin:/bin"}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "CUDA: driver 580.65.06, CUDA 13.0" in done.stdout
    assert f"GPU 0 Stand-in 0 ({WHOLE}, compute capability 9.0, 600 of 1024 MiB free)" in done.stdout
    assert PART in done.stdout and "a part of a GPU" in done.stdout
    other = "MIG-00112233-4455-6677-8899-aabbccddee02"
    assert f"a part of a GPU (Stand-in 0 MIG 1g.10gb) is not used by this process, which sees one: CUDA_VISIBLE_DEVICES={other} addresses it" in done.stdout
    assert f"CUDA_VISIBLE_DEVICES={PART}" not in done.stdout, "that one is used"
    if "served by ONNX Runtime" in done.stdout:
        assert "CUDA provider" in done.stdout


def test_a_backend_without_gpus_is_not_given_one(repository, serve, stand_in):
    # The library that tests have is built for processors, and tract has no GPU form.
    simple(repository, "may", "")
    simple(repository, "must", GROUP.format(kind="KIND_GPU"))
    server = serve(repository, "--cuda", wait="live", environment=stand_in)
    server.await_true(lambda: server.get("/v2/models/may/ready").status == 200, "the model that may run anywhere", 30)
    assert f"GPU 0 Stand-in 0 ({WHOLE}" in server.log()
    index = {entry["name"]: entry for entry in server.post("/v2/repository/index", {}).json()}
    assert "backend `onnxruntime` does not execute on GPUs here" in index["must"]["reason"]
    assert server.get("/v2/models/may/config").json()["instance_group"][0]["kind"] == "KIND_CPU"


def test_metrics_of_gpus(repository, serve, stand_in):
    server = serve(repository.add("m"), "--cuda", environment=stand_in)
    metrics = server.metrics()
    assert metrics.value("nv_gpu_utilization", gpu_uuid=WHOLE) == pytest.approx(0.37)
    assert metrics.value("nv_gpu_power_usage", gpu_uuid=WHOLE) == pytest.approx(123.456)
    assert metrics.value("nv_gpu_memory_used_bytes", gpu_uuid=PART) == 400 << 20
    assert metrics.value("nv_energy_consumption", gpu_uuid=WHOLE) == 0
    assert metrics.types["nv_energy_consumption"] == "counter"
    assert metrics.labels("nv_gpu_utilization", "gpu_uuid") == {WHOLE}, "what a device does not tell is absent"


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_cuda_shared_memory_by_tritonclient(repository, serve, stand_in, wire):
    server = serve(repository.add("m"), "--cuda", environment=stand_in)
    client = (tritonclient.http if wire == "http" else tritonclient.grpc).InferenceServerClient(getattr(server, wire))

    def status(name=""):
        if wire == "http":
            return {one["name"]: (int(one["device_id"]), int(one["byte_size"])) for one in client.get_cuda_shared_memory_status(name)}
        regions = client.get_cuda_shared_memory_status(name, as_json=True).get("regions", {})
        return {key: (int(one.get("device_id", 0)), int(one["byte_size"])) for key, one in regions.items()}

    assert status() == {}
    client.register_cuda_shared_memory("a", HANDLE, 0, 4096)
    client.register_cuda_shared_memory("b", HANDLE, 1, 64)
    assert status() == {"a": (0, 4096), "b": (1, 64)}
    assert status("b") == {"b": (1, 64)}
    for arguments, text in [
        (("a", HANDLE, 0, 64), "already in manager"),
        (("c", HANDLE, 0, 4097), "names `4096` bytes, asked for are `4097`"),
        (("c", HANDLE, 2, 64), "device id below `2`"),
        (("c", base64.b64encode(b"\7" * 63), 0, 64), "must have `64` bytes"),
        (("c", base64.b64encode(b"\1" * 64), 0, 64), "the handle cannot be opened"),
        (("triton_python_backend_shm_region_1", HANDLE, 0, 64), "reserved name"),
    ]:
        with pytest.raises(InferenceServerException, match=text):
            client.register_cuda_shared_memory(*arguments)
    with pytest.raises(InferenceServerException, match="Unable to find cuda shared memory region: 'c'"):
        status("c")
    client.unregister_cuda_shared_memory("a")
    client.unregister_cuda_shared_memory("c")
    assert status() == {"b": (1, 64)}
    client.unregister_cuda_shared_memory()
    assert status() == {}


class Lent:
    """Memory of a client's: a file, which the stand-in opens by its path in the place of a driver's handle."""

    def __init__(self, folder: Path, name: str, size: int):
        path = folder / name
        path.write_bytes(bytes(size))
        self.bytes = numpy.memmap(path, mode="r+")
        self.handle = base64.b64encode(str(path).encode().ljust(64, b"\0"))
        assert len(str(path)) < 64

    def put(self, offset, content: bytes):
        self.bytes[offset : offset + len(content)] = numpy.frombuffer(content, numpy.uint8)

    def get(self, offset, kind, count):
        return numpy.frombuffer(self.bytes[offset : offset + numpy.dtype(kind).itemsize * count].tobytes(), kind)


@pytest.fixture
def lent():
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="h") as folder:
        yield lambda name, size: Lent(Path(folder), name, size)


def wire_of(wire, server):
    module = tritonclient.http if wire == "http" else tritonclient.grpc
    return module, module.InferenceServerClient(getattr(server, wire))


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_tensors_in_cuda_shared_memory(repository, serve, stand_in, lent, wire):
    # The models run on the processors: what lies on a GPU comes and goes through pinned memory.
    server = serve(repository.copy("simple", "simple_string"), "--cuda", environment=stand_in)
    module, client = wire_of(wire, server)
    given, wanted = lent("in", 160), lent("out", 3 << 20)
    client.register_cuda_shared_memory("in", given.handle, 0, 160)
    client.register_cuda_shared_memory("out", wanted.handle, 1, 3 << 20)
    first, second = numpy.arange(16, dtype=numpy.int32), numpy.full(16, 3, numpy.int32)
    given.put(8, first.tobytes() + second.tobytes())

    def tensor(name, offset=None, values=None, size=64, region="in"):
        made = module.InferInput(name, [1, 16], "INT32")
        if values is None:
            made.set_shared_memory(region, size, offset)
        else:
            made.set_data_from_numpy(values.reshape(1, 16))
        return made

    def output(name, offset, size=64, region="out"):
        made = module.InferRequestedOutput(name)
        made.set_shared_memory(region, size, offset)
        return made

    both = [tensor("INPUT0", 8), tensor("INPUT1", 72)]
    result = client.infer("simple", both, outputs=[output("OUTPUT1", 4, 70), module.InferRequestedOutput("OUTPUT0")])
    assert (result.as_numpy("OUTPUT0")[0] == first + 3).all(), "what is not placed is in the reply"
    assert (wanted.get(4, numpy.int32, 16) == first - 3).all()
    told = result.get_output("OUTPUT1")
    if wire == "http":
        assert told == {"name": "OUTPUT1", "datatype": "INT32", "shape": [1, 16]}, "as in Triton, nothing but the shape"
    else:
        assert (told.name, told.datatype, list(told.shape)) == ("OUTPUT1", "INT32", [1, 16])
        assert [len(raw) for raw in result.get_response().raw_output_contents] == [0, 64]
    # One tensor in the message and one in a region; both outputs placed; larger than one piece of the staging apart.
    far = (3 << 20) - 64
    client.infer("simple", [tensor("INPUT0", values=second), tensor("INPUT1", 8)], outputs=[output("OUTPUT0", 0), output("OUTPUT1", far)])
    assert (wanted.get(0, numpy.int32, 16) == first + 3).all() and (wanted.get(far, numpy.int32, 16) == 3 - first).all()

    texts = b"".join(len(text).to_bytes(4, "little") + text for text in [b"%d" % number for number in range(16)])
    given.put(0, texts)
    strings = [module.InferInput(name, [1, 16], "BYTES") for name in ("INPUT0", "INPUT1")]
    for one in strings:
        one.set_shared_memory("in", len(texts))
    answer = client.infer("simple_string", strings, outputs=[module.InferRequestedOutput("OUTPUT0")])
    assert [int(text) for text in answer.as_numpy("OUTPUT0")[0]] == [2 * number for number in range(16)]

    def refused(text, status, inputs, outputs=None, model="simple"):
        with pytest.raises(InferenceServerException, match=text) as raised:
            client.infer(model, inputs, outputs=outputs)
        assert (raised.value.status() or "400").endswith(status[wire == "grpc"]), raised.value

    plain = [tensor("INPUT0", values=first), tensor("INPUT1", values=second)]
    refused("Unable to find shared memory region: 'none'", ("404", "NOT_FOUND"), [plain[0], tensor("INPUT1", 0, region="none")])
    refused("Invalid offset for shared memory region: 'in'", ("400", "INVALID_ARGUMENT"), [plain[0], tensor("INPUT1", 160)])
    refused("Invalid offset \\+ byte size for shared memory region: 'in'", ("400", "INVALID_ARGUMENT"), [plain[0], tensor("INPUT1", 100)])
    refused("Invalid offset \\+ byte size for shared memory region: 'out'", ("400", "INVALID_ARGUMENT"), plain, [output("OUTPUT0", far + 1)])
    refused("input byte size mismatch for input 'INPUT1' for model 'simple'. Expected 64, got 60", ("400", "INVALID_ARGUMENT"), [plain[0], tensor("INPUT1", 0, size=60)])
    refused("output 'OUTPUT0' \\(63 bytes\\) should be at least 64 bytes to hold the results", ("500", "INTERNAL"), plain, [output("OUTPUT0", 0, 63)])
    if wire == "http":
        refused("Integer overflow detected: byte_size", ("400", ""), plain, [output("OUTPUT0", 32, 2**64 - 32)])
    given.put(0, b"\xff" * 64)
    refused("holds no BYTES tensor", ("400", "INVALID_ARGUMENT"), strings, model="simple_string")
    assert (client.infer("simple", plain).as_numpy("OUTPUT0")[0] == first + 3).all(), "the server is well"

    client.unregister_cuda_shared_memory("in")
    refused("Unable to find shared memory region: 'in'", ("404", "NOT_FOUND"), both)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_what_comes_to_the_host_out_of_regions_counts_as_bytes_in_flight(repository, serve, stand_in, lent, wire):
    # The model runs on the processors. The message itself is small: its own limit says nothing of regions.
    server = serve(repository.add("m"), "--cuda", "--max-in-flight-bytes=100000", "--http-max-input-size=50000", environment=stand_in)
    module, client = wire_of(wire, server)
    given, wanted = lent("in", 200_000), lent("out", 200_000)
    client.register_cuda_shared_memory("in", given.handle, 0, 200_000)
    client.register_cuda_shared_memory("out", wanted.handle, 0, 200_000)

    def ask(count):
        tensor, output = module.InferInput("INPUT0", [1, count], "FP32"), module.InferRequestedOutput("OUTPUT0")
        tensor.set_shared_memory("in", 4 * count)
        output.set_shared_memory("out", 200_000)
        return client.infer("m", [tensor], outputs=[output])

    given.put(0, numpy.arange(50_000, dtype=numpy.float32).tobytes())
    # What HTTP's message takes of the limit itself is less than 1,000 bytes.
    for count in (1, 24_750, 24_750):
        ask(count)
        assert (wanted.get(0, numpy.float32, count) == numpy.arange(count)).all()
    with pytest.raises(InferenceServerException, match="limit of `100000` bytes of requests in flight") as raised:
        ask(25_001)
    assert raised.value.status().endswith("503" if wire == "http" else "RESOURCE_EXHAUSTED")
    ask(24_750)
    assert server.metrics().value("nv_inference_request_failure", model="m", reason="REJECTED") == 1


def test_a_region_that_is_unregistered_in_use_stays_until_the_request_is_done(repository, serve, stand_in, lent):
    # The stand-in unmaps memory as it is closed: a server that closed it early would crash as it writes.
    server = serve(repository.add("slow", parameters={"execute_delay_ms": "700"}), "--cuda", environment=stand_in)
    wanted = lent("out", 4096)
    body = {"raw_handle": {"b64": wanted.handle.decode()}, "device_id": 0, "byte_size": 4096}
    assert server.post("/v2/cudasharedmemory/region/out/register", body).status == 200
    metadata = server.get("/v2/models/slow").json()
    kind, name, result = metadata["inputs"][0]["datatype"], metadata["inputs"][0]["name"], metadata["outputs"][0]["name"]
    request = {
        "inputs": [{"name": name, "shape": [1, 1], "datatype": kind, "data": [1]}],
        "outputs": [{"name": result, "parameters": {"shared_memory_region": "out", "shared_memory_byte_size": 64}}],
    }
    replies = []
    callers = [threading.Thread(target=lambda: replies.append(server.post("/v2/models/slow/infer", request))) for _ in range(8)]
    for caller in callers:
        caller.start()

    def all_have_come():
        # One that is not in the queue yet may not have found its region.
        metrics = server.metrics()
        done, waiting = (metrics.value(name, model="slow") for name in ("nv_inference_request_success", "nv_inference_pending_request_count"))
        return metrics.value("hanok_in_flight_requests") == waiting + 1 == 8 - done and waiting > 0

    server.await_true(lambda: all(all_have_come() for _ in range(3)), "requests that wait", 20)
    assert server.post("/v2/cudasharedmemory/region/out/unregister", {}).status == 200
    again = server.post("/v2/cudasharedmemory/region/out/register", body)
    assert again.status == 200, "the name is free at once"
    for caller in callers:
        caller.join(60)
    assert [reply.status for reply in replies] == [200] * 8
    assert any(wanted.bytes[:64]), "and the answers are there"


@without_gpu
def test_cuda_shared_memory_without_a_gpu_is_unavailable(repository, serve):
    server = serve(repository.add("m"), "--cuda")
    reply = server.post("/v2/cudasharedmemory/region/a/register", {"raw_handle": {"b64": HANDLE.decode()}, "device_id": 0, "byte_size": 64})
    assert reply.status == 503 and "no GPU" in reply.error
    client = tritonclient.grpc.InferenceServerClient(server.grpc)
    with pytest.raises(InferenceServerException) as raised:
        client.register_cuda_shared_memory("a", HANDLE, 0, 64)
    assert "UNAVAILABLE" in raised.value.status()
