"""Saves models with real Keras into the folder argv[1], and prints for each good one inputs and predictions."""
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


def path(name):
    return os.path.join(folder, name + ".h5")


def randomise(model):
    """Biases and statistics that are not zero and one, so that a mistake in them is seen."""
    for layer in model.layers:
        weights = [np.abs(w) + 0.1 if "variance" in v.path else w for w, v in
                   ((rng.normal(0, 0.6, v.shape), v) for v in layer.weights)]
        layer.set_weights([np.asarray(w, dtype=np.asarray(v).dtype) for w, v in zip(weights, layer.weights)])


def save(name, model):
    randomise(model)
    model.save(path(name))
    rows = rng.normal(0, 2, (7, *model.input_shape[1:])).astype("float32")
    predicted = np.asarray(model(rows, training=False))
    cases[name] = {"shape": list(rows.shape), "rows": rows.ravel().tolist(), "predictions": predicted.ravel().tolist()}


def edit(source, target, change):
    """A copy whose model_config went through `change`."""
    with open(path(source), "rb") as a, open(path(target), "wb") as b:
        b.write(a.read())
    with h5py.File(path(target), "r+") as f:
        config = json.loads(f.attrs["model_config"])
        config = change(config) or config
        f.attrs["model_config"] = json.dumps(config)


def copy(source, target, change):
    with open(path(source), "rb") as a, open(path(target), "wb") as b:
        b.write(a.read())
    with h5py.File(path(target), "r+") as f:
        change(f)


# Sequential, every activation by name.
for activation in ["linear", "relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax", "softplus", "softsign",
                   "exponential", "elu", "selu", "gelu", "silu", "mish", "hard_sigmoid", "hard_silu", "leaky_relu"]:
    save("activation-" + activation, keras.Sequential([keras.Input((5,)), L.Dense(4, activation=activation)]))

compiled = keras.Sequential([keras.Input((4,)), L.Dense(6, activation="relu"), L.Dropout(0.3), L.Dense(1, activation="sigmoid")])
compiled.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
compiled.optimizer.build(compiled.trainable_variables)
save("sequential", compiled)

save("flatten", keras.Sequential([keras.Input((3, 4)), L.Flatten(), L.Dense(2, use_bias=False), L.Activation("tanh")]))
save("normalised", keras.Sequential([keras.Input((5,)), L.BatchNormalization(), L.Dense(4), L.BatchNormalization(scale=False, epsilon=0.01), L.ReLU(), L.BatchNormalization(center=False)]))
save("nothing-to-do", keras.Sequential([keras.Input((5,)), L.Dropout(0.5)]))
late = keras.Sequential([L.Dense(3)])
late.build((None, 4))
save("late-build", late)

x = keras.Input((6,))
y = L.Dense(5)(x)
for layer in [L.LeakyReLU(0.15), L.GaussianNoise(0.1), L.Dense(4), L.ELU(0.7), L.Dense(4), L.ReLU(max_value=1.5),
              L.Dense(4), L.ReLU(negative_slope=0.2), L.Dense(3), L.Softmax()]:
    y = layer(y)
save("functional", keras.Model(x, y))

for seed in range(6):
    r = np.random.default_rng(100 + seed)
    stack = [keras.Input((int(r.integers(1, 20)),))]
    for _ in range(int(r.integers(1, 6))):
        stack.append(L.Dense(int(r.integers(1, 30)), activation=str(r.choice(["relu", "tanh", "sigmoid", "elu", "gelu", "softmax"])), use_bias=bool(r.integers(0, 2))))
        stack += [[], [L.Dropout(0.1)], [L.BatchNormalization()]][int(r.integers(0, 3))]
    save("random-%d" % seed, keras.Sequential(stack))


# Compressed and chunked, as users do who rewrite files with h5py.
def compress(f):
    def visit(name, node):
        if isinstance(node, h5py.Dataset) and node.ndim == 2:
            found.append((name, node[...]))
    found = []
    f.visititems(visit)
    for name, data in found:
        del f[name]
        f.create_dataset(name, data=data, chunks=(2, 1), compression="gzip", shuffle=True, fletcher32=True)


copy("sequential", "compressed", compress)
cases["compressed"] = cases["sequential"]


# The layout of Keras 2: batch_input_shape in the first layer, no policy objects, weights with ":0", fixed-length names.
def keras2(config):
    layers = []
    for layer in config["config"]["layers"][1:]:
        c = {k: v for k, v in layer["config"].items() if k != "quantization_config"}
        c["dtype"] = "float32"
        layers.append({"class_name": layer["class_name"], "config": c})
    layers[0]["config"]["batch_input_shape"] = [None, 4]
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}


edit("sequential", "keras2", keras2)
with h5py.File(path("keras2"), "r+") as f:
    f.attrs["keras_version"] = np.bytes_("2.15.0")
    group = f["model_weights"]
    for layer in group.attrs["layer_names"]:
        names = list(group[layer].attrs["weight_names"])
        for name in names:
            group[layer].move(name, name + ":0")
        if names:
            group[layer].attrs["weight_names"] = np.array([np.bytes_(name + ":0") for name in names])
    group.attrs["layer_names"] = np.array([np.bytes_(name) for name in group.attrs["layer_names"]])
cases["keras2"] = cases["sequential"]

# What must be refused.
keras.Sequential([keras.Input((4,)), L.Lambda(lambda v: v * 2), L.Dense(1)]).save(path("lambda"))


@keras.saving.register_keras_serializable("mine")
class Twice(L.Layer):
    def call(self, v):
        return v * 2


