"""Makes a text encoder of MiniLM's size as a pipeline folder, for benchmarks: 6 layers, 384 wide, 12 heads, 30,522 words.

    python encoder.py FOLDER        (packages: onnx, numpy; about 90 MB are written)

Weights are random, so the answers mean nothing, but they cost what MiniLM's cost.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
layers, width, heads, words, inner, positions = 6, 384, 12, 30522, 1536, 512
random = np.random.default_rng(1)
nodes, constants = [], []


def constant(value, name=None):
    name = name or f"c{len(constants)}"
    constants.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def op(kind, *inputs, **attributes):
    name = f"{kind}_{len(nodes)}"
    nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
    return name


def dense(x, rows, columns):
    weights = random.normal(0, 0.02, (rows, columns)).astype(np.float32)
    return op("Add", op("MatMul", x, constant(weights)), constant(np.zeros(columns, np.float32)))


def normal(x):
    return op("LayerNormalization", x, constant(np.ones(width, np.float32)), constant(np.zeros(width, np.float32)), axis=-1, epsilon=1e-12)


def table(rows):
    return constant(random.normal(0, 0.02, (rows, width)).astype(np.float32))


length = op("Gather", op("Shape", "input_ids"), constant(np.int64(1)), axis=0)
places = op("Range", constant(np.int64(0)), length, constant(np.int64(1)))
x = op("Add", op("Gather", table(words), "input_ids"), op("Gather", table(positions), places))
x = normal(op("Add", x, op("Gather", table(2), "token_type_ids")))
open_ = op("Unsqueeze", op("Cast", "attention_mask", to=TensorProto.FLOAT), constant(np.array([1, 2])))
bias = op("Mul", op("Sub", constant(np.float32(1)), open_), constant(np.float32(-10000)))
split = constant(np.array([0, 0, heads, width // heads]))
together = constant(np.array([0, 0, width]))
scale = constant(np.float32((width / heads) ** -0.5))
for _ in range(layers):
    cut = lambda order: op("Transpose", op("Reshape", dense(x, width, width), split), perm=order)
    q, k, v = cut([0, 2, 1, 3]), cut([0, 2, 3, 1]), cut([0, 2, 1, 3])
    shares = op("Softmax", op("Add", op("Mul", op("MatMul", q, k), scale), bias), axis=-1)
    seen = op("Reshape", op("Transpose", op("MatMul", shares, v), perm=[0, 2, 1, 3]), together)
    x = normal(op("Add", x, dense(seen, width, width)))
    up = dense(x, width, inner)
    curved = op("Mul", op("Mul", up, constant(np.float32(0.5))),
                op("Add", constant(np.float32(1)), op("Erf", op("Mul", up, constant(np.float32(2**-0.5))))))
    x = normal(op("Add", x, dense(curved, inner, width)))
nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
ends = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", width])
graph = helper.make_graph(nodes, "encoder", ends, [states], constants)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")

# Whole words, their pieces and single letters, as many as BERT has; every text of letters can be cut with them.
letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + list(letters) + ["##" + letter for letter in letters]
known = dict.fromkeys(vocabulary)
while len(known) < words:
    codes = random.integers(0, 26, (words, 6))
    sizes = random.integers(2, 7, words)
    known.update((("" if size % 4 else "##") + "".join(letters[i] for i in row[:size]), None) for row, size in zip(codes, sizes))
vocabulary = list(known)[:words]
special = [{"id": i, "content": vocabulary[i], "special": True, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False} for i in range(4)]
piece = lambda name, kind=0: {"SpecialToken": {"id": name, "type_id": kind}}
text = lambda name, kind=0: {"Sequence": {"id": name, "type_id": kind}}
tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {
        "type": "TemplateProcessing", "single": [piece("[CLS]"), text("A"), piece("[SEP]")],
        "pair": [piece("[CLS]"), text("A"), piece("[SEP]"), text("B", 1), piece("[SEP]", 1)],
        "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for i, name in ((2, "[CLS]"), (3, "[SEP]"))}},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
              "vocab": {word: i for i, word in enumerate(vocabulary)}}}
(folder / "tokenizer.json").write_text(json.dumps(tokenizer))
(folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 256}))
(folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "hidden_size": width, "max_position_embeddings": positions}))
