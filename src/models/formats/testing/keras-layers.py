"""Every layer that is converted, with its options, one small model each."""


def one(name, shape, *layers, dtype="float32", **options):
    save(name, keras.Sequential([keras.Input(shape, dtype=dtype), *layers]), **options)


def all_of(**options):
    """Every combination of the options, as (label, keywords)."""
    found = [("", {})]
    for key, values in options.items():
        found = [(label + "-" + str(value).replace(" ", ""), {**given, key: value}) for label, given in found for value in values]
    return found


# Dense, activations
for name in ["linear", "relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax", "softplus", "softsign", "exponential",
             "elu", "selu", "gelu", "silu", "mish", "hard_sigmoid", "hard_silu", "leaky_relu", "celu", "hard_tanh",
             "hard_shrink", "soft_shrink", "tanh_shrink", "log_sigmoid", "sparse_sigmoid", "sparse_plus", "squareplus"]:
    one("dense-" + name, (5,), L.Dense(4, activation=name))
    one("activation-" + name, (3, 4), L.Activation(name))
one("dense-no-bias", (5,), L.Dense(4, use_bias=False))
one("dense-on-matrix", (3, 5), L.Dense(4, activation="softmax"), L.Dense(2, use_bias=False))
one("dense-on-images", (3, 2, 5), L.Dense(4, activation="relu"))
one("dense-variable", (None, 5), L.Dense(4))
one("dense-with-layer", (5,), L.Dense(4, activation=L.LeakyReLU(0.05)))
one("dense-of-integers", (5,), L.Dense(4), dtype="int32")
for i, layer in enumerate([L.ReLU(), L.ReLU(max_value=1.2), L.ReLU(negative_slope=0.2), L.ReLU(threshold=0.4),
                           L.ReLU(max_value=1.1, negative_slope=0.1, threshold=0.3), L.ReLU(max_value=2, threshold=0.5),
                           L.ReLU(negative_slope=0.3, threshold=0.2), L.LeakyReLU(0.15), L.ELU(0.7), L.PReLU(), L.PReLU(shared_axes=[1]),
                           L.Softmax(), L.Softmax(axis=1), L.Softmax(axis=-2)]):
    one("pointwise-%d" % i, (4, 3), layer)
one("prelu-after-conv", (6, 6, 2), L.Conv2D(3, 3), L.PReLU(shared_axes=[1, 2]), L.Softmax(axis=-1))

# Convolutions
for label, o in all_of(padding=["valid", "same", "causal"], strides=[1, 2], use_bias=[True, False]):
    one("conv1d" + label, (9, 4), L.Conv1D(6, 3, activation="relu", **o))
for label, o in all_of(padding=["valid", "same", "causal"], dilation_rate=[2, 3]):
    one("conv1d-dilated" + label, (11, 4), L.Conv1D(6, 3, **o))
one("conv-softmax", (6, 6, 2), L.Conv2D(3, 3, activation="softmax"), L.Conv2D(3, 2, activation="log_softmax"))
one("conv1d-groups", (9, 4), L.Conv1D(6, 3, groups=2))
one("conv1d-variable", (None, 4), L.Conv1D(6, 3, padding="same"), L.Conv1D(5, 4, strides=2, padding="same"), L.Conv1D(3, 3), L.GlobalMaxPooling1D(), open_size=13)
one("conv1d-variable-causal", (None, 4), L.Conv1D(6, 3, padding="causal", dilation_rate=2), L.GlobalAveragePooling1D(), open_size=10)
for label, o in all_of(padding=["valid", "same"], strides=[1, 2, (2, 1)], data_format=["channels_last", "channels_first"]):
    one("conv2d" + label, (8, 7, 4) if o["data_format"] == "channels_last" else (4, 8, 7), L.Conv2D(6, (3, 2), **o))
    one("pool" + label, (8, 7, 4) if o["data_format"] == "channels_last" else (4, 8, 7), L.MaxPooling2D((3, 2), **o), L.AveragePooling2D((2, 3), **o))
for label, o in all_of(padding=["valid", "same"], dilation_rate=[2, (1, 3)], groups=[1, 2]):
    one("conv2d-dilated" + label, (12, 13, 4), L.Conv2D(6, 3, **o))
