"""LitServe with onnxruntime and its dynamic batching."""
import sys

import litserve
import numpy as np
import onnxruntime


class Example(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[2], options)
        self.input = self.session.get_inputs()[0].name

    def decode_request(self, request):
        return np.asarray(request["inputs"][0], dtype=np.float32)

    def predict(self, batch):
        (answer,) = self.session.run(None, {self.input: np.stack(batch)})
        return answer

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"outputs": output.tolist()}


if __name__ == "__main__":
    api = Example(max_batch_size=64, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
