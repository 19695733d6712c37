"""Tensors in shared memory of this machine, by tritonclient's own utilities, and everything that a client may do wrong with it (W-59 to W-64, W-91)."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, serialize_byte_tensor
from tritonclient.utils import shared_memory as shm

from harness import ModelRepository, request

WIRES = ["http", "grpc"]
ROWS = np.arange(32, dtype=np.int32).reshape(2, 16)


class Objects:
    """Shared memory objects of this test, removed at its end."""

    def __init__(self):
        self.handles, self.prefix = [], f"hanok_{os.getpid()}_{id(self):x}"

    def make(self, name: str, size: int):
        handle = shm.create_shared_memory_region(name, f"/{self.prefix}_{name}", size)
        self.handles.append(handle)
        return handle

    def key(self, name: str) -> str:
        return f"/{self.prefix}_{name}"

    def path(self, name: str) -> Path:
        return Path("/dev/shm") / f"{self.prefix}_{name}"

    def remove(self):
        for handle in self.handles:
            shm.destroy_shared_memory_region(handle)
        for left in Path("/dev/shm").glob(f"{self.prefix}_*"):
            left.unlink()


@pytest.fixture
def objects():
    objects = Objects()
    yield objects
    objects.remove()


def models(repository: ModelRepository) -> ModelRepository:
    repository.copy("simple", "digits")
    repository.add("texts", inputs=[("INPUT0", "BYTES", [-1])])
    repository.add("truths", inputs=[("INPUT0", "BOOL", [-1])])
    repository.add("sleepy", model="sleep", inputs=[("INPUT0", "INT32", [1])], max_batch_size=1)
    return repository


@pytest.fixture
def server(repository, serve):
    return serve(models(repository), "--allow-client-shm")


def connect(server, wire: str):
    library = getattr(tritonclient, wire)
    return library, library.InferenceServerClient(getattr(server, wire))


def status(client, name="") -> dict[str, tuple[str, int, int]]:
    if isinstance(client, tritonclient.http.InferenceServerClient):
        regions = {one["name"]: one for one in client.get_system_shared_memory_status(name)}
    else:
        regions = client.get_system_shared_memory_status(name, as_json=True).get("regions", {})
    return {name: (one["key"], int(one.get("offset", 0)), int(one["byte_size"])) for name, one in regions.items()}


def lent(library, name: str, shape, kind: str, region: str, size: int, offset: int = 0):
    tensor = library.InferInput(name, list(shape), kind)
    tensor.set_shared_memory(region, size, offset)
    return tensor


def wanted(library, name: str, region: str, size: int, offset: int = 0):
    output = library.InferRequestedOutput(name)
    output.set_shared_memory(region, size, offset)
    return output


@pytest.mark.parametrize("wire", WIRES)
def test_inputs_and_outputs(server, objects, wire):
    library, client = connect(server, wire)
    given, got = objects.make("given", 512), objects.make("got", 512)
    shm.set_shared_memory_region(given, [ROWS], offset=64)
    shm.set_shared_memory_region(given, [ROWS[::-1].copy()], offset=64 + 128)
    # The region begins in the middle of its object.
    client.register_system_shared_memory("in", objects.key("given"), 256 + 64, offset=64)
    client.register_system_shared_memory("out", objects.key("got"), 512)
    assert status(client) == {"in": (objects.key("given"), 64, 320), "out": (objects.key("got"), 0, 512)}
    assert status(client, "in") == {"in": (objects.key("given"), 64, 320)}
    inputs = [lent(library, "INPUT0", (2, 16), "INT32", "in", 128), lent(library, "INPUT1", (2, 16), "INT32", "in", 128, 128)]
    answer = client.infer("simple", inputs, outputs=[wanted(library, "OUTPUT0", "out", 128, 32), library.InferRequestedOutput("OUTPUT1")])
    assert np.array_equal(shm.get_contents_as_numpy(got, np.int32, [2, 16], 32), ROWS + ROWS[::-1])
    assert np.array_equal(answer.as_numpy("OUTPUT1"), ROWS - ROWS[::-1])
    assert bytes(shm.get_contents_as_numpy(got, np.uint8, [32])) == bytes(32), "nothing is written beside it"
    client.unregister_system_shared_memory("in")
    client.unregister_system_shared_memory("never")
    assert set(status(client)) == {"out"}
    client.unregister_system_shared_memory()
    assert status(client) == {}
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region: 'in'"):
        client.infer("simple", inputs)


@pytest.mark.parametrize("wire", WIRES)
def test_texts_and_truths_are_checked_where_the_client_cannot_change_them(server, objects, wire):
    library, client = connect(server, wire)
    given, got = objects.make("given", 4096), objects.make("got", 4096)
    client.register_system_shared_memory("in", objects.key("given"), 4096)
    client.register_system_shared_memory("out", objects.key("got"), 4096)
    texts = serialize_byte_tensor(np.array([[b"one", b"", "세".encode()]], dtype=object)).item()
    shm.set_shared_memory_region(given, [np.frombuffer(texts, np.uint8)])
    client.infer("texts", [lent(library, "INPUT0", (1, 3), "BYTES", "in", len(texts))], outputs=[wanted(library, "OUTPUT0", "out", 4096)])
    assert bytes(shm.get_contents_as_numpy(got, np.uint8, [len(texts)])) == texts
    with pytest.raises(InferenceServerException, match="holds no BYTES tensor of shape"):
        client.infer("texts", [lent(library, "INPUT0", (1, 4), "BYTES", "in", len(texts))])
    shm.set_shared_memory_region(given, [np.array([[1, 0, 1]], np.uint8)])
    client.infer("truths", [lent(library, "INPUT0", (1, 3), "BOOL", "in", 3)], outputs=[wanted(library, "OUTPUT0", "out", 3, 100)])
    assert bytes(shm.get_contents_as_numpy(got, np.uint8, [3], 100)) == b"\1\0\1"


@pytest.mark.parametrize("wire", WIRES)
def test_ranges_and_sizes_that_do_not_fit(server, objects, wire):
    library, client = connect(server, wire)
    given, got = objects.make("given", 256), objects.make("got", 256)
    shm.set_shared_memory_region(given, [ROWS])
    client.register_system_shared_memory("in", objects.key("given"), 256)
    client.register_system_shared_memory("out", objects.key("got"), 256)

    def refused(told: str, first=("in", 128, 0), second=("in", 128, 0), output=("out", 128, 0)):
        inputs = [lent(library, f"INPUT{index}", (2, 16), "INT32", *place) for index, place in enumerate((first, second))]
        with pytest.raises(InferenceServerException, match=told):
            client.infer("simple", inputs, outputs=[wanted(library, "OUTPUT0", *output)])

    refused("Invalid offset for shared memory region", first=("in", 128, 256))
    refused("Invalid offset \\+ byte size", first=("in", 128, 192))
    refused("Integer overflow detected|expected|invalid|Invalid", first=("in", 2**63 - 1, 128))
    refused("(?i)byte|size", first=("in", 64, 0))
    refused("should be at least 128 bytes to hold the results", output=("out", 64, 0))
    refused("Invalid offset \\+ byte size", output=("out", 128, 192))
    refused("Unable to find shared memory region: 'gone'", output=("gone", 128, 0))
    assert bytes(shm.get_contents_as_numpy(got, np.uint8, [256])) == bytes(256)


@pytest.mark.parametrize("wire", WIRES)
def test_what_cannot_be_registered(server, objects, wire, tmp_path):
    _, client = connect(server, wire)
    objects.make("a", 64)
    (tmp_path / "secret").write_bytes(b"x" * 64)
    objects.path("link").symlink_to(tmp_path / "secret")
    os.mkfifo(objects.path("pipe"))
    objects.path("folder").mkdir()
    unopened = "Unable to open shared memory region"
    cases = [
        (("b", "/away", 4), unopened),
        (("b", f"../..{tmp_path}/secret", 64), unopened),
        (("b", f"/{tmp_path}/secret", 64), unopened),
        (("b", "/..", 1), unopened),
        (("b", "/" + "k" * 300, 1), unopened),
        (("b", objects.key("link"), 64), unopened),
        (("b", objects.key("pipe"), 64), unopened),
        (("b", objects.key("folder"), 64), unopened),
        (("b", objects.key("a"), 65), "its object has `64` bytes"),
        (("b", objects.key("a"), 0), "its object has `64` bytes"),
        (("b", objects.key("a"), 60, 5), "its object has `64` bytes"),
        (("b", objects.key("a"), 2**63, 2**63), "its object has `64` bytes"),
        (("triton_python_backend_shm_region_1", objects.key("a"), 64), "reserved name"),
    ]
    for arguments, told in cases:
        with pytest.raises(InferenceServerException, match=told):
            client.register_system_shared_memory(*arguments)
        assert status(client) == {}, arguments
    objects.path("folder").rmdir()
    client.register_system_shared_memory("a", objects.key("a"), 64)
    with pytest.raises(InferenceServerException, match="already in manager"):
        client.register_system_shared_memory("a", objects.key("a"), 32)
    assert status(client) == {"a": (objects.key("a"), 0, 64)}
    with pytest.raises(InferenceServerException, match="Unable to find system shared memory region: 'b'"):
        status(client, "b")


def test_the_statuses_over_http(server, objects):
    objects.make("a", 64)
    register = lambda name, **body: request(server.http, "POST", f"/v2/systemsharedmemory/region/{name}/register", body).status
    assert register("a", key=objects.key("a"), byte_size=64) == 200
    assert register("a", key=objects.key("a"), byte_size=64) == 400
    assert register("b", key="/away", byte_size=64) == 500
    assert register("b", key=objects.key("a"), byte_size=65) == 500
    assert register("b", key=objects.key("a")) == 500, "as every malformed message"
    assert request(server.http, "GET", "/v2/systemsharedmemory/region/b/status").status == 404
    assert request(server.http, "POST", "/v2/systemsharedmemory/region/b/unregister").status == 200
    assert request(server.http, "POST", "/v2/systemsharedmemory/unregister").status == 200
    assert request(server.http, "GET", "/v2/systemsharedmemory/status").json() == []


def test_classes_have_no_place_in_regions(server, objects):
    objects.make("got", 256)
    assert request(server.http, "POST", "/v2/systemsharedmemory/region/out/register", {"key": objects.key("got"), "byte_size": 256}).status == 200
    image = {"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0] * 64}
    output = {"name": "probabilities", "parameters": {"classification": 2, "shared_memory_region": "out", "shared_memory_byte_size": 256}}
    refused = request(server.http, "POST", "/v2/models/digits/infer", {"inputs": [image], "outputs": [output]})
    assert refused.status == 400 and "cannot both be set for an output" in refused.json()["error"], refused


@pytest.mark.parametrize("wire", WIRES)
def test_an_object_that_shrinks_fails_its_own_requests_only(server, objects, wire):
    library, client = connect(server, wire)
    given = objects.make("given", 1 << 20)
    objects.make("got", 1 << 20)
    shm.set_shared_memory_region(given, [ROWS])
    client.register_system_shared_memory("in", objects.key("given"), 1 << 20)
    client.register_system_shared_memory("out", objects.key("got"), 1 << 20)
    inputs = [lent(library, f"INPUT{index}", (2, 16), "INT32", "in", 128, 512 << 10) for index in range(2)]
    outputs = [wanted(library, "OUTPUT0", "out", 128, 512 << 10)]
    client.infer("simple", inputs, outputs=outputs)
    os.truncate(objects.path("got"), 4096)
    with pytest.raises(InferenceServerException, match="smaller than it was when it was registered"):
        client.infer("simple", inputs, outputs=outputs)
    assert objects.path("got").stat().st_size == 4096, "it is not made larger again"
    os.truncate(objects.path("given"), 4096)
    with pytest.raises(InferenceServerException, match="smaller than it was when it was registered"):
        client.infer("simple", inputs)
    plain = [library.InferInput(f"INPUT{index}", [2, 16], "INT32") for index in range(2)]
    for tensor in plain:
        tensor.set_data_from_numpy(ROWS)
    assert np.array_equal(client.infer("simple", plain).as_numpy("OUTPUT0"), 2 * ROWS)


@pytest.mark.parametrize("wire", WIRES)
def test_a_region_that_is_unregistered_in_use_serves_its_request(server, objects, wire):
    library, client = connect(server, wire)
    given, got = objects.make("given", 4), objects.make("got", 4)
    shm.set_shared_memory_region(given, [np.array([1500], np.int32)])
    client.register_system_shared_memory("in", objects.key("given"), 4)
    client.register_system_shared_memory("out", objects.key("got"), 4)
    failures = []

    def ask():
        library, own = connect(server, wire)
        try:
            own.infer("sleepy", [lent(library, "INPUT0", (1, 1), "INT32", "in", 4)], outputs=[wanted(library, "OUTPUT0", "out", 4)])
        except InferenceServerException as error:
            failures.append(error)

    asked = threading.Thread(target=ask)
    asked.start()
    server.await_requests("sleepy", executing=1)
    client.unregister_system_shared_memory()
    assert status(client) == {}
    asked.join(30)
    assert failures == [] and shm.get_contents_as_numpy(got, np.int32, [1])[0] == 1500


def test_streams_and_real_models(server, objects):
    library, client = connect(server, "grpc")
    image = np.random.default_rng(7).random((3, 1, 8, 8), dtype=np.float32)
    given, got = objects.make("given", image.nbytes), objects.make("got", 4096)
    shm.set_shared_memory_region(given, [image])
    plain = library.InferInput("image", list(image.shape), "FP32")
    plain.set_data_from_numpy(image)
    expected = client.infer("digits", [plain]).as_numpy("probabilities")
    client.register_system_shared_memory("in", objects.key("given"), image.nbytes)
    client.register_system_shared_memory("out", objects.key("got"), 4096)
    answers, answered = [], threading.Event()
    client.start_stream(lambda result, error: (answers.append((result, error)), answered.set()))
    client.async_stream_infer("digits", [lent(library, "image", image.shape, "FP32", "in", image.nbytes)], outputs=[wanted(library, "probabilities", "out", 4096)])
    assert answered.wait(30) and answers[0][1] is None, answers
    client.stop_stream()
    assert np.array_equal(shm.get_contents_as_numpy(got, np.float32, expected.shape), expected)


def test_no_more_regions_than_files_are_spared_for(server, objects):
    objects.make("a", 64)
    files = server.open_files()
    register = lambda number: request(server.http, "POST", f"/v2/systemsharedmemory/region/r{number}/register", {"key": objects.key("a"), "byte_size": 64})
    assert {register(number).status for number in range(1024)} == {200}
    refused = register(1024)
    assert refused.status == 503 and "unregister some" in refused.json()["error"]
    assert request(server.http, "POST", "/v2/systemsharedmemory/unregister").status == 200
    server.await_true(lambda: server.open_files() <= files + 2, "the files of regions")


@pytest.mark.parametrize("wire", WIRES)
def test_off_unless_it_is_allowed(repository, serve, objects, wire):
    server = serve(models(repository))
    library, client = connect(server, wire)
    objects.make("a", 256)
    with pytest.raises(InferenceServerException, match="--allow-client-shm"):
        client.register_system_shared_memory("a", objects.key("a"), 256)
    with pytest.raises(InferenceServerException, match="--allow-client-shm"):
        client.unregister_system_shared_memory()
    assert status(client) == {}
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("simple", [lent(library, f"INPUT{index}", (2, 16), "INT32", "a", 128) for index in range(2)])
