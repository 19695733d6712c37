"""FastAPI on uvicorn (uvloop, httptools), one process: an async handler without pydantic models."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from onnx_model import OnnxModel, arguments, folders

options = arguments()
models = {folder.name: OnnxModel(folder) for folder in folders(options.models)}
app = FastAPI()


@app.get("/v2/health/ready")
async def ready() -> dict:
    return {}


@app.get("/v2/models/{name}/ready")
async def model_ready(name: str) -> dict:
    return {"name": models[name].name, "ready": True}


@app.get("/v2/models/{name}")
async def metadata(name: str) -> dict:
    return models[name].metadata()


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request) -> JSONResponse:
    model = models[name]
    given = (await request.json())["inputs"][0]
    answers = model.run(np.asarray(given["data"], dtype=np.float32).reshape(given["shape"]))
    outputs = [
        {"name": output["name"], "shape": list(answer.shape), "datatype": output["datatype"], "data": answer.ravel().tolist()}
        for output, answer in zip(model.outputs, answers)
    ]
    return JSONResponse({"model_name": name, "model_version": "1", "outputs": outputs})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=options.http_port, access_log=False, log_level="warning")
