"""Makes the golden files of this folder from independent tools.

Needs `pip install tritonclient[grpc] onnx`. The protocol's descriptors come from tritonclient, the readings of
configuration texts from google.protobuf's text_format, the ONNX files and what they hold from the onnx package.
"""

import json
import pathlib

import onnx
from google.protobuf import descriptor_pb2, text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

HERE = pathlib.Path(__file__).parent
SCALARS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes", 13: "uint32"}


def wire_fields():
    """One line for each field and enum value of the protocol."""
    file = descriptor_pb2.FileDescriptorProto()
    model_config_pb2.DESCRIPTOR.CopyToProto(file)
    lines = []

    def enumeration(enum, prefix):
        for value in enum.value:
            lines.append(f"{prefix}{enum.name}.{value.name} = {value.number} enum")

    def message(descriptor, prefix):
        name = prefix + descriptor.name
        for field in descriptor.field:
            kind = SCALARS.get(field.type) or field.type_name.lstrip(".")
            oneof = f" oneof {descriptor.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else ""
            label = "repeated" if field.label == 3 else "single"
            lines.append(f"{name}.{field.name} = {field.number} {label} {kind}{oneof}")
        for nested in descriptor.nested_type:
            message(nested, name + ".")
        for enum in descriptor.enum_type:
            enumeration(enum, name + ".")

    for enum in file.enum_type:
        enumeration(enum, "inference.")
    for descriptor in file.message_type:
        message(descriptor, "inference.")
    (HERE / "wire_fields.txt").write_text("\n".join(sorted(lines)) + "\n")


def to_json(message):
    """Protobuf's JSON mapping with 64-bit integers as numbers and every field without presence."""

    def value(field, item):
        if field.message_type:
            return to_json(item)
        if field.enum_type:
            return field.enum_type.values_by_number[item].name
        if field.type == field.TYPE_FLOAT:
            special = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
            return special.get(str(item)) or float(f"{item:.8g}")
        return item

    result = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        item = getattr(message, field.name)
        entry = field.message_type
        if entry and entry.GetOptions().map_entry:
            inner = entry.fields_by_name["value"]
            result[field.name] = {str(key): value(inner, item[key]) for key in sorted(item)}
        elif field.is_repeated:
            result[field.name] = [value(field, element) for element in item]
        else:
            result[field.name] = value(field, item)
    return result


