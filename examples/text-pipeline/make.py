"""Makes a small text classifier as a pipeline: a trained tokenizer, a model, and the files that Hugging Face puts beside.

    pip install tokenizers onnx scikit-learn
    python make.py FOLDER
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
good = ["a warm and quiet room", "the new heat pump works very well", "cheap to run and easy to use", "we love the warm floor",
        "it works well and saves money", "easy and quiet", "very happy with the new windows", "well made and cheap"]
bad = ["a cold and loud room", "the old boiler is broken again", "expensive to run and hard to use", "we hate the cold floor",
       "it is broken and costs money", "hard and loud", "very angry about the old windows", "badly made and expensive"]

tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False)
tokenizer.train_from_iterator(good + bad, trainer)
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])


def counts(texts):
    rows = np.zeros((len(texts), tokenizer.get_vocab_size()), np.float32)
    for row, text in zip(rows, texts):
        np.add.at(row, tokenizer.encode(text).ids, 1)
    return rows


model = LogisticRegression().fit(counts(good + bad), [1] * len(good) + [0] * len(bad))

# The same as a model over tokens: each token has two weights, which are summed over the text.
weights = np.stack([-model.coef_[0] / 2, model.coef_[0] / 2], 1).astype(np.float32)
bias = np.array([-model.intercept_[0] / 2, model.intercept_[0] / 2], np.float32)
nodes = [
    helper.make_node("Gather", ["weights", "input_ids"], ["each"]),
    helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
    helper.make_node("Unsqueeze", ["mask", "last"], ["open"]),
    helper.make_node("Mul", ["each", "open"], ["kept"]),
    helper.make_node("ReduceSum", ["kept", "tokens"], ["sum"], keepdims=0),
    helper.make_node("Add", ["sum", "bias"], ["logits"]),
]
tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask")]
constants = {"weights": weights, "bias": bias, "last": np.array([2]), "tokens": np.array([1])}
graph = helper.make_graph(nodes, "mood", tokens, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
                          [numpy_helper.from_array(value, name) for name, value in constants.items()])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")

tokenizer.save(str(folder / "tokenizer.json"))
(folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 128}))
config = {"architectures": ["MoodForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}}
(folder / "config.json").write_text(json.dumps(config))

texts = ["The heat pump is quiet and works well", "loud, cold, expensive", "An old but warm house"]
expected = {"scores": model.predict_proba(counts(texts)).tolist()}
(folder / "check.json").write_text(json.dumps({"input": "text", "rows": texts, "expected": expected}))
