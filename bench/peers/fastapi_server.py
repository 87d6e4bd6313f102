"""What people write today: FastAPI and onnxruntime, one run a request, answering the Open Inference Protocol."""
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)
types = {"FP32": np.float32, "INT64": np.int64}
output = session.get_outputs()[0].name
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    inputs: list[Tensor]


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request):
    given = {t.name: np.asarray(t.data, dtype=types[t.datatype]).reshape(t.shape) for t in request.inputs}
    (answer,) = session.run(None, given)
    return {
        "model_name": model,
        "model_version": "1",
        "outputs": [
            {"name": output, "datatype": "FP32", "shape": list(answer.shape), "data": answer.ravel().tolist()}
        ],
    }
