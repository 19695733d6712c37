"""SqueezeNet and ResNet-50 with seeded random weights and a free batch dimension, for speed and agreement tests.

The `onnx` wheel brings both graphs without weights: each is a `ConstantOfShape`, so that all answers are 1/1000. Here
convolutions and dense layers get He-normal weights and normalisation layers the identity. The last layer is scaled
until logits spread by about 1, so that the softmax neither saturates nor hides a mistake. They know no pictures.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from collected import Missing, Place, onnx_file

CLOSE = {"absolute": 1e-5, "relative": 1e-3}
CONFIG = "max_batch_size: 8\ndynamic_batching { }\n"


def light_graph(name: str) -> onnx.ModelProto:
    path = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
    if not path.exists():
        raise Missing(f"this version of `onnx` has no light_{name}.onnx")
    return onnx.load(path)


def with_weights(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same graph with every generated constant drawn and every batch dimension called N."""
    rng = np.random.default_rng(seed)
    graph = model.graph
    stored = {one.name: one for one in graph.initializer}
    readers = {name: (node, place) for node in graph.node for place, name in enumerate(node.input)}
    nodes, drawn = [], []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = [int(one) for one in numpy_helper.to_array(stored[node.input[0]])]
        drawn.append(numpy_helper.from_array(weights(shape, *readers[node.output[0]], rng), node.output[0]))
    for node in nodes:
        if node.op_type == "Reshape":  # to [1, features]: keep the batch instead
            shape = numpy_helper.to_array(stored[node.input[1]]).copy()
            shape[0] = 0
            stored[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    used = {name for node in nodes for name in node.input}
    made = helper.make_model(
        helper.make_graph(
            nodes,
            graph.name,
            [free_batch(one) for one in graph.input if one.name not in stored],
            [free_batch(one) for one in graph.output],
            [one for one in graph.initializer if one.name in used] + drawn,
        ),
        opset_imports=model.opset_import,
        ir_version=onnx_file.IR_VERSION,
    )
    onnx.checker.check_model(made)
    return made


def weights(shape: list[int], reader: onnx.NodeProto, place: int, rng: np.random.Generator) -> np.ndarray:
    """What input `place` of `reader` should hold."""
    if reader.op_type == "BatchNormalization":  # scale, bias, mean, variance
        return np.full(shape, 1.0 if place in (1, 4) else 0.0, np.float32)
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def free_batch(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    dims = [one.dim_value for one in value.type.tensor_type.shape.dim]
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, ["N", *dims[1:]])


def spread_logits(model: onnx.ModelProto, image: np.ndarray) -> None:
    """Scales the last layer with weights until the softmax's input has standard deviation 1 for `image`."""
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    last = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")][-1]
    looked_at = onnx.ModelProto()
    looked_at.CopyFrom(model)
    del looked_at.graph.output[:]
    looked_at.graph.output.append(onnx.ValueInfoProto(name=softmax.input[0]))
    logits = onnx_file.session(looked_at).run(None, {model.graph.input[0].name: image})[0]
    held = next(one for one in model.graph.initializer if one.name == last.input[1])
    scaled = numpy_helper.to_array(held) / logits.std()
    held.CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), held.name))


def collect(place: Place, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = (rng.integers(0, 65, (2, 3, 224, 224)) / 16 - 2).astype(np.float32)  # sixteenths: short in JSON, exact
    model = with_weights(light_graph(name), seed)
    spread_logits(model, images[:1])
    onnx_file.save(model, place.fresh())
    read = model.graph.input[0].name
    place.finish(CONFIG, [{read: images[:1]}, {read: images}], CLOSE)


MODELS = {
    "squeezenet": lambda place: collect(place, "squeezenet", 11),
    "resnet50": lambda place: collect(place, "resnet50", 12),
}
