"""KServe's model server with onnxruntime."""
import logging
import sys

import kserve
import onnxruntime


class Example(kserve.Model):
    def __init__(self, path):
        super().__init__("example")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        (answer,) = self.session.run(None, {given.name: given.as_numpy() for given in payload.inputs})
        output = kserve.InferOutput("output", list(answer.shape), "FP32")
        output.set_data_from_numpy(answer, binary_data=False)
        return kserve.InferResponse(payload.id or "", "example", [output])


# It logs two lines a request otherwise.
logging.getLogger("kserve.trace").setLevel(logging.WARNING)
port, path = int(sys.argv[1]), sys.argv[2]
kserve.ModelServer(http_port=port, grpc_port=port + 1, enable_grpc=False, workers=1).start([Example(path)])
