"""MNIST with Keras in a swarm, as a user of HPE Swarm Learning writes it: one callback more than the program alone."""
import importlib.util
import os
import sys

if "KERAS_BACKEND" not in os.environ and importlib.util.find_spec("jax"):
    os.environ["KERAS_BACKEND"] = "jax"

import keras  # noqa: E402  (the backend is chosen before)
import mnist_data  # noqa: E402

BATCH = 128
MEASURED = 200  # test images of each class that measure every round; all of them measure the final model


def build():
    model = keras.Sequential([
        keras.layers.Input((28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(256, activation="relu"),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ])
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def callback(sync_frequency, min_peers, validation, epochs):
    from swarmlearning.tf import SwarmCallback
    return SwarmCallback(syncFrequency=sync_frequency,
                         minPeers=min_peers,
                         adsValData=validation,
                         adsValBatchSize=1000,
                         totalEpochs=epochs)


def main(make_callback=callback, saved="Saved the trained model - %s"):
    model_dir = os.environ.get("MODEL_DIR", "./model")
    epochs = int(os.environ.get("MAX_EPOCHS", "5"))
    min_peers = int(os.environ.get("MIN_PEERS", "2"))
    sync_frequency = int(os.environ.get("SYNC_FREQUENCY", "128"))
    try:
        (x_train, y_train), (x_test, y_test) = mnist_data.from_environment()
        seed = mnist_data.site_seed()
    except mnist_data.DataError as error:
        sys.exit(f"train_keras.py: {error}")
    if seed is not None:
        keras.utils.set_random_seed(seed)
    print(f"{len(x_train)} training images, of each class {mnist_data.counts(y_train)}")
    x_train, x_test = x_train.astype("float32") / 255, x_test.astype("float32") / 255
    part = mnist_data.balanced(y_test, MEASURED)

    model = build()
    swarm = make_callback(sync_frequency, min_peers, (x_test[part], y_test[part]), epochs)
    model.fit(x_train, y_train, batch_size=BATCH, epochs=epochs, verbose=2, callbacks=[swarm])

    _loss, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
    print(f"final test accuracy: {accuracy:.4f}")
    os.makedirs(model_dir, exist_ok=True)
    path = os.path.join(model_dir, "mnist.keras")
    model.save(path)
    print(saved % path)


if __name__ == "__main__":
    main()
