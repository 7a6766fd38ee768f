"""MNIST with Keras in a swarm, as a user of HPE Swarm Learning writes it: one callback more than the program alone."""
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402  (the backend is chosen before)
import mnist_data  # noqa: E402
from swarmlearning.tf import SwarmCallback  # noqa: E402

VALIDATION = 2000  # test images that measure each round


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


def main():
    model_dir = os.environ.get("MODEL_DIR", "./model")
    epochs = int(os.environ.get("MAX_EPOCHS", "5"))
    (x_train, y_train), (x_test, y_test) = mnist_data.from_environment()
    x_train, x_test = x_train / 255.0, x_test / 255.0
    if "SEED" in os.environ:
        keras.utils.set_random_seed(int(os.environ["SEED"]) + int(os.environ.get("SITE", os.environ.get("STARLING_NODE_INDEX", "0"))))
    model = build()
    swarm = SwarmCallback(syncFrequency=int(os.environ.get("SYNC_FREQUENCY", "128")), minPeers=int(os.environ.get("MIN_PEERS", "2")),
                          adsValData=(x_test[:VALIDATION], y_test[:VALIDATION]), adsValBatchSize=500, totalEpochs=epochs)
    model.fit(x_train, y_train, batch_size=128, epochs=epochs, verbose=2, callbacks=[swarm])
    _loss, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
    print(f"final test accuracy: {accuracy:.4f}")
    path = os.path.join(model_dir, "mnist.keras")
    model.save(path)
    print(f"Saved the trained model - {path}")


if __name__ == "__main__":
    main()
