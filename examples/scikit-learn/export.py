"""Trains a scikit-learn classifier and exports it: model.onnx, and check.json with what it predicts itself.

    pip install scikit-learn skl2onnx
    python export.py FOLDER
"""
import json
import pathlib
import sys

from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
x, y = load_iris(return_X_y=True)
x = x.astype("float32")
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)

# zipmap=False: probabilities as one tensor; the default is a list of dictionaries, which no server can batch.
exported = to_onnx(model, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}, options={"zipmap": False})
(folder / "model.onnx").write_bytes(exported.SerializeToString())

rows = x[::10]
expected = {"probabilities": model.predict_proba(rows).tolist(), "label": model.predict(rows).tolist()}
(folder / "check.json").write_text(json.dumps({"input": "X", "rows": rows.tolist(), "expected": expected}))
