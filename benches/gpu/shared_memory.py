"""Callers whose tensors lie in regions of a GPU: `tritonclient` with its own utilities, and raw handles over HTTP for speed.

Nothing here is imported with the module: what a machine lacks costs the figures that need it, by name.
"""

import base64
import ctypes
import http.client
import json
import threading
import time
from pathlib import Path

from packed import library_folders


def tritonclient_memory():
    """`tritonclient.utils.cuda_shared_memory` and `tritonclient.grpc`. Raises RuntimeError with the reason where one of them, or
    what it needs (cuda-bindings), cannot be imported."""
    try:
        import tritonclient.grpc
        import tritonclient.utils.cuda_shared_memory as memory
    except (ImportError, RuntimeError, OSError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise RuntimeError(f"tritonclient's cuda_shared_memory cannot be imported: {error}{cause}") from error
    return tritonclient.grpc, memory


class LentByTritonclient:
    """A caller as a user of Triton writes it: regions made, filled and read by tritonclient, requests over gRPC."""

    def __init__(self, address, model, array, kind, outputs):
        self.grpc, self.memory = tritonclient_memory()
        self.client = self.grpc.InferenceServerClient(address)
        self.model, self.outputs = model, outputs
        self.regions = {}
        try:
            for name, size in (("by_tritonclient_in", array.nbytes), ("by_tritonclient_out", outputs.nbytes)):
                self.regions[name] = self.memory.create_shared_memory_region(name, size, 0)
                handle = self.memory.get_raw_handle(self.regions[name])
                self.client.register_cuda_shared_memory(name, handle, 0, size)
            self.memory.set_shared_memory_region(self.regions["by_tritonclient_in"], [array])
        except BaseException:
            self.end()
            raise
        self.input = self.grpc.InferInput("INPUT", list(array.shape), kind)
        self.input.set_shared_memory("by_tritonclient_in", array.nbytes)
        self.wanted = self.grpc.InferRequestedOutput("OUTPUT")
        self.wanted.set_shared_memory("by_tritonclient_out", outputs.nbytes)

    def answer(self):
        """Infers, and reads the answer out of its region."""
        self.client.infer(self.model, [self.input], outputs=[self.wanted])
        return self.memory.get_contents_as_numpy(self.regions["by_tritonclient_out"], self.outputs.dtype, self.outputs.shape)

    def end(self):
        while self.regions:
            name, region = self.regions.popitem()
            self.client.unregister_cuda_shared_memory(name)
            self.memory.destroy_shared_memory_region(region)
        self.client.close()


class Lent:
    """Memory of the GPU that this process lends to the server: cudaMalloc allocations and their handles."""

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

    def __init__(self, address, model, name, array, kind, outputs, lend=Lent):
        self.connection = http.client.HTTPConnection(address, timeout=120)
        self.lent, self.name, self.model, self.outputs = lend([array.nbytes, outputs.nbytes]), name, model, outputs
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
        """Infers, and reads the answer out of its region."""
        self.infer()
        return self.lent.get(1, self.outputs)

    def end(self):
        for part in ("in", "out"):
            self.post(f"/v2/cudasharedmemory/region/{self.name}_{part}/unregister", {})
        self.connection.close()
        self.lent.free()


def rate(callers, seconds):
    """Requests a second of callers that ask for `seconds` all at once."""
    counts, failures, end = [0] * len(callers), [], time.monotonic() + seconds

    def work(index):
        try:
            while time.monotonic() < end:
                callers[index].infer()
                counts[index] += 1
        except Exception as error:  # raised below, in the thread that asked
            failures.append(error)

    begin = time.monotonic()
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.monotonic() - begin)
