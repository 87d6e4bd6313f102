"""Uses Triton's Python client over HTTP, unmodified, as its users do: synchronous, asynchronous and asyncio."""
import asyncio
import json
import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

address, example, organisation, key, stranger = sys.argv[1:6]
rows = np.array(json.load(sys.stdin), dtype=np.float32)
client = triton.InferenceServerClient(url=address, concurrency=4)


def auth(with_key=key):
    # Each call its own: the client writes into what it is given.
    return {"authorization": f"Bearer {with_key}"}


def tensor(name, data, binary=True, datatype=None):
    given = triton.InferInput(name, list(data.shape), datatype or np_to_triton_dtype(data.dtype))
    given.set_data_from_numpy(data, binary_data=binary)
    return given


def refusal(call):
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return ["200", "nothing"]


def predict(binary_in, binary_out, **options):
    answer = client.infer(
        example,
        [tensor("input", rows, binary_in)],
        outputs=[triton.InferRequestedOutput(output_name, binary_data=binary_out)],
        headers=auth(),
        **options,
    )
    return answer.as_numpy(output_name).ravel().tolist()


metadata = client.get_model_metadata(example, headers=auth())
output_name = metadata["outputs"][0]["name"]

# Every datatype, in the forms that it has: what comes back is what was sent, bit for bit.
values = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], dtype=np.uint8),
    "INT8": np.array([[-128, 127]], dtype=np.int8),
    "UINT16": np.array([[0, 65535]], dtype=np.uint16),
    "INT16": np.array([[-32768, 32767]], dtype=np.int16),
    "UINT32": np.array([[0, 2**32 - 1]], dtype=np.uint32),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "UINT64": np.array([[0, 2**64 - 1]], dtype=np.uint64),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype=np.int64),
    "FP16": np.array([[np.nan, 65504]], dtype=np.float16),
    "FP32": np.array([[-np.inf, 1e-45]], dtype=np.float32),
    "FP64": np.array([[np.nan, 1e-300]], dtype=np.float64),
    "BYTES": np.array([["", "zwölf"]], dtype=np.object_),
}
same = {}
for datatype, data in values.items():
    model = f"{organisation}/echo-{datatype.lower()}"
    client.load_model(model, headers=auth())
    for binary in (True, False):
        if not binary and datatype in ("FP16", "FP32", "FP64"):
            continue
        wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
        answer = client.infer(model, [tensor("x", data, binary)], outputs=wanted, headers=auth()).as_numpy("y")
        if datatype == "BYTES":
            equal = [item if isinstance(item, str) else item.decode() for item in answer.ravel()] == data.ravel().tolist()
        else:
            equal = answer.dtype == data.dtype and np.array_equal(answer, data, equal_nan=datatype.startswith("FP"))
        same[f"{datatype} {'binary' if binary else 'JSON'}"] = bool(equal)
in_shared_memory = triton.InferInput("input", list(rows.shape), "FP32")
in_shared_memory.set_shared_memory("region", rows.nbytes)
half = tensor("x", values["FP16"])
no_json = [triton.InferRequestedOutput("y", binary_data=False)]

# A model with tens of outputs per row is worth compressing and ranking.
wide = np.arange(2000, dtype=np.float32).reshape(2, 1000)
client.load_model(f"{organisation}/echo-wide", headers=auth())


def through_wide(**options):
    return client.infer(f"{organisation}/echo-wide", [tensor("x", wide)], headers=auth(), **options)


packed = {
    algorithm: bool(
        np.array_equal(
            through_wide(request_compression_algorithm=algorithm, response_compression_algorithm=algorithm).as_numpy("y"),
            wide,
        )
    )
    for algorithm in ("gzip", "deflate")
}
classes = through_wide(outputs=[triton.InferRequestedOutput("y", class_count=2)]).as_numpy("y").astype(str).tolist()

pending = [client.async_infer(example, [tensor("input", rows)], headers=auth()) for _ in range(8)]
several = [handle.get_result().as_numpy(output_name).ravel().tolist() for handle in pending]


