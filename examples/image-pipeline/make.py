"""Makes a classifier of handwritten digits as a pipeline that takes PNG and JPEG files, and some such files.

    pip install onnx pillow scikit-learn
    python make.py FOLDER
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

folder = pathlib.Path(sys.argv[1])
(folder / "pictures").mkdir(parents=True, exist_ok=True)
pixels, labels = load_digits(return_X_y=True)
shades = np.clip(pixels * 16, 0, 255).astype(np.uint8)
mean, deviation = 0.3, 0.35
scaled = ((shades / 255 - mean) / deviation).astype(np.float32)
model = LogisticRegression(max_iter=300).fit(scaled, labels)

# Three equal channels: each gets a third of the weights.
weights = np.tile(model.coef_ / 3, (1, 3)).T.astype(np.float32)
nodes = [helper.make_node("Flatten", ["pixel_values"], ["flat"]), helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"])]
graph = helper.make_graph(
    nodes, "digits", [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 8, 8])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
    [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(model.intercept_.astype(np.float32), "bias")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")

config = {"architectures": ["DigitsForImageClassification"], "id2label": {str(i): f"digit {i}" for i in range(10)}}
(folder / "config.json").write_text(json.dumps(config))
(folder / "preprocessor_config.json").write_text(json.dumps({
    "do_resize": True, "size": {"height": 8, "width": 8}, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [mean] * 3, "image_std": [deviation] * 3}))

# Four times as large; what is expected is what the model says of the picture made small again by Pillow.
rows, expected = [], []
for index in range(0, 50, 10):
    picture = Image.fromarray(shades[index].reshape(8, 8)).resize((32, 32), Image.Resampling.BICUBIC)
    rows.append(f"pictures/{index}.png")
    picture.save(folder / rows[-1])
    small = np.asarray(picture.resize((8, 8), Image.Resampling.BILINEAR)).reshape(1, -1)
    expected.append(model.predict_proba(((small / 255 - mean) / deviation).astype(np.float32))[0].tolist())
(folder / "check.json").write_text(json.dumps({"input": "image", "files": rows, "expected": {"scores": expected}}))