@keras.saving.register_keras_serializable("mine")
def twice(v):
    return v * 2


keras.Sequential([keras.Input((4,)), Twice(), L.Dense(1)]).save(path("custom-layer"))
keras.Sequential([keras.Input((4,)), L.Dense(1, activation=twice)]).save(path("custom-activation"))
keras.Sequential([keras.Input((4, 2)), L.LSTM(3)]).save(path("lstm"))
keras.Sequential([keras.Input((4, 2)), L.Dense(3)]).save(path("dense-on-matrix"))
keras.Sequential([keras.Input((4,)), keras.Sequential([L.Dense(3)])]).save(path("nested"))
keras.Sequential([keras.Input((4,)), L.Dense(3, dtype="mixed_float16")]).save(path("half"))
keras.Sequential([keras.Input((4,), dtype="float64"), L.Dense(3, dtype="float64")]).save(path("double"))
x = keras.Input((4,))
keras.Model(x, L.Add()([L.Dense(3)(x), L.Dense(3)(x)])).save(path("branch"))
d = L.Dense(4)
keras.Model(x, d(d(x))).save(path("shared-layer"))
keras.Model(x, L.Dropout(0.5)(L.Dense(3)(x), training=True)).save(path("always-dropout"))
keras.Model([x, keras.Input((2,))], L.Dense(3)(x)).save(path("two-inputs"))
compiled.save_weights(os.path.join(folder, "only.weights.h5"))
os.rename(os.path.join(folder, "only.weights.h5"), path("weights-only"))


def set_layer(index, key, value):
    def change(config):
        config["config"]["layers"][index]["config"][key] = value
    return change


edit("sequential", "units-bomb", set_layer(1, "units", 2 ** 40))
edit("sequential", "units-wrong", set_layer(1, "units", 7))
edit("sequential", "units-text", set_layer(1, "units", "6"))
edit("sequential", "input-bomb", set_layer(0, "batch_shape", [None, 2 ** 31, 2 ** 31]))
edit("sequential", "foreign-module", lambda c: c["config"]["layers"][1].update(module="os", registered_name="system"))
edit("sequential", "no-layers", lambda c: c["config"].update(layers=[]))
edit("sequential", "same-names", set_layer(3, "name", "dense_99"))

with h5py.File(path("sequential")) as f:
    g = f["model_weights"]
    first = [k for k in g.attrs["layer_names"] if len(g[k].attrs["weight_names"])][0]
    kernel = "model_weights/%s/%s" % (first, g[first].attrs["weight_names"][0])


def replace(make):
    def change(f):
        del f[kernel]
        make(f)
    return change


def nan(f):
    f[kernel][0, 0] = np.nan


def virtual(f):
    layout = h5py.VirtualLayout((4, 6), "f4")
    layout[...] = h5py.VirtualSource("/etc/hostname", "data", (4, 6))
    f.create_virtual_dataset(kernel, layout)


copy("sequential", "nan", nan)
copy("sequential", "missing-weight", replace(lambda f: None))
copy("sequential", "external-storage", replace(lambda f: f.create_dataset(kernel, (4, 6), "f4", external=[("/etc/passwd", 0, 96)])))
copy("sequential", "external-link", replace(lambda f: f.__setitem__(kernel, h5py.ExternalLink("/etc/hostname", "/data"))))
copy("sequential", "soft-link", replace(lambda f: f.__setitem__(kernel, h5py.SoftLink("/model_weights"))))
copy("sequential", "virtual", replace(virtual))
copy("sequential", "chunk-bomb", replace(lambda f: f.create_dataset(kernel, (2 ** 20, 2 ** 20), "f4", chunks=(64, 64), compression="gzip")))
copy("sequential", "zip-bomb", replace(lambda f: f.create_dataset(kernel, (2 ** 12, 2 ** 12), "f4", chunks=(2 ** 9, 2 ** 9), compression="gzip", data=np.zeros((2 ** 12, 2 ** 12), "f4"))))
copy("sequential", "never-written", replace(lambda f: f.create_dataset(kernel, (4, 6), "f4")))
copy("sequential", "double-weights", replace(lambda f: f.create_dataset(kernel, data=np.zeros((4, 6), "f8"))))
copy("sequential", "big-endian", replace(lambda f: f.create_dataset(kernel, data=np.zeros((4, 6), ">f4"))))
copy("sequential", "whole-numbers", replace(lambda f: f.create_dataset(kernel, data=np.zeros((4, 6), "i4"))))
copy("sequential", "lzf", replace(lambda f: f.create_dataset(kernel, data=np.zeros((4, 6), "f4"), chunks=(2, 2), compression="lzf")))
copy("sequential", "config-not-json", lambda f: f.attrs.__setitem__("model_config", "{not json"))
copy("sequential", "config-not-text", lambda f: f.attrs.__setitem__("model_config", np.zeros(4)))


def cycle(f):
    f["model_weights/again"] = f["model_weights"]


copy("sequential", "cycle", cycle)
cases["cycle"] = cases["sequential"]


def deep(f):
    group = f
    for _ in range(60):
        group = group.create_group("g")


copy("sequential", "deep", deep)
with h5py.File(path("sequential")) as a, h5py.File(path("latest"), "w", libver="latest") as b:
    for key, value in a.attrs.items():
        b.attrs[key] = value
    a.copy("model_weights", b)
cases["latest"] = cases["sequential"]
with h5py.File(path("user-block"), "w", userblock_size=512) as b:
    b.attrs["x"] = 1
with h5py.File(path("empty"), "w") as b:
    pass

json.dump(cases, sys.stdout)
