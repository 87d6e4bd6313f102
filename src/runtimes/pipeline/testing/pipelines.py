"""Small pipelines as Hugging Face lays them out, and what they must answer: by `tokenizers`, Pillow and NumPy.

    python pipelines.py FOLDER

Writes FOLDER/<pipeline>/{model.onnx, config.json, tokenizer.json, ...} and FOLDER/expected.json. Weights are random,
tokenizers are trained on the corpus below. Nothing is fetched.
"""
import io
import json
import os
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

warnings.filterwarnings("ignore")
folder = sys.argv[1]
expected, tokens = {}, {}

corpus = [
    "The quick brown fox jumps over the lazy dog.",
    "Energy is shared by everyone who shares a model, and measured where it is used.",
    "Dr. Ångström visited Zürich and São Paulo in 2024; the café there was naïve but fine!",
    "Kilowatt-hours are joules; 1 kWh = 3,600,000 J.",
    "东京は日本の首都です。 北京是中国的首都。",
    "Привет, мир! Энергия и свет.",
    "unbelievable unwatchable watching watched watcher energies energetic",
]
texts = [
    "The quick brown fox",
    "",
    "  Energy\tis shared,\nby everyone!  ",
    "Dr. Ångström visited Zürich… and SÃO PAULO.",
    "东京 and 北京 are capitals",
    "Привет, мир!",
    "naïve cafés cost 3,600 kWh?! [SEP] really",
    "☃ snowman ☃☃ and 🙂 smiles",
    "don't stop watching the unwatchable watcher's energies",
    " ".join(corpus),
]


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=220, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids)
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, "[PAD]"


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, "<pad>"


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("``", '"')])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
                                      unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids)
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, "<pad>"


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(corpus, trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]", "[CLS]"], show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]"))])
    return tokenizer, "[PAD]"


