"""MNIST with PyTorch in a swarm, as a user of HPE Swarm Learning writes it: the callback's four hooks in an ordinary loop."""
import importlib.util
import os
import sys

import mnist_data
import torch
from swarmlearning.pyt import SwarmCallback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 128
MEASURED = 200  # test images of each class that measure every round; all of them measure the final model
# Each round's accuracy needs the package torchmetrics; without it a round has its loss only.
METRIC = {} if importlib.util.find_spec("torchmetrics") is None else {
    "metricFunction": "Accuracy", "metricFunctionArgs": {"task": "multiclass", "num_classes": 10}}


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def tensors(images, labels):
    return torch.from_numpy(images.astype("float32") / 255), torch.from_numpy(labels.astype("int64"))


def accuracy_of(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def main():
    model_dir = os.environ.get("MODEL_DIR", "./model")
    epochs = int(os.environ.get("MAX_EPOCHS", "5"))
    min_peers = int(os.environ.get("MIN_PEERS", "2"))
    sync_frequency = int(os.environ.get("SYNC_FREQUENCY", "128"))
    try:
        (x_train, y_train), (x_test, y_test) = mnist_data.from_environment()
        seed = mnist_data.site_seed()
    except mnist_data.DataError as error:
        sys.exit(f"train_pytorch.py: {error}")
    if seed is not None:
        torch.manual_seed(seed)
    print(f"{len(x_train)} training images, of each class {mnist_data.counts(y_train)}")
    part = mnist_data.balanced(y_test, MEASURED)
    loader = DataLoader(TensorDataset(*tensors(x_train, y_train)), batch_size=BATCH, shuffle=True)
    measured = DataLoader(TensorDataset(*tensors(x_test[part], y_test[part])), batch_size=1000)

    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()
    swarm = SwarmCallback(syncFrequency=sync_frequency,
                          minPeers=min_peers,
                          model=model,
                          adsValData=measured,
                          lossFunction="CrossEntropyLoss",
                          totalEpochs=epochs,
                          **METRIC)
    swarm.on_train_begin()
    for epoch in range(epochs):
        model.train()
        for batch, (images, labels) in enumerate(loader):
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            swarm.on_batch_end(batch)
        swarm.on_epoch_end(epoch)
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.4f}")
    swarm.on_train_end()

    print(f"final test accuracy: {accuracy_of(model, *tensors(x_test, y_test)):.4f}")
    os.makedirs(model_dir, exist_ok=True)
    path = os.path.join(model_dir, "mnist.pt")
    torch.save(model.state_dict(), path)
    print(f"Saved the trained model - {path}")


if __name__ == "__main__":
    main()
