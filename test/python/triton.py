"""Calls a model over gRPC as tritonclient does (raw bytes), and by its stub with typed contents."""
import json
import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

address, model, key = sys.argv[1:4]
rows = np.array(json.load(sys.stdin), dtype=np.float32)
headers = {"authorization": f"Bearer {key}"}
client = triton.InferenceServerClient(url=address)


def tensor(data):
    given = triton.InferInput("input", list(data.shape), "FP32")
    given.set_data_from_numpy(data)
    return [given]


def refusal(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    except InferenceServerException as error:
        return error.status().removeprefix("StatusCode.")
    return "nothing"


answer = client.infer(model, tensor(rows), headers=headers, request_id="seven")
raw = answer.get_response()

stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address))
metadata = [("authorization", headers["authorization"])]
request = service_pb2.ModelInferRequest(model_name=model, model_version="1")
given = request.inputs.add(name="input", datatype="FP32", shape=rows.shape)
given.contents.fp32_contents.extend(rows.ravel().tolist())
typed, call = stub.ModelInfer.with_call(request, metadata=metadata)

print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "server": client.get_server_metadata().name,
            "modelReady": client.is_model_ready(model, headers=headers),
            "metadata": client.get_model_metadata(model, headers=headers, as_json=True),
            "raw": {
                "output": answer.as_numpy(raw.outputs[0].name).ravel().tolist(),
                "version": raw.model_version,
                "id": raw.id,
                "energyWh": raw.parameters["commonwatt_energy_wh"].double_param,
                "requestId": raw.parameters["commonwatt_request_id"].string_param,
            },
            "typed": {
                "output": list(typed.outputs[0].contents.fp32_contents),
                "asContents": len(typed.raw_output_contents) == 0,
                "energyWh": typed.parameters["commonwatt_energy_wh"].double_param,
            },
            "header": dict(call.initial_metadata())["x-commonwatt-energy-wh"],
            "refused": {
                "noKey": refusal(lambda: client.infer(model, tensor(rows))),
                "stranger": refusal(lambda: client.infer("acme/nothing", tensor(rows), headers=headers)),
                "wrongWidth": refusal(lambda: client.infer(model, tensor(rows[:, :99].copy()), headers=headers)),
                "noVersion": refusal(lambda: client.infer(model, tensor(rows), model_version="99", headers=headers)),
            },
        }
    )
)
