"""MLServer with the models in the server's own process: no worker pool, no adaptive batching."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mlserver import MLModel, MLServer, ModelSettings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters, Settings
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor
from onnx_model import OnnxModel, arguments, folders


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        self.model = OnnxModel(Path(self.settings.parameters.uri))
        self.inputs = [MetadataTensor(**tensor) for tensor in self.model.inputs]
        self.outputs = [MetadataTensor(**tensor) for tensor in self.model.outputs]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answers = self.model.run(NumpyCodec.decode_input(payload.inputs[0]))
        outputs = [NumpyCodec.encode_output(name, answer) for name, answer in zip(self.model.output_names, answers)]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)


async def serve() -> None:
    options = arguments()
    settings = Settings(
        host="127.0.0.1",
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
    )
    models = [
        ModelSettings(
            name=folder.name, implementation=OnnxRuntime, parameters=ModelParameters(uri=str(folder), version="1")
        )
        for folder in folders(options.models)
    ]
    await MLServer(settings).start(models)


if __name__ == "__main__":
    asyncio.run(serve())
