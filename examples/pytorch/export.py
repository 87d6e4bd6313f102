"""Exports a PyTorch network: model.onnx, and check.json with what it predicts itself.

    pip install torch
    python export.py FOLDER
"""
import inspect
import json
import pathlib
import sys

import torch
from torch import nn

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(7)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1, groups=2), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    nn.LayerNorm(64), nn.Linear(64, 10), nn.Softmax(dim=1))
with torch.no_grad():
    model(torch.randn(64, 1, 12, 12))  # moves the statistics of the normalisation
model.eval()

# The first dimension stays variable, so that callers can share batches. Newer versions export through another
# compiler unless they are told not to, and want the package onnxscript for it.
older = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
torch.onnx.export(
    model, torch.randn(1, 1, 12, 12), str(folder / "model.onnx"), opset_version=17, input_names=["x"],
    output_names=["probabilities"], dynamic_axes={"x": {0: "batch"}, "probabilities": {0: "batch"}}, **older)

rows = torch.randn(5, 1, 12, 12)
with torch.no_grad():
    expected = {"probabilities": model(rows).tolist()}
(folder / "check.json").write_text(json.dumps({"input": "x", "rows": rows.tolist(), "expected": expected}))