class Encoder:
    """One layer of a transformer with two heads, in NumPy and, by the same weights, in ONNX."""

    def __init__(self, words, width=16, heads=2, positions=64, types=True, seed=0):
        random = np.random.default_rng(seed)
        self.width, self.heads, self.types = width, heads, types
        draw = lambda *shape: random.normal(0, 0.4, shape).astype(np.float32)
        self.weights = {"words": draw(words, width), "places": draw(positions, width), "kinds": draw(2, width)}
        for name in "qkvo":
            self.weights[name] = draw(width, width)
        self.weights["up"] = draw(width, 2 * width)
        self.weights["down"] = draw(2 * width, width)

    def states(self, ids, mask, kinds):
        w = self.weights
        x = w["words"][ids] + w["places"][np.arange(ids.shape[1])][None]
        if self.types:
            x = x + w["kinds"][kinds]
        rows, length, width = x.shape
        cut = lambda m: (x @ m).reshape(rows, length, self.heads, -1).transpose(0, 2, 1, 3)
        q, k, v = cut(w["q"]), cut(w["k"]), cut(w["v"])
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width / self.heads) + (1 - mask[:, None, None]) * -10000.0
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        shares = scores / scores.sum(-1, keepdims=True)
        x = x + (shares @ v).transpose(0, 2, 1, 3).reshape(rows, length, width) @ w["o"]
        return (x + np.maximum(x @ w["up"], 0) @ w["down"]).astype(np.float32)

    def save(self, path, head=None, pooled=False, fixed=None):
        nodes, constants = [], [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        count = iter(range(1000))

        def op(kind, inputs, **attributes):
            output = f"{kind}_{next(count)}"
            nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
            return output

        def constant(value, name=None):
            name = name or f"c_{next(count)}"
            constants.append(numpy_helper.from_array(np.asarray(value), name))
            return name

        length = op("Gather", [op("Shape", ["input_ids"]), constant(np.int64(1))], axis=0)
        places = op("Range", [constant(np.int64(0)), length, constant(np.int64(1))])
        x = op("Add", [op("Gather", ["words", "input_ids"]), op("Gather", ["places", places])])
        inputs = ["input_ids", "attention_mask"]
        if self.types:
            inputs.append("token_type_ids")
            x = op("Add", [x, op("Gather", ["kinds", "token_type_ids"])])
        split = constant(np.array([0, 0, self.heads, self.width // self.heads], np.int64))
        cut = lambda name: op("Transpose", [op("Reshape", [op("MatMul", [x, name]), split])], perm=[0, 2, 1, 3])
        q, k, v = cut("q"), op("Transpose", [cut("k")], perm=[0, 1, 3, 2]), cut("v")
        open_ = op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        bias = op("Mul", [op("Sub", [constant(np.float32(1)), open_]), constant(np.float32(-10000))])
        bias = op("Unsqueeze", [bias, constant(np.array([1, 2], np.int64))])
        scale = constant(np.float32(1 / np.sqrt(self.width / self.heads)))
        shares = op("Softmax", [op("Add", [op("Mul", [op("MatMul", [q, k]), scale]), bias])], axis=-1)
        joined = op("Transpose", [op("MatMul", [shares, v])], perm=[0, 2, 1, 3])
        joined = op("Reshape", [joined, constant(np.array([0, 0, self.width], np.int64))])
        x = op("Add", [x, op("MatMul", [joined, "o"])])
        x = op("Add", [x, op("MatMul", [op("Relu", [op("MatMul", [x, "up"])]), "down"])])
        if head is not None:
            if pooled:
                x = op("Gather", [x, constant(np.int64(0))], axis=1)
            x = op("MatMul", [x, constant(head)])
        name = "last_hidden_state" if head is None else "logits"
        nodes.append(helper.make_node("Identity", [x], [name]))
        rows, tokens = (fixed or ("batch", "tokens"))
        width = self.width if head is None else head.shape[1]
        shape = [rows, width] if pooled else [rows, tokens, width]
        graph = helper.make_graph(
            nodes, "encoder",
            [helper.make_tensor_value_info(n, TensorProto.INT64, [rows, tokens]) for n in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def write(pipeline, name, value):
    path = os.path.join(folder, pipeline, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(value if isinstance(value, str) else json.dumps(value))


def scrambled():
    """Texts of every kind of character that tokenizers treat in ways of their own, with and without words between."""
    random = np.random.default_rng(15)
    alphabet = list("abcABC  \t\n.,!?-_'\"0123éàßñçøİıſдЖЯ东京あ한ﬁ①½²\u00a0\u3000\u200b\u200d\ufffd\u00ad☃…—’€$▁Ġ") + [
        "e\u0301", "🙂", "👩‍👧", "[SEP]", "[CLS]", "<s>", "</s>", "##", " quick ", " unwatchable ", " Zürich "]
    return ["".join(alphabet[i] for i in random.integers(0, len(alphabet), random.integers(0, 30))) for _ in range(400)]


def tokens_of(tokenizer, length):
    """Of each text, and of each with the next, cut to so many."""
    tokenizer.enable_truncation(length)
    texts = scrambled()
    found = {"length": length, "one": [tokenizer.encode(text).ids for text in texts],
             "pair": [tokenizer.encode(a, b).ids for a, b in zip(texts, texts[1:])]}
    tokenizer.no_truncation()
    return found


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def encode(tokenizer, pad, length, *batch):
    """One row at a time: what a batch must equal."""
    tokenizer.enable_truncation(length)
    for row in zip(*batch):
        encoding = tokenizer.encode(*row)
        ids = np.array([encoding.ids], np.int64)
        yield encoding, (ids, np.ones_like(ids), np.array([encoding.type_ids], np.int64))


def place(text, encoding, index):
    """Without blanks around it, which some tokenizers count and some do not; a token of blanks is nowhere."""
    start, end = encoding.offsets[index]
    part = text[start:end]
    if not part.strip() or set(encoding.tokens[index]) <= set("▁ĠĊĉ"):
        return {"start": None, "end": None}
    return {"start": start + len(part) - len(part.lstrip()), "end": end - len(part) + len(part.rstrip())}


def text_pipelines():
    for kind, make in (("wordpiece", wordpiece), ("bytelevel", byte_level), ("unigram", unigram), ("wordlevel", word_level)):
        tokenizer, pad = make()
        rows = list(encode(tokenizer, pad, 40, texts))
        encoder = Encoder(tokenizer.get_vocab_size(), types=kind == "wordpiece", seed=len(kind))
        tokenizer.no_truncation()
        tokens[kind] = [tokens_of(tokenizer, length) for length in (7, 1000)]
        base = {"tokenizer.json": tokenizer.to_str(), "tokenizer_config.json": {"pad_token": pad, "model_max_length": 40}}
        states = [encoder.states(*feeds)[0] for _, feeds in rows]

        name = f"{kind}-embed"
        for file, value in base.items():
            write(name, file, value)
        write(name, "config.json", {"architectures": ["BertModel"], "hidden_size": 16, "max_position_embeddings": 64})
        write(name, "modules.json", [{"type": "sentence_transformers.models.Normalize"}])
        encoder.save(os.path.join(folder, name, "model.onnx"))
        means = np.stack([state.mean(0) for state in states])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        expected[name] = {"embedding": means.tolist(), "ids": [encoding.ids for encoding, _ in rows]}

        if kind == "wordlevel":
            continue
        name = f"{kind}-entities"
        for file, value in base.items():
            write(name, file, value)
        labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
        write(name, "config.json", {"architectures": ["BertForTokenClassification"],
                                    "id2label": {str(i): label for i, label in enumerate(labels)}})
        write(name, "commonwatt.yaml", "aggregation: none\n")
        head = np.random.default_rng(5).normal(0, 1, (16, len(labels))).astype(np.float32)
        encoder.save(os.path.join(folder, name, "model.onnx"), head)
        found = []
        for (encoding, _), state in zip(rows, states):
            scores = softmax(state @ head)
            text = texts[len(found)]
            found.append([
                {"entity": labels[best], "score": float(scores[i, best]), "index": i, **place(text, encoding, i)}
                for i, special in enumerate(encoding.special_tokens_mask)
                for best in [int(scores[i].argmax())] if not special and labels[best] != "O"])
        expected[name] = {"entities": found}

        if kind != "wordpiece":
            continue
        head = np.random.default_rng(6).normal(0, 1, (16, 3)).astype(np.float32)
        name = "wordpiece-classify"
        for file, value in base.items():
            write(name, file, value)
        write(name, "config.json", {"architectures": ["BertForSequenceClassification"],
                                    "id2label": {"0": "good", "1": "bad", "2": "neither"}})
        encoder.save(os.path.join(folder, name, "model.onnx"), head, pooled=True)
        expected[name] = {"scores": [softmax(state[0] @ head).tolist() for state in states]}

        name = "wordpiece-rerank"
        for file, value in base.items():
            write(name, file, value)
        write(name, "config.json", {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}})
        encoder.save(os.path.join(folder, name, "model.onnx"), head[:, :1], pooled=True)
        pairs = [(a, b) for a in texts[:4] + texts[-1:] for b in (texts[0], texts[1], texts[8], texts[9])]
        scored = list(encode(tokenizer, pad, 40, *zip(*pairs)))
        logits = [float((encoder.states(*feeds)[0, 0] @ head[:, :1])[0]) for _, feeds in scored]
        expected[name] = {"pairs": pairs, "score": [1 / (1 + np.exp(-x)) for x in logits],
                          "ids": [encoding.ids for encoding, _ in scored]}
        tokenizer.no_truncation()


def pictures():
    random = np.random.default_rng(3)
    y, x = np.mgrid[0:90, 0:140]
    smooth = np.stack([x * 255 / 140, y * 255 / 90, 127 + 120 * np.sin(x / 9) * np.cos(y / 7)], -1).astype(np.uint8)
    noise = random.integers(0, 256, (61, 47, 3), np.uint8)
    alpha = np.concatenate([smooth[:50, :50], random.integers(0, 256, (50, 50, 1), np.uint8)], -1)

    def file(array, kind, **options):
        image = array if isinstance(array, Image.Image) else Image.fromarray(array)
        out = io.BytesIO()
        image.save(out, kind, **options)
        return out.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "smooth.png": file(smooth, "PNG"),
        "noise.png": file(noise, "PNG"),
        "alpha.png": file(alpha, "PNG"),
        "grey.png": file(smooth[..., 2], "PNG"),
        "palette.png": file(Image.fromarray(smooth).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "smooth.jpg": file(smooth, "JPEG", quality=85),
        "noise.jpg": file(noise, "JPEG", quality=60),
        "full-colour.jpg": file(smooth, "JPEG", quality=90, subsampling=0),
        "progressive.jpg": file(smooth, "JPEG", quality=75, progressive=True),
        "grey.jpg": file(smooth[..., 2], "JPEG"),
        "turned.jpg": file(smooth, "JPEG", exif=turned),
        "tiny.png": file(noise[:3, :5], "PNG"),
    }


def image_pipelines():
    from PIL import ImageOps
    files = pictures()
    opened = {name: ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB") for name, data in files.items()}
    os.makedirs(os.path.join(folder, "pictures"), exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(folder, "pictures", name), "wb") as out:
            out.write(data)
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    head = np.random.default_rng(8).normal(0, 1, (3 * 32 * 32, 4)).astype(np.float32) / 50
    nodes = [helper.make_node("Flatten", ["pixel_values"], ["flat"]), helper.make_node("MatMul", ["flat", "head"], ["logits"])]
    graph = helper.make_graph(
        nodes, "image", [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])], [numpy_helper.from_array(head, "head")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for resample in range(6):
        for way in ("stretch", "crop"):
            name = f"image-{way}-{resample}"
            write(name, "config.json", {"architectures": ["ViTForImageClassification"],
                                        "id2label": {str(i): f"class {i}" for i in range(4)}})
            size = {"height": 32, "width": 32} if way == "stretch" else {"shortest_edge": 40}
            write(name, "preprocessor_config.json", {
                "do_resize": True, "size": size, "resample": resample, "do_center_crop": way == "crop",
                "crop_size": {"height": 32, "width": 32}, "do_rescale": True, "rescale_factor": 1 / 255,
                "do_normalize": True, "image_mean": mean, "image_std": deviation})
            onnx.save(model, os.path.join(folder, name, "model.onnx"))
            logits, pixels = [], []
            for image in opened.values():
                width, height = image.size
                if way == "stretch":
                    small = np.asarray(image.resize((32, 32), resample))
                else:
                    short, long = sorted((width, height))
                    new = int(40 * long / short)
                    image = image.resize((40, new) if width <= height else (new, 40), resample)
                    left, top = (image.size[0] - 32) // 2, (image.size[1] - 32) // 2
                    small = np.asarray(image)[top:top + 32, left:left + 32]
                values = ((small * (1 / 255)).astype(np.float32) - np.float32(mean)) / np.float32(deviation)
                values = values.transpose(2, 0, 1)
                logits.append(values.reshape(-1) @ head)
                pixels.append(small.astype(int).sum().item())
            expected[name] = {"scores": softmax(np.stack(logits)).tolist(), "sums": pixels}


text_pipelines()
image_pipelines()
with open(os.path.join(folder, "expected.json"), "w") as file:
    json.dump({"texts": texts, "scrambled": scrambled(), "tokens": tokens, "pipelines": expected}, file)
