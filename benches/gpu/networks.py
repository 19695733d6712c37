"""Networks for measuring GPUs, generated where they are measured: ResNet-50, BERT-base and a small perceptron, in half precision.

Weights are random (seeded, scaled so that values stay in range): speed does not depend on them, and answers are compared
between devices, not with labels. Needs numpy and onnx.  usage: networks.py FOLDER [NAME...]
"""

import math
import os
import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
HALF = TensorProto.FLOAT16


class Graph:
    """Nodes and weights of one graph, appended in order."""

    def __init__(self, seed: int):
        self.random = numpy.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, shape, scale=None, value=None, balanced=False) -> str:
        """A half-precision weight: random with the deviation `scale`, or filled with `value`. `balanced` filters sum to zero: what
        all their inputs have in common, as after a rectifier, does not drown what tells one input from another, which is what
        batch normalisation does in a trained network."""
        if value is None:
            scale = scale if scale is not None else 1 / math.sqrt(numpy.prod(shape[1:]) or 1)
            array = self.random.standard_normal(shape) * scale
            if balanced:
                array -= array.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        else:
            array = numpy.full(shape, value)
        return self.constant(array.astype(numpy.float16))

    def constant(self, array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.asarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def save(self, path: Path, inputs, output: str, output_shape):
        """Ends the graph with `output` under the name OUTPUT; `inputs` are name, type and shape without the batch."""
        self.nodes.append(helper.make_node("Identity", [output], ["OUTPUT"], name="last"))
        graph = helper.make_graph(
            self.nodes, path.parent.parent.name,
            [helper.make_tensor_value_info(name, kind, ["batch", *shape]) for name, kind, shape in inputs],
            [helper.make_tensor_value_info("OUTPUT", HALF, ["batch", *output_shape])],
            initializer=self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)


def resnet50(path: Path):
    """He and others 2015, table 1, 50 layers; batch normalisation folded into the convolutions, as an exporter does."""
    graph = Graph(50)

    def convolution(value, channels, filters, size, stride=1, relu=True):
        # As large that values keep their size through balanced filters and rectifiers.
        weight = graph.weight((filters, channels, size, size), math.sqrt(3 / (channels * size * size)), balanced=channels > 3)
        value = graph.node("Conv", value, weight, graph.weight((filters,), 0.001), strides=[stride] * 2, pads=[size // 2] * 4)
        return graph.node("Relu", value) if relu else value

    value = convolution("INPUT", 3, 64, 7, 2)
    value = graph.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            inner = convolution(value, channels, width, 1)
            inner = convolution(inner, width, width, 3, stride)
            inner = convolution(inner, width, 4 * width, 1, relu=False)
            if block == 0:
                value = convolution(value, channels, 4 * width, 1, stride, relu=False)
            # Halved, so that sixteen sums of random branches stay in range.
            value = graph.node("Relu", graph.node("Mul", graph.node("Add", value, inner), graph.constant(numpy.float16(0.7))))
            channels = 4 * width
    value = graph.node("Flatten", graph.node("GlobalAveragePool", value), axis=1)
    value = graph.node("Gemm", value, graph.weight((1000, 2048), balanced=True), graph.weight((1000,), value=0), transB=1)
    graph.save(path, [("INPUT", HALF, [3, 224, 224])], value, [1000])


def bert_base(path: Path, layers=12, width=768, heads=12, vocabulary=30522, length=128):
    """Devlin and others 2018: the encoder with pooled output, sequences of 128 tokens without padding."""
    graph = Graph(12)
    flat = graph.constant(numpy.array([0, -1, heads, width // heads], numpy.int64))
    joined = graph.constant(numpy.array([0, -1, width], numpy.int64))
    scale = graph.constant(numpy.float16(1 / math.sqrt(width // heads)))
    half, one, root = (graph.constant(numpy.float16(number)) for number in (0.5, 1, math.sqrt(0.5)))

    def dense(value, rows, columns):
        return graph.node("Add", graph.node("MatMul", value, graph.weight((rows, columns), 0.02)), graph.weight((columns,), value=0))

    def normalised(value):
        return graph.node("LayerNormalization", value, graph.weight((width,), value=1), graph.weight((width,), value=0), epsilon=1e-5)

    def split(value, turned):
        return graph.node("Transpose", graph.node("Reshape", value, flat), perm=turned)

    words = graph.node("Gather", graph.weight((vocabulary, width), 0.02), "INPUT")
    value = normalised(graph.node("Add", words, graph.weight((length, width), 0.02)))
    for _ in range(layers):
        query = split(dense(value, width, width), [0, 2, 1, 3])
        key = split(dense(value, width, width), [0, 2, 3, 1])
        values = split(dense(value, width, width), [0, 2, 1, 3])
        scores = graph.node("Softmax", graph.node("Mul", graph.node("MatMul", query, key), scale), axis=-1)
        seen = graph.node("Transpose", graph.node("MatMul", scores, values), perm=[0, 2, 1, 3])
        value = normalised(graph.node("Add", value, dense(graph.node("Reshape", seen, joined), width, width)))
        inner = dense(value, width, 4 * width)
        gate = graph.node("Add", graph.node("Erf", graph.node("Mul", inner, root)), one)
        inner = graph.node("Mul", graph.node("Mul", inner, half), gate)
        value = normalised(graph.node("Add", value, dense(inner, 4 * width, width)))
    first = graph.node("Gather", value, graph.constant(numpy.int64(0)), axis=1)
    graph.save(path, [("INPUT", TensorProto.INT64, [length])], graph.node("Tanh", dense(first, width, width)), [width])


def perceptron(path: Path, widths=(256, 256, 256, 16)):
    """A network so small that only what surrounds it costs time."""
    graph, value, before = Graph(3), "INPUT", 64
    for width in widths:
        value = graph.node("Relu", graph.node("Gemm", value, graph.weight((before, width)), graph.weight((width,), value=0)))
        before = width
    graph.save(path, [("INPUT", HALF, [64])], value, [widths[-1]])


NETWORKS = {"resnet50": (resnet50, 64), "bert_base": (bert_base, 32), "perceptron": (perceptron, 64)}


def rows(name: str, batch: int, random):
    """An input of `batch` rows that differ as a whole, and its data type: averaged over, mere noise is always the same."""
    if name == "bert_base":
        return random.integers(0, 30522, (batch, 128)), "INT64"
    shape = (batch, 3, 224, 224) if name == "resnet50" else (batch, 64)
    of_each = shape[:2] + (1,) * (len(shape) - 2)
    noise, gain, level = random.standard_normal(shape), random.uniform(0.2, 2, of_each), random.standard_normal(of_each)
    return (noise * gain + level).astype(numpy.float16), "FP16"


MADE: dict[str, Path] = {}


def graphs(largest: int) -> str:
    """CUDA graphs in steps of an eighth: with powers of two alone a batch of half of `largest` and one row costs as much as a full
    one, so that at four fifths of the full load batches stay there and every request waits for a whole one."""
    sizes = sorted({1, 2, 4} | set(range(largest // 8, largest + 1, largest // 8)))
    return "optimization { cuda { graphs: true " + " ".join(f"graph_spec {{ batch_size: {size} }}" for size in sizes) + " } }"


def write(folder: Path, kind: str, suffix: str = "", with_graphs: bool = False, names=NETWORKS):
    """Writes a repository of the networks, each as NAMEsuffix with instances of `kind`. Each network is made once in a process:
    its further files are links to the first, so all of them lie on one disk."""
    for name in names:
        build, largest = NETWORKS[name]
        model = folder / (name + suffix)
        file = model / "1/model.onnx"
        if name not in MADE:
            build(file)
            MADE[name] = file
        elif not file.exists():
            file.parent.mkdir(parents=True)
            os.link(MADE[name], file)
        (model / "config.pbtxt").write_text(
            f'backend: "onnxruntime"\nmax_batch_size: {largest}\ndynamic_batching {{ }}\n'
            f"instance_group [ {{ count: 1 kind: {kind} }} ]\n"
            + (graphs(largest) if with_graphs else "")
        )


if __name__ == "__main__":
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(NETWORKS):
        sys.exit(__doc__)
    write(Path(sys.argv[1]), "KIND_CPU", names=sys.argv[2:] or NETWORKS)
