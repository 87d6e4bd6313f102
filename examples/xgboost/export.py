"""Trains an XGBoost classifier and exports it: model.onnx, and check.json with what it predicts itself.

    pip install xgboost-cpu onnxmltools scikit-learn
    python export.py FOLDER
"""
import json
import pathlib
import sys

from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from xgboost import XGBClassifier

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
x, y = load_breast_cancer(return_X_y=True)
x = x.astype("float32")
# Columns without names: the exporter counts them (f0, f1, ...).
model = XGBClassifier(n_estimators=30, max_depth=3, n_jobs=1).fit(x, y)

exported = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, x.shape[1]]))], target_opset=15)
(folder / "model.onnx").write_bytes(exported.SerializeToString())

rows = x[::40]
expected = {"probabilities": model.predict_proba(rows).tolist(), "label": model.predict(rows).tolist()}
(folder / "check.json").write_text(json.dumps({"input": "x", "rows": rows.tolist(), "expected": expected}))
