"""Uses KServe's gRPC client, unmodified, as its users do: raw and typed contents, health, and its repository messages."""
import asyncio
import importlib.util
import json
import sys
import types

# As in kserve_rest.py: the client's modules without the package's model server.
spec = importlib.util.find_spec("kserve")
package = types.ModuleType("kserve")
package.__path__ = list(spec.submodule_search_locations)
sys.modules["kserve"] = package

import grpc
import numpy as np
from kserve.inference_client import InferenceGRPCClient
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import InferInput, InferRequest

address, model, key, owner_key = sys.argv[1:5]
rows = np.array(json.load(sys.stdin), dtype=np.float32)


def auth(of=key):
    return (("authorization", f"Bearer {of}"),)


def request(raw, name=model):
    given = InferInput("input", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=raw)
    return InferRequest(name, [given], request_id="seven")


async def refusal(call):
    try:
        await call
    except grpc.RpcError as error:
        return error.code().name
    return "nothing"


async def main():
    client = InferenceGRPCClient(address, retries=0)
    answers = {}
    for raw in (True, False):
        answer = await client.infer(request(raw), headers=auth())
        answers["raw" if raw else "typed"] = {
            "output": answer.outputs[0].as_numpy().ravel().tolist(),
            "id": answer.id,
            "version": answer.model_version,
        }
    heard = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "modelReady": await client.is_model_ready(model, headers=auth()),
        "answers": answers,
        "refused": {
            "noKey": await refusal(client.infer(request(True))),
            "noModel": await refusal(client.infer(request(True, "acme/nothing"), headers=auth())),
        },
    }
    await client.close()
    # The client has no call for these; its own stub does.
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        unload = messages.RepositoryModelUnloadRequest(model_name=model)
        heard["unloaded"] = stub.RepositoryModelUnload(unload, metadata=auth(owner_key)).isUnloaded
        load = messages.RepositoryModelLoadRequest(model_name=model)
        heard["loaded"] = stub.RepositoryModelLoad(load, metadata=auth(owner_key)).isLoaded
    print(json.dumps(heard))


asyncio.run(main())
