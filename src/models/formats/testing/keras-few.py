"""Three models of different kinds, to be damaged."""
save("sequential", keras.Sequential([keras.Input((4,)), L.Dense(6, activation="relu"), L.Dropout(0.3), L.Dense(1, activation="sigmoid")]))
x = keras.Input((6, 6, 2))
y = L.Add()([L.Conv2D(3, 3, padding="same", activation="relu")(x), L.DepthwiseConv2D(3, padding="same")(L.Conv2D(3, 1)(x))])
y = L.Concatenate()([L.BatchNormalization()(y), L.MaxPooling2D(3, strides=1, padding="same")(y)])
save("branches", keras.Model(x, [L.Dense(2, activation="softmax")(L.Flatten()(y)), L.GlobalAveragePooling2D()(y)]))
save("recurrent", keras.Sequential([keras.Input((None,), dtype="int32"), L.Embedding(6, 3, mask_zero=True), L.LSTM(3, return_sequences=True), L.Bidirectional(L.GRU(2)), L.Reshape((2, 2)), L.LayerNormalization(), L.Permute((2, 1)), L.Flatten()]))
finish()
