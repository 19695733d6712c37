"""Makes the tree-ensemble cases of this folder: small ONNX files, and what ONNX Runtime answers for them.

    python -m venv venv && venv/bin/pip install numpy onnx onnxruntime
    venv/bin/python make_tree_goldens.py

Forests are random, with fixed seeds: every comparison, missing values on both sides, one and several targets, two
classes with weights for one or for both, every aggregate function and post-transform, single and double precision,
integer features, and both forms of the operator (`ai.onnx.ml` 3 and 5). `trees.json` lists the cases; in it `null`
stands for NaN. ONNX Runtime runs on one thread, so that it adds trees in their order.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent / "trees"
ROWS, COLUMNS = 19, 6
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
INPUT_TYPES = {"float": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "int64": TensorProto.INT64, "int32": TensorProto.INT32}


def forest(rng, trees, depth, targets, modes, missing=False, ids=None, positive=False, every_target=False):
    """Attributes of a random forest; thresholds are whole numbers and halves, so that equality happens."""
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    tracks, leaves = [], {key: [] for key in ("treeids", "nodeids", "ids", "weights")}

    def weight():
        value = rng.normal()
        return float(np.float32(abs(value) / trees if positive else value))

    def add(tree, counter, level):
        node = counter[0]
        counter[0] += 1
        leaf = level == depth or (level > 0 and rng.random() < 0.25)
        position = len(nodes["nodeids"])
        for key, value in zip(nodes, (tree, node, 0, 0.0, "LEAF", 0, 0)):
            nodes[key].append(value)
        tracks.append(0)
        if leaf:
            chosen = range(targets) if every_target else rng.choice(targets, rng.integers(1, targets + 1), replace=False)
            for target in ids or chosen:
                for key, value in zip(leaves, (tree, node, int(target), weight())):
                    leaves[key].append(value)
            return node
        nodes["featureids"][position] = int(rng.integers(COLUMNS))
        nodes["values"][position] = float(rng.integers(-4, 5)) / 2
        nodes["modes"][position] = str(rng.choice(modes))
        tracks[position] = int(missing and rng.random() < 0.5)
        nodes["truenodeids"][position] = add(tree, counter, level + 1)
        nodes["falsenodeids"][position] = add(tree, counter, level + 1)
        return node

    for tree in range(trees):
        add(tree, [0], 0)
    made = {f"nodes_{key}": value for key, value in nodes.items()}
    if missing:
        made["nodes_missing_value_tracks_true"] = tracks
    return made, leaves


def rows(rng, kind, missing):
    made = rng.integers(-6, 7, (ROWS, COLUMNS)) / (1 if kind.startswith("int") else 2)
    if missing:
        made[rng.random(made.shape) < 0.25] = np.nan
    return made.astype({"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32}[kind])


def double_values(attributes, names):
    """The same attributes with numbers as double tensors, as `ai.onnx.ml` 3 wants them for double inputs."""
    for name in names:
        if name in attributes:
            values = np.array(attributes.pop(name), np.float64)
            tensor = numpy_helper.from_array(values, f"{name}_as_tensor")
            attributes[f"{name}_as_tensor"] = tensor


def regressor(seed, kind="float", modes=("BRANCH_LEQ",), missing=False, targets=1, trees=7, aggregate="SUM", post="NONE", base=None, every=False, positive=False):
    rng = np.random.default_rng(seed)
    attributes, leaves = forest(rng, trees, 4, targets, list(modes), missing, every_target=every, positive=positive)
    attributes |= {f"target_{key}": value for key, value in leaves.items()}
    if base is not None:
        attributes["base_values"] = list(base)
    if kind == "double":
        double_values(attributes, ["nodes_values", "target_weights", "base_values"])
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], name="trees", domain="ai.onnx.ml",
                            n_targets=targets, aggregate_function=aggregate, post_transform=post, **attributes)
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", targets])]
    return node, outputs, kind, rows(rng, kind, missing), 3


def classifier(seed, kind="float", modes=("BRANCH_LEQ",), missing=False, classes=3, trees=7, post="NONE", base=None, ids=None, strings=False, positive=False, every=False):
    rng = np.random.default_rng(seed)
    attributes, leaves = forest(rng, trees, 4, classes, list(modes), missing, ids, positive, every)
    attributes |= {f"class_{key}": value for key, value in leaves.items()}
    if base is not None:
        attributes["base_values"] = list(base)
    if kind == "double":
        double_values(attributes, ["nodes_values", "class_weights", "base_values"])
    labels = {"classlabels_strings": [f"kind {label}" for label in range(classes)]} if strings else {
        "classlabels_int64s": [10 + label for label in range(classes)]}
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "scores"], name="trees", domain="ai.onnx.ml",
                            post_transform=post, **labels, **attributes)
    outputs = [helper.make_tensor_value_info("label", TensorProto.STRING if strings else TensorProto.INT64, ["N"]),
               helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])]
    return node, outputs, kind, rows(rng, kind, missing), 3


def version_five(seed, kind="float", targets=2, trees=5, aggregate=1, post=0):
    """The operator `TreeEnsemble`: leaves in lists of their own, one weight each."""
    rng = np.random.default_rng(seed)
    numbers = np.float64 if kind == "double" else np.float32
    keys = ("featureids", "modes", "splits", "truenodeids", "trueleafs", "falsenodeids", "falseleafs", "missing")
    lists, leaf_targets, leaf_weights, roots = {key: [] for key in keys}, [], [], []

    def leaf():
        leaf_targets.append(int(rng.integers(targets)))
        leaf_weights.append(rng.normal())
        return len(leaf_targets) - 1, 1

    def add(level):
        position = len(lists["modes"])
        values = (int(rng.integers(COLUMNS)), int(rng.integers(6)), rng.integers(-4, 5) / 2, 0, 0, 0, 0, int(rng.random() < 0.5))
        for key, value in zip(keys, values):
            lists[key].append(value)
        for side in ("true", "false"):
            ends = level == 4 or rng.random() < 0.2
            child, is_leaf = leaf() if ends else (add(level + 1), 0)
            lists[f"{side}nodeids"][position], lists[f"{side}leafs"][position] = child, is_leaf
        return position

    for _ in range(trees):
        roots.append(add(1))
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], name="trees", domain="ai.onnx.ml", n_targets=targets, aggregate_function=aggregate,
        post_transform=post, tree_roots=roots, nodes_featureids=lists["featureids"],
        nodes_modes=numpy_helper.from_array(np.array(lists["modes"], np.uint8)),
        nodes_splits=numpy_helper.from_array(np.array(lists["splits"], numbers)),
        nodes_truenodeids=lists["truenodeids"], nodes_trueleafs=lists["trueleafs"],
        nodes_falsenodeids=lists["falsenodeids"], nodes_falseleafs=lists["falseleafs"],
        nodes_missing_value_tracks_true=lists["missing"],
        leaf_targetids=leaf_targets, leaf_weights=numpy_helper.from_array(np.array(leaf_weights, numbers)))
    outputs = [helper.make_tensor_value_info("y", INPUT_TYPES[kind], ["N", targets])]
    return node, outputs, kind, rows(rng, kind, True), 5


CASES = {
    **{f"regressor_{mode[7:].lower()}": regressor(n, modes=[mode], missing=n % 2 == 0) for n, mode in enumerate(MODES)},
    **{f"regressor_{mode[7:].lower()}_nan": regressor(10 + n, modes=[mode], missing=True) for n, mode in enumerate(MODES)},
    "regressor_mixed_modes": regressor(20, modes=MODES, missing=True, trees=20),
    "regressor_double": regressor(23, kind="double", modes=MODES, missing=True, base=[0.25]),
    "regressor_average": regressor(24, aggregate="AVERAGE", base=[0.5]),
    "regressor_min": regressor(25, aggregate="MIN", base=[0.5]),
    "regressor_max": regressor(26, aggregate="MAX", missing=True),
    "regressor_probit": regressor(27, aggregate="AVERAGE", post="PROBIT", positive=True, trees=2),
    "regressor_targets": regressor(28, targets=3, missing=True, base=[0.5, -1.0, 2.0]),
    "regressor_targets_every": regressor(29, targets=3, every=True),
    "regressor_targets_average": regressor(30, targets=3, aggregate="AVERAGE"),
    "regressor_targets_min": regressor(31, targets=3, aggregate="MIN", base=[0.5, -1.0, 2.0]),
    "regressor_targets_max": regressor(32, targets=3, aggregate="MAX", every=True),
    "regressor_targets_softmax": regressor(33, targets=3, post="SOFTMAX", every=True),
    "regressor_targets_softmax_zero": regressor(34, targets=3, post="SOFTMAX_ZERO", trees=2),
    "regressor_targets_logistic": regressor(35, targets=3, post="LOGISTIC"),
    "classifier_three": classifier(40, missing=True),
    "classifier_three_every": classifier(41, every=True, modes=MODES, missing=True, trees=20),
    "classifier_three_base": classifier(42, base=[0.5, -0.5, 0.25], post="SOFTMAX"),
    "classifier_three_double": classifier(43, kind="double", every=True, missing=True),
    "classifier_three_strings": classifier(44, strings=True, positive=True, post="SOFTMAX_ZERO"),
    "classifier_three_int64": classifier(45, kind="int64", modes=MODES),
    "classifier_three_int32": classifier(22, kind="int32", modes=MODES),
    "classifier_two": classifier(46, classes=2, every=True),
    "classifier_two_positive": classifier(47, classes=2, every=True, positive=True, strings=True),
    "classifier_two_logistic": classifier(48, classes=2, every=True, post="LOGISTIC"),
    "classifier_two_softmax": classifier(49, classes=2, every=True, post="SOFTMAX"),
    "classifier_two_base": classifier(50, classes=2, every=True, base=[0.5, -0.25]),
    "classifier_two_sparse": classifier(51, classes=2, trees=2),
    **{f"classifier_single{first}{'_positive' if positive else ''}_{post.lower()}":
       classifier(60 + n, classes=2, ids=[first], positive=positive, post=post, trees=3, missing=True)
       for n, (first, positive, post) in enumerate((first, positive, post) for first in (0, 1) for positive in (False, True)
                                                   for post in ("NONE", "LOGISTIC", "SOFTMAX"))},
    "classifier_single0_base": classifier(80, classes=2, ids=[0], base=[0.25], post="LOGISTIC"),
    "classifier_single0_two_bases": classifier(81, classes=2, ids=[0], base=[0.25, 0.25], post="LOGISTIC"),
    "classifier_single1_two_bases": classifier(82, classes=2, ids=[1], base=[0.25, 0.25]),
    "classifier_single0_strings": classifier(83, classes=2, ids=[0], strings=True, post="LOGISTIC"),
    "classifier_single0_double": classifier(84, classes=2, ids=[0], kind="double", post="LOGISTIC", missing=True),
    "classifier_one_class": classifier(85, classes=1, ids=[0]),
    "version_five": version_five(90),
    "version_five_one": version_five(91, targets=1, trees=9),
    "version_five_double": version_five(92, kind="double"),
    "version_five_average": version_five(93, aggregate=0),
    "version_five_logistic": version_five(94, targets=3, post=1),  # 1 is softmax in ONNX, logistic in ONNX Runtime
    "version_five_softmax": version_five(95, targets=3, post=2),
}


def plain(array):
    flat = array.ravel().tolist()
    if array.dtype == np.float32:
        flat = [float(str(np.float32(value))) for value in flat]
    return [None if isinstance(value, float) and np.isnan(value) else value for value in flat]


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.onnx"):
        old.unlink()
    cases = []
    for name, (node, outputs, kind, values, version) in CASES.items():
        inputs = [helper.make_tensor_value_info("x", INPUT_TYPES[kind], ["N", COLUMNS])]
        graph = helper.make_graph([node], name, inputs, outputs)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", version)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        answers = session.run(None, {"x": values})
        cases.append({
            "name": name, "type": kind, "shape": list(values.shape), "x": plain(values),
            "outputs": [{"shape": list(answer.shape), "data": plain(answer)} for answer in answers],
        })
    lines = ",\n".join(json.dumps(case, allow_nan=False) for case in cases)
    (FOLDER / "trees.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