one("conv2d-variable", (None, None, 3), L.Conv2D(4, 3, strides=2, padding="same"), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(2, padding="same"), L.Conv2D(2, 1), L.GlobalAveragePooling2D(), open_size=11)
one("conv3d", (5, 6, 7, 2), L.Conv3D(3, 2, padding="same", strides=2), L.MaxPooling3D(2), L.GlobalAveragePooling3D())
for label, o in all_of(padding=["valid", "same"], depth_multiplier=[1, 2], strides=[1, 2], data_format=["channels_last", "channels_first"]):
    one("depthwise2d" + label, (8, 7, 4) if o["data_format"] == "channels_last" else (4, 8, 7), L.DepthwiseConv2D(3, **o))
    one("separable2d" + label, (8, 7, 4) if o["data_format"] == "channels_last" else (4, 8, 7), L.SeparableConv2D(5, 3, activation="tanh", **o))
one("depthwise2d-dilated", (9, 9, 4), L.DepthwiseConv2D(3, dilation_rate=2, padding="same", use_bias=False))
one("depthwise1d", (9, 4), L.DepthwiseConv1D(3, depth_multiplier=2))
one("separable1d", (9, 4), L.SeparableConv1D(5, 3, padding="same", use_bias=False))
for label, o in all_of(padding=["valid", "same"], strides=[1, 2, 3, 4], kernel_size=[1, 2, 3, 4, 5]):
    one("transposed2d" + label, (5, 4, 3), L.Conv2DTranspose(4, **o))
one("transposed1d", (6, 3), L.Conv1DTranspose(4, 3, strides=2, padding="same"))
one("transposed2d-first", (3, 5, 4), L.Conv2DTranspose(4, 3, strides=2, data_format="channels_first"))
one("transposed2d-variable", (None, None, 3), L.Conv2DTranspose(4, 3, strides=2, padding="same"))

# Pools
for label, o in all_of(padding=["valid", "same"], strides=[None, 1, 3]):
    one("pool1d" + label, (10, 3), L.MaxPooling1D(2, **o), L.AveragePooling1D(3, **o))
for kind in ["Max", "Average"]:
    for keep in [False, True]:
        one("global-%s-%s-1" % (kind, keep), (6, 3), getattr(L, "Global%sPooling1D" % kind)(keepdims=keep))
        one("global-%s-%s-2" % (kind, keep), (6, 5, 3), L.Conv2D(2, 2), getattr(L, "Global%sPooling2D" % kind)(keepdims=keep))
        one("global-%s-%s-first" % (kind, keep), (3, 6, 5), getattr(L, "Global%sPooling2D" % kind)(keepdims=keep, data_format="channels_first"))
        one("global-%s-%s-first1" % (kind, keep), (3, 6), getattr(L, "Global%sPooling1D" % kind)(keepdims=keep, data_format="channels_first"))

# Normalisation
for label, o in all_of(axis=[-1, 1, 2], scale=[True, False], center=[True, False]):
    one("batch" + label, (4, 5, 3), L.BatchNormalization(epsilon=0.01, **o))
one("batch-flat", (5,), L.BatchNormalization())
one("batch-after-conv", (6, 6, 2), L.Conv2D(3, 3, use_bias=False), L.BatchNormalization(), L.Activation("relu"), L.Conv2D(2, 3), L.BatchNormalization(axis=3), L.Flatten(), L.Dense(2))
for label, o in all_of(axis=[-1, [1, 2], [2], [1], [2, 3], [1, 2, 3]], scale=[True, False], center=[True, False]):
    one("layer" + label, (4, 5, 3), L.LayerNormalization(epsilon=0.01, **o))
one("layer-variable", (None, 5), L.LayerNormalization())
for label, o in all_of(groups=[1, 2, -1], axis=[-1, 1]):
    one("group" + label, (4, 5, 4), L.GroupNormalization(**o))
one("unit", (4, 3), L.UnitNormalization(), L.UnitNormalization(axis=1))
one("normalization", (4, 3), L.Normalization())
one("normalization-1", (4, 3), L.Normalization(axis=1))
one("normalization-given", (4, 3), L.Normalization(mean=[1.0, 2.0, 3.0], variance=[2.0, 0.5, 1.0]))
one("normalization-scalar", (4, 3), L.Normalization(axis=None, mean=1.5, variance=2.0))
one("rescaling", (4, 4, 3), L.Rescaling(1 / 127.5, -1), L.Conv2D(2, 2))
one("rescaling-bytes", (4, 4, 3), L.Rescaling(1 / 255), dtype="uint8", inputs=[rng.integers(0, 255, (2, 4, 4, 3)).astype("uint8")])
one("rescaling-list", (4, 4, 3), L.Rescaling([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]))

