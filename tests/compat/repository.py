"""The models of the compat suites: Triton's example models, and one identity model per data type."""

from harness import ModelRepository

DATA_TYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"]
LABELS = "zero\none\ntwo\nthree\n"
REPEAT_INPUTS = [("IN", "INT32", [-1]), ("DELAY", "UINT32", [-1]), ("WAIT", "UINT32", [1])]
REPEAT_OUTPUTS = [("OUT", "INT32", [1]), ("IDX", "UINT32", [1])]
DECOUPLED = "model_transaction_policy { decoupled: true }\n"


def fill(repository: ModelRepository) -> ModelRepository:
    repository.copy("simple", "simple_identity", "simple_int8", "simple_string")
    for kind in DATA_TYPES:
        repository.add(f"identity_{kind.lower()}", inputs=[("INPUT0", kind, [-1])])
    repository.add("identity_unbatched", inputs=[("INPUT0", "FP32", [-1, -1])], max_batch_size=0)
    repository.add("identity_text", inputs=[("INPUT0", "BYTES", [1])])
    repository.add("identity_two", inputs=[("INPUT0", "FP32", [-1]), ("INPUT1", "INT32", [-1])])
    repository.add("labelled", inputs=[("INPUT0", "FP32", [4])], output_extra={"OUTPUT0": 'label_filename: "labels.txt"'}, files={"labels.txt": LABELS})
    repository.add("unlabelled", inputs=[("INPUT0", "FP32", [4])], max_batch_size=0)
    repository.add("two_versions", versions=(1, 2), config="version_policy { all { } }\n")
    repository.add("slow", parameters={"execute_delay_ms": "300"})
    repository.add("sleepy", model="sleep", inputs=[("INPUT0", "INT32", [1])])
    repository.add("repeat_int32", model="repeat", inputs=REPEAT_INPUTS, outputs=REPEAT_OUTPUTS, max_batch_size=0, config=DECOUPLED)
    repository.add("square_int32", model="square", inputs=[("IN", "INT32", [1])], outputs=[("OUT", "INT32", [1])], max_batch_size=0, config=DECOUPLED)
    return repository