async def with_asyncio():
    async with triton_aio.InferenceServerClient(url=address) as other:
        given = triton_aio.InferInput("input", list(rows.shape), "FP32")
        given.set_data_from_numpy(rows)
        plain = await other.infer(example, [given], headers=auth())
        zipped = await other.infer(
            example,
            [given],
            headers=auth(),
            request_compression_algorithm="gzip",
            response_compression_algorithm="gzip",
        )
        return {
            "live": await other.is_server_live(),
            "ready": await other.is_model_ready(example, headers=auth()),
            "output": plain.as_numpy(output_name).ravel().tolist(),
            "zipped": zipped.as_numpy(output_name).ravel().tolist(),
            "index": len(await other.get_model_repository_index(headers=auth())),
        }


wide_model = f"{organisation}/echo-wide"
index = client.get_model_repository_index(headers=auth())
client.unload_model(wide_model, headers=auth())
unloaded = [entry for entry in client.get_model_repository_index(headers=auth()) if entry["name"] == wide_model]
client.load_model(wide_model, headers=auth())
statistics = client.get_inference_statistics(example, headers=auth())["model_stats"]

print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "server": client.get_server_metadata(),
            "modelReady": client.is_model_ready(example, headers=auth()),
            "versionReady": client.is_model_ready(example, "1", headers=auth()),
            "metadata": metadata,
            "config": client.get_model_config(example, headers=auth()),
            "predictions": {
                "binary": predict(True, True),
                "json": predict(False, False),
                "mixed": predict(True, False),
                "scheduled": predict(False, True, priority=1, timeout=30_000_000, parameters={"mine": "x"}),
            },
            "answer": client.infer(example, [tensor("input", rows)], request_id="seven", headers=auth()).get_response(),
            "same": same,
            "packed": packed,
            "classes": classes,
            "several": several,
            "asyncio": asyncio.run(with_asyncio()),
            "index": index,
            "unloaded": unloaded,
            "statistics": statistics,
            "allStatistics": len(client.get_inference_statistics(headers=auth())["model_stats"]),
            "sharedMemory": {
                "system": client.get_system_shared_memory_status(headers=auth()),
                "cuda": client.get_cuda_shared_memory_status(headers=auth()),
                "unregister": client.unregister_system_shared_memory(headers=auth()),
                "register": refusal(lambda: client.register_system_shared_memory("r", "/r", 64, headers=auth())),
            },
            "refused": {
                "noKey": refusal(lambda: client.infer(example, [tensor("input", rows)])),
                "stranger": refusal(
                    lambda: client.infer(
                        f"{organisation}/echo-fp32",
                        [tensor("x", values["FP32"])],
                        headers=auth(stranger),
                    )
                ),
                "statisticsOfOthers": refusal(
                    lambda: client.get_inference_statistics(example, headers=auth(stranger))
                ),
                "unloadOfOthers": refusal(
                    lambda: client.unload_model(example, headers=auth(stranger))
                ),
                "wrongWidth": refusal(
                    lambda: client.infer(example, [tensor("input", rows[:, :99].copy())], headers=auth())
                ),
                "noVersion": refusal(
                    lambda: client.infer(example, [tensor("input", rows)], model_version="99", headers=auth())
                ),
                "halfAsJson": refusal(
                    lambda: client.infer(f"{organisation}/echo-fp16", [half], outputs=no_json, headers=auth())
                ),
                "sharedMemory": refusal(lambda: client.infer(example, [in_shared_memory], headers=auth())),
                "sequence": refusal(
                    lambda: client.infer(
                        example, [tensor("input", rows)], sequence_id=3, sequence_start=True, headers=auth()
                    )
                ),
                "override": refusal(lambda: client.load_model(wide_model, config="{}", headers=auth())),
                "logging": refusal(lambda: client.get_log_settings(headers=auth())),
            },
        }
    )
)