# Shapes
one("flatten", (3, 4, 2), L.Flatten(), L.Dense(3))
one("flatten-first", (3, 4, 2), L.Flatten(data_format="channels_first"))
one("flatten-conv", (5, 6, 2), L.Conv2D(3, 2), L.Flatten(), L.Dense(3))
one("flatten-flat", (3,), L.Flatten(), L.Dense(3))
one("reshape", (12,), L.Reshape((3, 4)), L.Reshape((-1, 2)), L.Reshape((2, 3, 2)))
one("reshape-variable", (None, 4), L.Reshape((-1, 2)))
one("permute", (3, 4, 2), L.Permute((2, 3, 1)))
one("repeat", (3,), L.RepeatVector(4), L.LSTM(2))
one("padding1d", (4, 3), L.ZeroPadding1D(2), L.ZeroPadding1D((1, 0)), L.Cropping1D((2, 1)))
one("padding2d", (4, 5, 3), L.ZeroPadding2D(1), L.ZeroPadding2D((2, 1)), L.ZeroPadding2D(((1, 0), (0, 2))), L.Cropping2D(((1, 2), (0, 1))))
one("padding2d-first", (3, 4, 5), L.ZeroPadding2D(((1, 0), (0, 2)), data_format="channels_first"), L.Cropping2D(1, data_format="channels_first"))
one("padding-conv", (6, 6, 2), L.Conv2D(3, 3), L.ZeroPadding2D(((0, 1), (0, 1))), L.DepthwiseConv2D(3, strides=2), L.UpSampling2D(2), L.Cropping2D(((1, 0), (0, 1))))
one("upsampling", (3, 4, 2), L.UpSampling2D((2, 3)))
one("upsampling1d", (3, 4), L.UpSampling1D(3))
one("upsampling-first", (2, 3, 4), L.UpSampling2D(2, data_format="channels_first"))
one("upsampling-variable", (None, None, 2), L.Conv2D(2, 1), L.UpSampling2D(2), L.Conv2D(2, 3, padding="same"))
one("dropouts", (4, 3), L.Dropout(0.5), L.SpatialDropout1D(0.5), L.GaussianNoise(0.3), L.GaussianDropout(0.3), L.AlphaDropout(0.3), L.ActivityRegularization(0.1), L.Identity())
one("augmentation", (8, 8, 3), L.RandomFlip(), L.RandomRotation(0.1), L.RandomZoom(0.1), L.RandomContrast(0.1), L.RandomTranslation(0.1, 0.1), L.Conv2D(2, 3))

# Embeddings and recurrent layers
one("embedding", (7,), L.Embedding(6, 4), L.GlobalAveragePooling1D(), L.Dense(2), dtype="int32")
one("embedding-wide", (None,), L.Embedding(6, 4), L.Conv1D(3, 2), L.GlobalMaxPooling1D(), dtype="int64")
one("embedding-float", (7,), L.Embedding(6, 4), L.Flatten(), inputs=[rng.integers(0, 6, (3, 7)).astype("float32")])
for label, o in all_of(return_sequences=[False, True], go_backwards=[False, True], use_bias=[True, False]):
    for kind in ["LSTM", "GRU", "SimpleRNN"]:
        one(kind + label, (6, 3), getattr(L, kind)(4, dropout=0.2, **o))
    one("GRU-before" + label, (6, 3), L.GRU(4, reset_after=False, **o))
for activation in ["relu", "sigmoid", "linear", "elu", "softsign", "softplus", "hard_sigmoid"]:
    for kind in ["LSTM", "GRU", "SimpleRNN"]:
        one(kind + "-" + activation, (5, 3), getattr(L, kind)(4, activation=activation))
    for kind in ["LSTM", "GRU"]:
        one(kind + "-gate-" + activation, (5, 3), getattr(L, kind)(4, activation=activation, recurrent_activation="hard_sigmoid"))
