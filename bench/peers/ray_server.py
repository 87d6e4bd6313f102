"""Ray Serve with onnxruntime and its dynamic batching."""
import signal
import sys

import numpy as np
import onnxruntime
import ray
from ray import serve

port, path = int(sys.argv[1]), sys.argv[2]


@serve.deployment(max_ongoing_requests=512)
class Example:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        self.input = self.session.get_inputs()[0].name

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, rows):
        (answer,) = self.session.run(None, {self.input: np.asarray(rows, dtype=np.float32)})
        return answer.tolist()

    async def __call__(self, request):
        body = await request.json()
        return {"outputs": [await self.predict(body["inputs"][0])]}


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": port})
serve.run(Example.bind(), name="example", route_prefix="/predict")
signal.sigwait({signal.SIGTERM, signal.SIGINT})
serve.shutdown()
ray.shutdown()
