"""The GPU suite's own code without a GPU: real servers and generators, models on the processors, a stand-in as driver.

Two small networks take the names of the suite's; what is measured means nothing, but that everything was is the test.
Needs numpy and onnx.  usage: gpu_suite_dry_run.py FOLDER HANOK HANOK_BENCHES LIBRARY   (prints the rows as JSON)
"""

import functools
import json
import os
import sys
from pathlib import Path

# In the place of this folder, whose modules are not meant.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "benches/gpu")

import measure  # noqa: E402
import networks  # noqa: E402
import numpy  # noqa: E402
from serving import BareLoop  # noqa: E402
from shared_memory import LentTensors  # noqa: E402


class FileMemory:
    """Memory that is lent: files, which the stand-in opens by their path in the place of a driver's handle."""

    count = 0

    def __init__(self, sizes):
        self.maps, self.handles = [], []
        for size in sizes:
            path = Path(folder) / f"region{FileMemory.count}"
            FileMemory.count += 1
            path.write_bytes(bytes(size))
            self.maps.append(numpy.memmap(path, mode="r+"))
            self.handles.append(str(path).encode().ljust(64, b"\0"))
            assert len(str(path)) < 64, path

    def put(self, index, array):
        self.maps[index][:] = numpy.frombuffer(array.tobytes(), numpy.uint8)

    def get(self, index, array):
        array[...] = numpy.frombuffer(self.maps[index].tobytes(), array.dtype).reshape(array.shape)
        return array

    def free(self):
        self.maps.clear()


def small(path):
    """A network with the tensors of ResNet-50 and little in between."""
    graph = networks.Graph(50)
    value = graph.node("Flatten", graph.node("GlobalAveragePool", "INPUT"), axis=1)
    value = graph.node("Gemm", value, graph.weight((1000, 3)), graph.weight((1000,), value=1), transB=1)
    graph.save(path, [("INPUT", networks.HALF, [3, 224, 224])], value, [1000])


folder, hanok, hanok_benches, library = sys.argv[1:]
write = networks.write
networks.NETWORKS.clear()
networks.NETWORKS.update(resnet50=(small, 8), perceptron=(networks.perceptron, 8))
networks.write = lambda folder, kind, suffix="", **more: write(folder, "KIND_CPU", suffix, **more)
measure.BareLoop = functools.partial(BareLoop, gpu=None)
measure.LentTensors = functools.partial(LentTensors, lend=FileMemory)
programs = {"hanok": hanok, "hanok-benches": hanok_benches} | {name: library for name in measure.ENGINE if name.startswith("lib")}
environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
rows = measure.measured("answers", lambda rows: measure.answers(programs, environment, Path(folder), rows))
rows += measure.measured("networks", lambda rows: measure.speed(programs, environment, Path(folder), 0.3, rows))
print(json.dumps(rows))