TEXTS = [
    "",
    "# only a comment",
    'name: "a"',
    "name: 'a' ' b' \"c\"",
    'name: "a"\nname: "b"',
    'name:"a";platform:"b",max_batch_size:8',
    "name: a",
    "name 'a'",
    "max_batch_size: 0x10",
    "max_batch_size: 010",
    "max_batch_size: 2147483647",
    "max_batch_size: 2147483648",
    "max_batch_size: -2147483648",
    "max_batch_size: - 5",
    "max_batch_size: -2147483649",
    "max_batch_size: 1.0",
    "max_batch_size: '8'",
    "max_batch_size: 8abc",
    "max_batch_size = 8",
    "dynamic_batching { }",
    "dynamic_batching: { }",
    "dynamic_batching < >",
    "dynamic_batching < }",
    "dynamic_batching { ",
    "dynamic_batching }",
    "dynamic_batching: { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }",
    "dynamic_batching { preferred_batch_size: 4 preferred_batch_size: 8 }",
    "dynamic_batching { preferred_batch_size: [ 4, 8, ] }",
    "dynamic_batching { preferred_batch_size: [ ] }",
    "dynamic_batching { preferred_batch_size [ 4 ] }",
    "dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }",
    "dynamic_batching { max_queue_delay_microseconds: 18446744073709551616 }",
    "dynamic_batching { max_queue_delay_microseconds: -1 }",
    "dynamic_batching { preserve_ordering: true }",
    "dynamic_batching { preserve_ordering: True }",
    "dynamic_batching { preserve_ordering: t }",
    "dynamic_batching { preserve_ordering: 1 }",
    "dynamic_batching { preserve_ordering: 2 }",
    "dynamic_batching { preserve_ordering: yes }",
    "dynamic_batching { priority_levels: 2 priority_queue_policy { key: 1 value { timeout_action: DELAY } } }",
    "dynamic_batching { priority_queue_policy { key: 1 } priority_queue_policy { key: 2 value: { max_queue_size: 3 } } }",
    "dynamic_batching { priority_queue_policy: [ { key: 1 }, { key: 2, value < max_queue_size: 3 > } ] }",
    "dynamic_batching { } sequence_batching { }",
    "dynamic_batching { } dynamic_batching { }",
    "sequence_batching { direct { minimum_slot_utilization: 0.5 } }",
    "sequence_batching { direct { minimum_slot_utilization: 1 } }",
    "sequence_batching { direct { minimum_slot_utilization: .25f } }",
    "sequence_batching { direct { minimum_slot_utilization: -1.5e-3 } }",
    "sequence_batching { direct { minimum_slot_utilization: inf } }",
    "sequence_batching { direct { minimum_slot_utilization: 0.1 } }",
    "sequence_batching { control_input [ { name: 'S' control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] } ] }",
    "sequence_batching { control_input { name: 'S' control { bool_false_true: [ false, true ] } } }",
    "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3 ] }",
    "input [ { name: 'x' data_type: TYPE_FP32 dims: -1 dims: 3 } { name: 'y' } ]",
    "input [ { name: 'x' }, { name: 'y' } ] input { name: 'z' }",
    "input: [ { name: 'x' }, ]",
    "input [ ]",
    "input { data_type: 11 }",
    "input { data_type: TYPE_FLOAT }",
    "input { data_type: 'TYPE_FP32' }",
    "input { data_type: type_fp32 }",
    "input { reshape: { shape: [ ] } }",
    "input { dimz: 1 }",
    "input { name: 'x' } }",
    "inputs { }",
    "[ext.field]: 1",
    "parameters { key: 'a' value { string_value: 'b' } }",
    "parameters: { key: 'a', value: { string_value: 'b' }, }",
    "parameters [ { key: 'a' value { string_value: 'b' } }, { key: 'c' value { string_value: \"d\" 'e' } } ]",
    "parameters { value { string_value: 'b' } }",
    "metric_tags { key: 'a' value: 'b' }",
    "cc_model_filenames [ { key: '7.5' value: 'model.plan' } ]",
    "model_warmup { name: 'w' inputs { key: 'x' value: { data_type: TYPE_INT8 dims: 4 zero_data: true } } }",
    "model_warmup { inputs { key: 'x' value: { zero_data: true random_data: true } } }",
    "version_policy: { all { }}",
    "version_policy: { specific: { versions: [ 1, 3 ] } }",
    "version_policy: { latest { num_versions: 2 } all { } }",
    "instance_group [ { count: 2 kind: KIND_GPU gpus: [ 0, 1 ] }, { kind: KIND_CPU } ]",
    "optimization { graph { level: 1 } cuda { graph_spec { batch_size: 1 input { key: 'x' value { dim: [ 1, 2 ] } } } } }",
    "optimization { execution_accelerators { cpu_execution_accelerator : [ { name : \"openvino\" } ] } }",
    "model_transaction_policy { decoupled: True }",
    "response_cache { enable: true }",
    "model_metrics { metric_control: [ { metric_identifier: { family: 'f' } histogram_options: { buckets: [ 1, 2.5, 1e3 ] } } ] }",
    "ensemble_scheduling { step [ { model_name: 'a' model_version: -1 input_map { key: 'x' value: 'y' } } ] }",
    r"name: 'a\n\t\\\'\x41\101é\u00e9'",
    r"name: '\q'",
    r"name: '\xff'",
    'name: "unclosed',
    'name: "line\nbreak"',
    "name: 'nul\\000byte'",
    "# c1\nname: 'a' # c2\n# c3\nmax_batch_size: 1 # c4",
    "name: 'a'\r\nmax_batch_size: 1\r\n",
    "name : 'a' , max_batch_size : 1 ;",
    "name: 'a' ,, max_batch_size: 1",
    "name: 'a' ; , max_batch_size: 1",
    ", name: 'a'",
    "name:: 'a'",
    "{ name: 'a' }",
    "max_batch_size: [ 1 ]",
    "dynamic_batching [ { } ]",
    "input { dims: [ [ 1 ] ] }",
    "input { dims: [ 1 2 ] }",
    "input { dims: 9223372036854775807 dims: -9223372036854775808 }",
    "input { dims: 9223372036854775808 }",
    "name: 'ä'",
    "ä: 1",
    "name: 'a' $",
    "name: ",
    "name",
    "input { optional: true allow_ragged_batch: false format: FORMAT_NCHW }",
]


