"""The KServe Python SDK, one process: JSON, the binary tensor extension and gRPC."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from onnx_model import OnnxModel, arguments, folders

options = arguments()
# Its model server reads the command line itself when it is imported.
sys.argv = sys.argv[:1]

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class OnnxRuntime(Model):
    def __init__(self, folder: Path):
        super().__init__(folder.name)
        self.model = OnnxModel(folder)
        self.ready = True

    async def get_input_types(self) -> list[dict]:
        return self.model.inputs

    async def get_output_types(self) -> list[dict]:
        return self.model.outputs

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        answers = self.model.run(payload.inputs[0].as_numpy())
        binary = payload.from_grpc or bool(payload.use_binary_outputs)
        outputs = []
        for described, answer in zip(self.model.outputs, answers):
            output = InferOutput(name=described["name"], shape=list(answer.shape), datatype=described["datatype"])
            output.set_data_from_numpy(answer, binary_data=binary)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id or "",
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=bool(payload.use_binary_outputs),
        )


if __name__ == "__main__":
    server = ModelServer(
        http_port=options.http_port, grpc_port=options.grpc_port, workers=1, enable_latency_logging=False
    )
    server.start([OnnxRuntime(folder) for folder in folders(options.models)])
