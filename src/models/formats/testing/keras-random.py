"""Random architectures: argv[2] of them, by the seed argv[3]. Chains, branches and joins of layers that fit."""
count, first = int(sys.argv[2]), int(sys.argv[3])
activations = ["relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "linear", "softmax", "hard_sigmoid", "leaky_relu"]


class Maker:
    def __init__(self, seed):
        self.r = np.random.default_rng(seed)
        keras.utils.set_random_seed(seed)

    def pick(self, *choices):
        return choices[int(self.r.integers(len(choices)))]

    def number(self, low, high):
        return int(self.r.integers(low, high + 1))

    def activation(self):
        return str(self.r.choice(activations))

    def flat(self, x):
        n = x.shape[-1]
        return self.pick(
            lambda: L.Dense(self.number(1, 12), activation=self.activation(), use_bias=bool(self.number(0, 1)))(x),
            lambda: L.BatchNormalization(scale=bool(self.number(0, 1)), center=bool(self.number(0, 1)))(x),
            lambda: L.LayerNormalization()(x),
            lambda: L.Dropout(0.3)(x),
            lambda: L.Reshape((n, 1))(x),
            lambda: L.RepeatVector(self.number(2, 5))(x),
            lambda: L.Concatenate()([x, L.Dense(3)(x)]),
            lambda: self.pick(L.Add, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Subtract)()([x, L.Dense(n, activation=self.activation())(x)]),
            lambda: keras.Sequential([keras.Input((n,)), L.Dense(4, activation=self.activation()), L.BatchNormalization()])(x),
        )()

    def steps(self, x):
        time, n = x.shape[1], x.shape[2]
        recurrent = self.pick(L.LSTM, L.GRU, L.SimpleRNN)
        options = {"return_sequences": bool(self.number(0, 3)), "activation": self.pick("tanh", "relu", "sigmoid")}
        if recurrent is L.GRU:
            options["reset_after"] = bool(self.number(0, 1))
        return self.pick(
            lambda: L.Conv1D(self.number(1, 6), self.number(1, min(3, time or 3)), padding=self.pick("same", "causal", "valid"), activation=self.activation())(x),
            lambda: L.Conv1D(self.number(1, 6), 2, strides=2, padding="same")(x),
            lambda: recurrent(self.number(1, 6), go_backwards=bool(self.number(0, 1)), **options)(x),
            lambda: L.Bidirectional(recurrent(self.number(1, 4), **options), merge_mode=self.pick("concat", "sum", "ave", "mul"))(x),
            lambda: L.Dense(self.number(1, 8), activation=self.activation())(x),
            lambda: L.TimeDistributed(L.Dense(3, activation=self.activation()))(x),
            lambda: self.pick(L.GlobalMaxPooling1D, L.GlobalAveragePooling1D)()(x),
            lambda: self.pick(L.MaxPooling1D, L.AveragePooling1D)(2, padding="same")(x),
            lambda: L.LayerNormalization(epsilon=0.1)(x),
            lambda: L.BatchNormalization()(x),
            lambda: L.ZeroPadding1D(1)(x),
            lambda: L.Add()([x, L.MultiHeadAttention(self.number(1, 3), self.number(1, 4))(x, x)]),
            lambda: L.Permute((2, 1))(x) if time else x,
            lambda: L.Flatten()(x) if time else x,
            lambda: L.Concatenate()([x, L.Conv1D(2, 3, padding="same")(x)]),
        )()

    def image(self, x):
        height, width, n = x.shape[1:]
        small = min(3, height or 3, width or 3)
        kernel = (self.number(1, small), self.number(1, small))
        return self.pick(
            lambda: L.Conv2D(self.number(1, 6), kernel, strides=self.pick(1, 1, 2), padding="same", activation=self.activation())(x),
            lambda: L.Conv2D(self.number(1, 6), kernel, padding="valid", use_bias=False)(x),
            lambda: L.Conv2D(4, kernel, dilation_rate=2, padding="same")(x),
            lambda: L.DepthwiseConv2D(kernel, padding="same", depth_multiplier=self.number(1, 2))(x),
            lambda: L.SeparableConv2D(self.number(1, 5), kernel, padding="same", activation=self.activation())(x),
            lambda: L.Conv2DTranspose(self.number(1, 4), kernel, strides=self.pick(1, 2), padding=self.pick("same", "valid"))(x),
            lambda: self.pick(L.MaxPooling2D, L.AveragePooling2D)(2, strides=self.pick(1, 2), padding="same")(x),
            lambda: self.pick(L.GlobalMaxPooling2D, L.GlobalAveragePooling2D)()(x),
            lambda: L.BatchNormalization()(x),
            lambda: L.LayerNormalization(epsilon=0.1)(x),
            lambda: L.ReLU(max_value=self.pick(None, 6.0), negative_slope=self.pick(0.0, 0.1))(x),
            lambda: L.ZeroPadding2D(((0, 1), (1, 0)))(x),
            lambda: L.UpSampling2D(self.pick(1, 2))(x) if (height or 9) < 9 else x,
            lambda: L.Add()([x, L.Conv2D(n, 3, padding="same", activation=self.activation())(x)]),
            lambda: L.Concatenate()([x, L.Conv2D(2, 1)(x)]),
            lambda: L.Multiply()([x, L.Dense(n, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))]),
            lambda: L.Reshape((height * width, n))(x) if height and width else x,
            lambda: L.Flatten()(x) if height and width and height * width * n < 500 else x,
        )()

    def model(self):
        kind = self.number(0, 4)
        entry = [
            lambda: keras.Input((self.number(1, 12),)),
            lambda: keras.Input((self.pick(None, self.number(2, 8)), self.number(1, 5))),
            lambda: keras.Input((self.number(3, 9), self.number(3, 9), self.number(1, 4))),
            lambda: keras.Input((None, None, self.number(1, 3))),
            lambda: keras.Input((self.pick(None, 6),), dtype="int32"),
        ][kind]()
        x = L.Embedding(6, self.number(1, 6), mask_zero=False)(entry) if kind == 4 else entry
        outputs = []
        for _ in range(self.number(1, 9)):
            x = {2: self.flat, 3: self.steps, 4: self.image}[len(x.shape)](x)
            if self.number(0, 9) == 0:
                outputs.append(x)
        return keras.Model(entry, [*outputs, x] if all(o is not x for o in outputs) and outputs else x)


for n in range(count):
    try:
        model = Maker(first + n).model()
        rng = np.random.default_rng(first + n)
        save("random-%d" % (first + n), model, open_size=7, formats=[".keras", ".h5"] if n % 10 == 0 else [".keras"])
    except (ValueError, TypeError, ZeroDivisionError):
        pass  # layers that do not fit after all, mostly where a variable size has become small; Keras refuses them too

finish()
