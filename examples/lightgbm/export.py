"""Trains a LightGBM classifier and exports it: model.onnx, and check.json with what it predicts itself.

    pip install lightgbm onnxmltools scikit-learn
    python export.py FOLDER
"""
import json
import pathlib
import sys

from lightgbm import LGBMClassifier
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_wine

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
x, y = load_wine(return_X_y=True)
x = x.astype("float32")
model = LGBMClassifier(n_estimators=20, num_leaves=8, n_jobs=1, verbose=-1).fit(x, y)

# zipmap=False: probabilities as one tensor; the default is a list of dictionaries, which no server can batch.
types = [("x", FloatTensorType([None, x.shape[1]]))]
exported = convert_lightgbm(model, initial_types=types, zipmap=False, target_opset=15)
# The exporter declares that there is always one label; with a variable dimension callers can share batches.
exported.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
(folder / "model.onnx").write_bytes(exported.SerializeToString())

rows = x[::12]
expected = {"probabilities": model.predict_proba(rows).tolist(), "label": model.predict(rows).tolist()}
(folder / "check.json").write_text(json.dumps({"input": "x", "rows": rows.tolist(), "expected": expected}))
