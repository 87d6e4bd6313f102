"""A few whole models as users have them, and files that are damaged or hostile."""
import zipfile


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


# Whole models.
compiled = keras.Sequential([keras.Input((4,)), L.Dense(6, activation="relu"), L.Dropout(0.3), L.Dense(1, activation="sigmoid")])
compiled.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
compiled.optimizer.build(compiled.trainable_variables)
save("sequential", compiled)

save("flatten", keras.Sequential([keras.Input((3, 4)), L.Flatten(), L.Dense(2, use_bias=False), L.Activation("tanh")]))
save("nothing-to-do", keras.Sequential([keras.Input((5,)), L.Dropout(0.5)]))
late = keras.Sequential([L.Dense(3)])
late.build((None, 4))
save("late-build", late)


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
cases["compressed"] = {**cases["sequential"], "formats": [".h5"]}


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
cases["keras2"] = {**cases["sequential"], "formats": [".h5"]}

# Deep networks: groups with more entries than HDF5 keeps in one node, lists of names that Keras cuts at 64 kB, and
# objects with more than eight attributes.
def tower(layers, name="dense"):
    return keras.Sequential([keras.Input((4,))] + [L.Dense(3, activation="tanh", name="%s_%d" % (name, i)) for i in range(layers)])


def annotate(f):
    for owner in (f, f["model_weights"], f["model_weights/dense_0"]):
        for i in range(30):
            owner.attrs["note_%d" % i] = "x" * 100


save("deep", tower(40))
save("deep-names", tower(80, "dense_" + "x" * 900))
with h5py.File(path("deep-names")) as f:
    assert {"layer_names0", "layer_names1"} < set(f["model_weights"].attrs)
copy("deep", "deep-notes", annotate)
cases["deep-notes"] = {**cases["deep"], "formats": [".h5"]}

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
keras.Sequential([keras.Input(batch_shape=(1, 4, 2)), L.LSTM(3, stateful=True)]).save(path("stateful"))
keras.Sequential([keras.Input((4, 2)), L.TimeDistributed(Twice())]).save(path("custom-inside"))
keras.Sequential([keras.Input((4, 4, 2)), L.ConvLSTM1D(3, 2)]).save(path("conv-lstm"))
keras.Sequential([keras.Input((4, 4, 2)), L.UpSampling2D(2, interpolation="bilinear")]).save(path("bilinear"))
keras.Sequential([keras.Input((4,)), L.Dense(3, dtype="mixed_float16")]).save(path("half"))
keras.Sequential([keras.Input((4,), dtype="float64"), L.Dense(3, dtype="float64")]).save(path("double"))
x = keras.Input((4,))
keras.Model(x, L.Dropout(0.5)(L.Dense(3)(x), training=True)).save(path("always-dropout"))
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
cases["cycle"] = {**cases["sequential"], "formats": [".h5"]}


def nested(f):
    group = f
    for _ in range(60):
        group = group.create_group("g")


copy("sequential", "nested", nested)
with h5py.File(path("sequential")) as a, h5py.File(path("latest"), "w", libver="latest") as b:
    for key, value in a.attrs.items():
        b.attrs[key] = value
    a.copy("model_weights", b)
cases["latest"] = {**cases["sequential"], "formats": [".h5"]}
# More entries than HDF5 1.8 and later keep in the group itself.
with h5py.File(path("sequential")) as a, h5py.File(path("dense-group"), "w", libver="latest") as b:
    a.copy("model_weights", b)
    for i in range(9):
        b.create_group("other_%d" % i)
with h5py.File(path("sequential")) as a, h5py.File(path("dense-attributes"), "w", libver="latest") as b:
    a.copy("model_weights", b)
    for i in range(9):
        b.attrs["note_%d" % i] = i
with h5py.File(path("user-block"), "w", userblock_size=512) as b:
    b.attrs["x"] = 1
with h5py.File(path("empty"), "w") as b:
    pass


# Archives.
def pack(target, change):
    """sequential.keras with its files changed."""
    with zipfile.ZipFile(path("sequential", ".keras")) as a:
        files = {name: a.read(name) for name in a.namelist()}
    change(files)
    with zipfile.ZipFile(path(target, ".keras"), "w") as b:
        for name, data in files.items():
            b.writestr(name, data)


def configured(change):
    def edit_files(files):
        config = json.loads(files["config.json"])
        change(config)
        files["config.json"] = json.dumps(config)
    return edit_files


pack("no-weights", lambda files: files.pop("model.weights.h5"))
pack("no-config", lambda files: files.pop("config.json"))
pack("sharded", lambda files: files.update({"model.weights.json": files.pop("model.weights.h5")}))
pack("other-units", configured(lambda c: c["config"]["layers"][1]["config"].update(units=7)))
pack("other-class", configured(lambda c: c["config"]["layers"][1].update(class_name="EinsumDense", registered_name=None)))
pack("broken-config", lambda files: files.update({"config.json": b"{broken"}))
pack("nested-json", lambda files: files.update({"config.json": b"[" * 200000}))
pack("weights-not-h5", lambda files: files.update({"model.weights.h5": b"no HDF5 at all"}))
with zipfile.ZipFile(path("deflated", ".keras"), "w", zipfile.ZIP_DEFLATED) as b:
    with zipfile.ZipFile(path("sequential", ".keras")) as a:
        for name in a.namelist():
            b.writestr(name, a.read(name))
cases["deflated"] = {**cases["sequential"], "formats": [".keras"]}
with zipfile.ZipFile(path("torch", ".keras"), "w") as b:
    b.writestr("archive/data.pkl", b"")
keras.Sequential([keras.Input((4,)), L.Lambda(lambda v: v * 2), L.Dense(1)]).save(path("lambda", ".keras"))
keras.Sequential([keras.Input((4,)), Twice(), L.Dense(1)]).save(path("custom-layer", ".keras"))

finish()
