"""Shared by the scripts that save models with real Keras: random weights, inputs, and what Keras predicts."""
import base64
import io
import json
import os
import sys

# NumPy computes the same without compiling each model first.
os.environ["KERAS_BACKEND"] = "numpy"
import absl.logging
import h5py
import keras
import numpy as np
from keras import layers as L

absl.logging.set_verbosity("error")  # that .h5 is an old format is known here
folder = sys.argv[1]
rng = np.random.default_rng(7)
keras.utils.set_random_seed(7)
cases = {}


def path(name, end=".h5"):
    return os.path.join(folder, name + end)


def randomise(model, seed=None):
    """Biases and statistics that are not zero and one, so that a mistake in them is seen."""
    r = rng if seed is None else np.random.default_rng(seed)
    for v in model.weights:
        value = r.normal(0, 0.4, v.shape)
        if "variance" in v.path:
            value = np.abs(value) + 0.3
        if v.path.endswith("count"):
            value = np.zeros(v.shape)
        v.assign(np.asarray(value, dtype=str(v.dtype).replace("<dtype: '", "").replace("'>", "")))
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            layer.finalize_state()  # what adapt() does with its statistics


def numbers(array):
    array = np.ascontiguousarray(array)
    return {"datatype": {"float32": "FP32", "int32": "INT32", "int64": "INT64", "uint8": "UINT8"}[str(array.dtype)],
            "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def example(spec, open_size=5):
    """Input that fits a symbolic tensor; axes of any size get open_size."""
    shape = [3] + [open_size if n is None else n for n in spec.shape[1:]]
    if str(spec.dtype).startswith("int") or spec.dtype == "uint8":
        return rng.integers(0, 6, shape).astype(spec.dtype)
    return rng.normal(0, 1.5, shape).astype("float32")


def save(name, model, inputs=None, open_size=5, formats=(".h5", ".keras")):
    randomise(model)
    for end in formats:
        model.save(path(name, end))
    inputs = [example(spec, open_size) for spec in model.inputs] if inputs is None else inputs
    predicted = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = keras.tree.flatten(predicted)
    cases[name] = {"formats": list(formats), "inputs": [numbers(x) for x in inputs], "outputs": [numbers(np.asarray(y)) for y in outputs]}


def finish():
    json.dump(cases, sys.stdout)