one("stacked-variable", (None, 3), L.LSTM(4, return_sequences=True), L.Bidirectional(L.GRU(3, return_sequences=True)), L.SimpleRNN(2), open_size=8)
for label, o in all_of(merge_mode=["concat", "sum", "ave", "mul"]):
    for kind in ["LSTM", "GRU", "SimpleRNN"]:
        one("bidirectional-" + kind + label, (5, 3), L.Bidirectional(getattr(L, kind)(4, return_sequences=True), **o), L.Bidirectional(getattr(L, kind)(2), **o))
one("bidirectional-unlike", (5, 3), L.Bidirectional(L.LSTM(4), backward_layer=L.LSTM(3, go_backwards=True)))
one("bidirectional-mixed", (5, 3), L.Bidirectional(L.LSTM(4, return_sequences=True), backward_layer=L.GRU(4, go_backwards=True, return_sequences=True), merge_mode="sum"))
x = keras.Input((5, 3))
save("lstm-states", keras.Model(x, L.LSTM(4, return_sequences=True, return_state=True)(x)))
save("gru-states", keras.Model(x, L.GRU(4, return_state=True)(x)))
save("bidirectional-states", keras.Model(x, L.Bidirectional(L.LSTM(4, return_state=True))(x)))
save("bidirectional-pair", keras.Model(x, L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode=None)(x)))
a, h, c = L.LSTM(4, return_state=True)(x)
z = keras.Input((None, 2))
save("sequence-to-sequence", keras.Model([x, z], L.Dense(3, activation="softmax")(L.LSTM(4, return_sequences=True)(z, initial_state=[h, c]))))
one("time-distributed", (4, 5), L.TimeDistributed(L.Dense(3, activation="relu")))
one("time-distributed-conv", (4, 6, 6, 2), L.TimeDistributed(L.Conv2D(3, 3)), L.TimeDistributed(L.MaxPooling2D(2)), L.TimeDistributed(L.Flatten()), L.LSTM(3))
one("time-distributed-variable", (None, 5, 2), L.TimeDistributed(L.Conv1D(3, 2)), L.TimeDistributed(L.GlobalMaxPooling1D()))

# Masks: steps that do not count, at the end, at the beginning, in the middle, all of them
words = np.array([[1, 2, 3, 0, 0, 0], [0, 0, 4, 5, 1, 2], [1, 0, 2, 0, 0, 3], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 1]], "int32")
for kind in ["LSTM", "GRU", "SimpleRNN"]:
    for sequences in [False, True]:
        one("masked-%s-%s" % (kind, sequences), (6,), L.Embedding(6, 4, mask_zero=True), getattr(L, kind)(3, return_sequences=sequences), dtype="int32", inputs=[words])
        one("masked-bi-%s-%s" % (kind, sequences), (6,), L.Embedding(6, 4, mask_zero=True), L.Bidirectional(getattr(L, kind)(3, return_sequences=sequences)), dtype="int32", inputs=[words])
one("masked-stack", (None,), L.Embedding(6, 4, mask_zero=True), L.Dropout(0.3), L.LSTM(3, return_sequences=True), L.LayerNormalization(), L.Dense(4, activation="relu"), L.GRU(3), L.Dense(2), dtype="int32", inputs=[words])
one("masked-mean", (6,), L.Embedding(6, 4, mask_zero=True), L.GlobalAveragePooling1D(), L.Dense(2), dtype="int32", inputs=[words[[0, 1, 2, 4]]])
one("masked-forgotten", (6,), L.Embedding(6, 4, mask_zero=True), L.Conv1D(3, 2), L.GlobalAveragePooling1D(), dtype="int32", inputs=[words])
one("masked-flat", (6,), L.Embedding(6, 4, mask_zero=True), L.Flatten(), L.Dense(2), dtype="int32", inputs=[words])
steps = rng.normal(0, 1, (4, 6, 3)).astype("float32")
steps[0, 3:] = 0
steps[1, :2] = 0
steps[2, ::2] = 0
one("masking", (6, 3), L.Masking(), L.LSTM(4, return_sequences=True), L.Bidirectional(L.GRU(2)), inputs=[steps])
steps = np.where(steps == 0, np.float32(-1), steps)
one("masking-value", (6, 3), L.Masking(-1.0), L.Dense(3), L.SimpleRNN(4), inputs=[steps])

