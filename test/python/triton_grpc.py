"""Uses the rest of Triton's gRPC clients, unmodified: streams, futures, asyncio, compression, and the extensions."""
import asyncio
import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

address, model, key, owner_key = sys.argv[1:5]
rows = np.array(json.load(sys.stdin), dtype=np.float32)
headers = {"authorization": f"Bearer {key}"}
owner = {"authorization": f"Bearer {owner_key}"}
client = triton.InferenceServerClient(url=address)


def tensor(module, data):
    given = module.InferInput("input", list(data.shape), "FP32")
    given.set_data_from_numpy(data)
    return [given]


def status(error):
    return error.status().removeprefix("StatusCode.")


def refusal(call):
    try:
        call()
    except InferenceServerException as error:
        return status(error)
    return "nothing"


def output(result):
    name = result.get_response().outputs[0].name
    return result.as_numpy(name).ravel().tolist()


def stream(count):
    """Each row as a request of its own; the third asks for a model that is not there."""
    heard = queue.Queue()
    client.start_stream(lambda result, error: heard.put((result, error)), headers=headers)
    for index in range(count):
        name = "acme/nothing" if index == 2 else model
        data = rows[index % len(rows) : index % len(rows) + 1]
        client.async_stream_infer(name, tensor(triton, data), request_id=str(index), enable_empty_final_response=True)
    got = {}
    errors = []
    for _ in range(count):
        result, error = heard.get(timeout=30)
        if error is not None:
            errors.append(error.message())
            continue
        response = result.get_response()
        got[response.id] = {"output": output(result), "final": response.parameters["triton_final_response"].bool_param}
    client.stop_stream()
    return {"got": got, "errors": errors}


def broken_off_stream():
    """A stream that is cancelled with requests under way harms nobody."""
    client.start_stream(lambda result, error: None, headers=headers)
    for index in range(50):
        client.async_stream_infer(model, tensor(triton, rows), request_id=str(index))
    client.stop_stream(cancel_requests=True)
    return output(client.infer(model, tensor(triton, rows), headers=headers))


def cancelled_future():
    heard = queue.Queue()
    context = client.async_infer(
        model, tensor(triton, rows), callback=lambda result, error: heard.put(error), headers=headers
    )
    context.cancel()
    error = heard.get(timeout=30)
    return "answered" if error is None else error.status()


async def with_asyncio():
    async with triton_aio.InferenceServerClient(url=address) as aio:
        answers = await asyncio.gather(
            *(
                aio.infer(model, tensor(triton_aio, rows[index % 3 : index % 3 + 1]), headers=headers)
                for index in range(48)
            )
        )

        async def requests():
            for index in range(6):
                yield {
                    "model_name": model,
                    "inputs": tensor(triton_aio, rows[index % 3 : index % 3 + 1]),
                    "request_id": str(index),
                }

        streamed = {}
        async for result, error in aio.stream_infer(requests(), headers=headers):
            streamed[result.get_response().id] = output(result) if error is None else error.message()
        task = asyncio.ensure_future(aio.infer(model, tensor(triton_aio, rows), headers=headers))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
            cancelled = "answered"
        except asyncio.CancelledError:
            cancelled = "CANCELLED"
        return {"answers": [output(answer)[0] for answer in answers], "streamed": streamed, "cancelled": cancelled}


def compressed(algorithm):
    return output(client.infer(model, tensor(triton, rows), headers=headers, compression_algorithm=algorithm))


statistics = client.get_inference_statistics(model, headers=owner)
config = client.get_model_config(model, headers=headers, as_json=True)["config"]
heard = {
    "stream": stream(12),
    "brokenOff": broken_off_stream(),
    "cancelledFuture": cancelled_future(),
    "aio": asyncio.run(with_asyncio()),
    "compressed": {algorithm: compressed(algorithm) for algorithm in ("gzip", "deflate")},
    "config": {"maxBatchSize": config["max_batch_size"], "input": config["input"], "platform": config["platform"]},
    "inferenceCount": statistics.model_stats[0].inference_count,
    "extensions": list(client.get_server_metadata().extensions),
    "index": [[entry.name, entry.version, entry.state] for entry in client.get_model_repository_index(owner).models],
    "sharedMemory": len(client.get_system_shared_memory_status(headers=headers).regions),
    "refused": {
        "sharedMemory": refusal(lambda: client.register_system_shared_memory("a", "/a", 64, headers=headers)),
        "cuda": refusal(lambda: client.register_cuda_shared_memory("a", b"", 0, 64, headers=headers)),
        "trace": refusal(lambda: client.get_trace_settings(headers=headers)),
        "log": refusal(lambda: client.get_log_settings(headers=headers)),
        "sequence": refusal(
            lambda: client.infer(model, tensor(triton, rows), headers=headers, sequence_id=7, sequence_start=True)
        ),
        "foreignStatistics": refusal(lambda: client.get_inference_statistics(model, headers=headers)),
        "foreignUnload": refusal(lambda: client.unload_model(model, headers=headers)),
    },
}


def in_shared_memory():
    given = triton.InferInput("input", list(rows.shape), "FP32")
    given.set_shared_memory("region", rows.nbytes)
    return given


heard["refused"]["inSharedMemory"] = refusal(lambda: client.infer(model, [in_shared_memory()], headers=headers))
client.unregister_system_shared_memory(headers=headers)
client.unload_model(model, headers=owner)
heard["unloaded"] = refusal(lambda: client.infer(model, tensor(triton, rows), headers=headers))
client.load_model(model, headers=owner)
heard["loaded"] = output(client.infer(model, tensor(triton, rows), headers=headers))
print(json.dumps(heard))