def texts():
    """How google.protobuf reads each text."""
    cases = []
    for text in TEXTS:
        try:
            message = text_format.Parse(text, model_config_pb2.ModelConfig())
            cases.append({"text": text, "json": to_json(message)})
        except (text_format.ParseError, UnicodeDecodeError):
            cases.append({"text": text, "json": None})
    (HERE / "texts.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def external(name, location):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    return tensor


def onnx_files():
    """A small graph for each thing that a reader must know about."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0])
    branch = helper.make_graph(
        [helper.make_node("Celu", ["x"], ["inner"])], "branch", [], [value("inner", TensorProto.FLOAT, None)],
        [external("nested_weight", "nested.bin")],
    )
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    sequence = helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None)
    graphs = {
        "batching": (
            [helper.make_node("Add", ["x", "weight"], ["y"])],
            [value("x", TensorProto.FLOAT, ["N", 2]), value("weight", TensorProto.FLOAT, [2])],
            [value("y", TensorProto.FLOAT, ["N", 2])], [weight], [],
        ),
        "scalar": (
            [helper.make_node("Identity", ["x"], ["y"])],
            [value("x", TensorProto.INT64, [])], [value("y", TensorProto.INT64, [])], [], [],
        ),
        "unusual": (
            [
                helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch),
                helper.make_node("Twice", ["x"], ["z"], domain="local"),
                helper.make_node("SequenceConstruct", ["x"], ["list"], domain="ai.onnx"),
                helper.make_node("Constant", [], ["c"], value=external("constant", "../constant.bin")),
            ],
            [value("condition", TensorProto.BOOL, []), value("x", TensorProto.BFLOAT16, [None, "a", 3]), value("s", TensorProto.STRING, ["N"])],
            [value("y", TensorProto.FLOAT, None), value("z", TensorProto.FLOAT16, [1]), sequence],
            [external("big", "weights/big.bin")], [function],
        ),
    }
    facts = {}
    for name, (nodes, inputs, outputs, initializers, functions) in graphs.items():
        graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid("local", 1)] if functions else [])
        model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
        path = HERE / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        facts[f"tests/golden/{name}.onnx"] = read(path)
    for path in sorted((HERE.parents[3] / "models").glob("*/1/model.onnx")):
        facts[f"../../models/{path.parts[-3]}/1/model.onnx"] = read(path)
    (HERE / "onnx_facts.json").write_text(json.dumps(facts, indent=1) + "\n")


def read(path):
    """What the onnx package finds in a file."""
    model = onnx.load(path, load_external_data=False)
    stored = {tensor.name for tensor in model.graph.initializer}
    operators, locations = set(), set()

    def tensor(item):
        locations.update(entry.value for entry in item.external_data if entry.key == "location")

    def nodes(items):
        for node in items:
            operators.add(("" if node.domain == "ai.onnx" else node.domain, node.op_type))
            for attribute in node.attribute:
                for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                    graph(inner)
                if attribute.HasField("t"):
                    tensor(attribute.t)

    def graph(item):
        nodes(item.node)
        for stored_tensor in item.initializer:
            tensor(stored_tensor)

    def info(item):
        kind = item.type.tensor_type
        dims = None
        if kind.HasField("shape"):
            dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        names = {"FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16", "STRING": "BYTES"}
        name = TensorProto.DataType.Name(kind.elem_type)
        return [item.name, None if name == "UNDEFINED" else names.get(name, name), dims]

    graph(model.graph)
    for function in model.functions:
        nodes(function.node)
    return {
        "inputs": [info(item) for item in model.graph.input if item.name not in stored],
        "overridable": [info(item) for item in model.graph.input if item.name in stored],
        "outputs": [info(item) for item in model.graph.output],
        "operators": sorted(operators),
        "opsets": sorted(("" if item.domain == "ai.onnx" else item.domain, item.version) for item in model.opset_import),
        "external_data": sorted(locations),
    }


if __name__ == "__main__":
    wire_fields()
    texts()
    onnx_files()