# Several inputs, branches, shared layers, models in models
a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
for kind in ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]:
    save("merge-" + kind, keras.Model([a, b], getattr(L, kind)()([a, L.Dense(4)(b)])))
for kind in ["Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]:
    save("merge3-" + kind, keras.Model([a, b], getattr(L, kind)()([a, b, L.Dense(4)(b)])))
save("operators", keras.Model([a, b], ((a * 2.0 + b) - 0.5) / 3.0 * b), formats=[".keras"])
for axes in [1, 2, (1, 2), (2, 1)]:
    for normalize in [False, True]:
        p, q = keras.Input((4, 4)), keras.Input((4, 4))
        save("dot-%s-%s" % (axes, normalize), keras.Model([p, q], L.Dot(axes, normalize=normalize)([p, q])))
save("dot-flat", keras.Model([a, b], L.Dot(1, normalize=True)([a, b])))
p, q = keras.Input((3, 5)), keras.Input((2, 5))
save("concatenate-1", keras.Model([p, q], L.Concatenate(axis=1)([p, q])))
x = keras.Input((8, 8, 3))
y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
z = L.Add()([L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(y)), y])
z = L.Concatenate()([z, L.MaxPooling2D(3, strides=1, padding="same")(z), L.Conv2D(2, 1)(x)])
w = L.Multiply()([z, L.Dense(10, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(z))])
save("residual", keras.Model(x, [L.Dense(3, name="classes", activation="softmax")(L.GlobalAveragePooling2D()(w)), L.Conv2D(1, 1, name="map")(w)]))
shared = L.Dense(4, activation="tanh")
save("shared", keras.Model([a, b], L.Concatenate()([shared(shared(a)), shared(b)])))
inner = keras.Sequential([keras.Input((4,)), L.Dense(3, activation="relu"), L.BatchNormalization(), L.Dense(4)], name="encoder")
x = keras.Input((4,))
i = L.Dense(4)(x)
other = keras.Model(x, [L.BatchNormalization()(i), L.Dense(2)(i)], name="heads")
u, v = other(inner(a))
t, s = other(inner(inner(b)))
save("nested", keras.Model([a, b], L.Concatenate()([u, t, s, L.Dense(3)(v)])))
save("nested-outputs", keras.Model([a, b], [other(inner(a))[0], inner(b), other(b)[1]]))
one("nested-sequential", (4,), keras.Sequential([L.Dense(3), L.Dense(4, activation="relu")]), keras.Sequential([keras.Sequential([L.BatchNormalization(), L.Dense(2)])]))
frozen = keras.Sequential([keras.Input((4,)), L.Dense(3), L.BatchNormalization(), L.Dense(4)], name="frozen")
frozen.layers[0].trainable = False
save("frozen-layer", keras.Model(a, L.Dense(2)(frozen(a))))
cold = keras.Sequential([keras.Input((4,)), L.BatchNormalization(), L.Dense(3), L.BatchNormalization()], name="cold")
cold.trainable = False
save("frozen-model", keras.Model(a, L.Dense(2)(cold(a))))

# Attention
x, m = keras.Input((6, 8)), keras.Input((5, 4))
save("attention-self", keras.Model(x, L.MultiHeadAttention(2, 3)(x, x)))
save("attention-cross", keras.Model([x, m], L.MultiHeadAttention(2, 3, value_dim=5, dropout=0.1)(x, m)))
save("attention-key", keras.Model([x, m], L.MultiHeadAttention(3, 2, use_bias=False)(x, m, key=m)))
save("attention-causal", keras.Model(x, L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)))
t = keras.Input((None,), dtype="int32")
e = L.Embedding(6, 8)(t)
block = L.LayerNormalization()(L.Add()([e, L.MultiHeadAttention(2, 4)(e, e)]))
block = L.LayerNormalization()(L.Add()([block, L.Dense(8)(L.Dense(16, activation="gelu")(block))]))
save("transformer", keras.Model(t, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(block))))
e = L.Embedding(6, 8, mask_zero=True)(t)
save("attention-masked", keras.Model(t, L.MultiHeadAttention(2, 4)(e, e)), inputs=[words[[0, 1, 2, 4]]])

finish()
