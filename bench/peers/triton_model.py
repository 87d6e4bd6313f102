"""Triton's Python back end with onnxruntime: the requests of a batch are laid together and run once."""
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)
        self.inputs = [given.name for given in self.session.get_inputs()]

    def execute(self, requests):
        given = {name: [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests] for name in self.inputs}
        (answer,) = self.session.run(None, {name: np.concatenate(rows) for name, rows in given.items()})
        answers, start = [], 0
        for rows in given[self.inputs[0]]:
            own = answer[start : start + len(rows)]
            start += len(rows)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("output", own)]))
        return answers
