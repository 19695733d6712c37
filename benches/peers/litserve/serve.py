"""LitServe with its batching (at most 64 rows, 1 ms), one worker process; v2 messages through its own hooks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import litserve
import numpy as np
from onnx_model import OnnxModel, arguments, folders


class V2Api(litserve.LitAPI):
    def __init__(self, folder: Path):
        super().__init__(max_batch_size=64, batch_timeout=0.001, api_path=f"/v2/models/{folder.name}/infer")
        self.folder = folder

    def setup(self, device: str) -> None:
        self.model = OnnxModel(self.folder)

    def decode_request(self, request: dict) -> np.ndarray:
        return np.asarray(request["inputs"][0]["data"], dtype=np.float32)

    def batch(self, inputs: list) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, rows: np.ndarray) -> list:
        return self.model.run(rows)

    def unbatch(self, answers: list) -> list:
        return [[answer[row : row + 1] for answer in answers] for row in range(len(answers[0]))]

    def encode_response(self, answers: list) -> dict:
        outputs = [
            {"name": output["name"], "shape": list(answer.shape), "datatype": output["datatype"], "data": answer.ravel().tolist()}
            for output, answer in zip(self.model.outputs, answers)
        ]
        return {"model_name": self.model.name, "model_version": "1", "outputs": outputs}


if __name__ == "__main__":
    options = arguments()
    described = {folder.name: OnnxModel(folder).metadata() for folder in folders(options.models)}
    server = litserve.LitServer(
        [V2Api(folder) for folder in folders(options.models)], accelerator="cpu", healthcheck_path="/v2/health/ready"
    )

    # Its health route is the one that waits for the workers.
    @server.app.get("/v2/models/{name}/ready")
    async def ready(name: str) -> dict:
        return {"name": described[name]["name"], "ready": True}

    @server.app.get("/v2/models/{name}")
    async def metadata(name: str) -> dict:
        return described[name]

    server.run(host="127.0.0.1", port=options.http_port, generate_client_file=False, log_level="error")
