"""Makes an encoder of texts and two small classifiers of what it gives. One encoder, shared, serves them both.

    pip install tokenizers onnx scikit-learn skl2onnx
    python make.py FOLDER
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

folder = pathlib.Path(sys.argv[1])
(folder / "encoder").mkdir(parents=True, exist_ok=True)
texts = ["the heat pump is quiet", "the heat pump is loud", "the boiler is quiet", "the boiler is loud",
         "a quiet boiler", "a loud boiler", "a quiet heat pump", "a loud heat pump"]
loud = [int("loud" in text) for text in texts]
pump = [int("pump" in text) for text in texts]

tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.Lowercase()
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"], show_progress=False))
tokenizer.save(str(folder / "encoder/tokenizer.json"))
(folder / "encoder/tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 64}))
(folder / "encoder/config.json").write_text(json.dumps({"architectures": ["WordModel"], "hidden_size": 12}))

words = np.random.default_rng(1).normal(0, 1, (tokenizer.get_vocab_size(), 12)).astype(np.float32)
tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask")]
states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", 12])
graph = helper.make_graph([helper.make_node("Gather", ["words", "input_ids"], ["last_hidden_state"])], "words", tokens, [states],
                          [numpy_helper.from_array(words, "words")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "encoder/model.onnx")


def embed(batch):
    """The mean of its words: what the pipeline's pooling makes of the encoder's output."""
    return np.stack([words[tokenizer.encode(text).ids].mean(0) for text in batch])


expected = {}
asked = ["The LOUD heat pump", "boiler , quiet"]
for name, answer in (("loud", loud), ("pump", pump)):
    model = LogisticRegression(C=10).fit(embed(texts), answer)
    exported = to_onnx(model, embed(texts)[:1], target_opset={"": 17, "ai.onnx.ml": 3}, options={"zipmap": False})
    (folder / f"{name}.onnx").write_bytes(exported.SerializeToString())
    expected[name] = model.predict_proba(embed(asked)).tolist()
(folder / "check.json").write_text(json.dumps({"input": "text", "rows": asked, "expected": expected}))
