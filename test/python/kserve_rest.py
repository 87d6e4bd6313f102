"""Uses KServe's REST client, unmodified, as its users do: JSON and binary, in and out."""
import asyncio
import importlib.util
import json
import sys
import types

# The package's own first import brings its model server and the Kubernetes client, 100 MB of packages that the client
# does not use; its modules are imported from beside it. Where all of it is installed, this changes nothing.
spec = importlib.util.find_spec("kserve")
package = types.ModuleType("kserve")
package.__path__ = list(spec.submodule_search_locations)
sys.modules["kserve"] = package

import httpx
import numpy as np
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput

base_url, model, output, key = sys.argv[1:5]
rows = np.array(json.load(sys.stdin), dtype=np.float32)


def auth():
    # Each call its own: the client writes into what it is given.
    return {"authorization": f"Bearer {key}"}


def request(binary_in, binary_out):
    given = InferInput("input", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=binary_in)
    return InferRequest(
        model,
        [given],
        request_id="seven",
        request_outputs=[RequestedOutput(output, parameters={"binary_data": binary_out})],
    )


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    predictions = {}
    for binary_in in (True, False):
        for binary_out in (True, False):
            seen = {}
            answer = await client.infer(
                base_url, request(binary_in, binary_out), model_name=model, headers=auth(), response_headers=seen
            )
            predictions[f"{binary_in} {binary_out}"] = {
                "output": answer.outputs[0].as_numpy().ravel().tolist(),
                "id": answer.id,
                "binary": "inference-header-content-length" in seen,
                "energyWh": float(seen["x-commonwatt-energy-wh"]),
            }
    plain = await client.infer(
        base_url,
        {"inputs": [{"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.tolist()}]},
        model_name=model,
        headers=auth(),
    )
    refused = {}
    for what, name, headers in [("noKey", model, {}), ("noModel", "acme/nothing", auth())]:
        try:
            await client.infer(base_url, request(True, True), model_name=name, headers=headers)
        except httpx.HTTPStatusError as error:
            refused[what] = error.response.status_code
    print(
        json.dumps(
            {
                "live": await client.is_server_live(base_url),
                "ready": await client.is_server_ready(base_url),
                "modelReady": await client.is_model_ready(base_url, model, headers=auth()),
                "predictions": predictions,
                "dict": plain.outputs[0].data,
                "refused": refused,
            }
        )
    )
    await client.close()


asyncio.run(main())
