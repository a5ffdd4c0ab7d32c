"""FastAPI and ONNX Runtime as most teams write it: MODEL=file uvicorn fastapi_server:app"""
import os

import numpy
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    id: str | None = None
    inputs: list[Tensor]


@app.get("/v2/health/ready")
async def ready():
    return {"ready": True}


@app.post("/v2/models/m/infer")
async def infer(request: Request):
    tensor = request.inputs[0]
    features = numpy.array(tensor.data, dtype=numpy.float32).reshape(tensor.shape)
    (probabilities,) = session.run(["probabilities"], {"features": features})
    output = {
        "name": "probabilities",
        "shape": list(probabilities.shape),
        "datatype": "FP32",
        "data": probabilities.ravel().tolist(),
    }
    return {"model_name": "m", "model_version": "1", "id": request.id, "outputs": [output]}
