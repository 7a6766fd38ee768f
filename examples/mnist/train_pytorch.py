"""MNIST with PyTorch in a swarm, as a user of HPE Swarm Learning writes it: the callback's four hooks in an ordinary loop."""
import os

import mnist_data
import torch
from swarmlearning.pyt import SwarmCallback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VALIDATION = 2000  # test images that measure each round


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def tensors(images, labels):
    return torch.from_numpy(images / 255.0).float(), torch.from_numpy(labels.astype("int64"))


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def main():
    model_dir = os.environ.get("MODEL_DIR", "./model")
    epochs = int(os.environ.get("MAX_EPOCHS", "5"))
    (x_train, y_train), (x_test, y_test) = mnist_data.from_environment()
    train, test = tensors(x_train, y_train), tensors(x_test, y_test)
    if "SEED" in os.environ:
        torch.manual_seed(int(os.environ["SEED"]) + int(os.environ.get("SITE", os.environ.get("STARLING_NODE_INDEX", "0"))))
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True)
    validation = DataLoader(TensorDataset(test[0][:VALIDATION], test[1][:VALIDATION]), batch_size=500)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    swarm = SwarmCallback(syncFrequency=int(os.environ.get("SYNC_FREQUENCY", "128")), minPeers=int(os.environ.get("MIN_PEERS", "2")), model=model,
                          adsValData=validation, lossFunction="CrossEntropyLoss", lossFunctionArgs={"reduction": "sum"}, totalEpochs=epochs)
    swarm.on_train_begin()
    for epoch in range(epochs):
        model.train()
        for batch, (images, labels) in enumerate(loader):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            swarm.on_batch_end(batch)
        swarm.on_epoch_end(epoch)
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.4f}")
    swarm.on_train_end()
    print(f"final test accuracy: {accuracy(model, *test):.4f}")
    path = os.path.join(model_dir, "mnist.pt")
    torch.save(model.state_dict(), path)
    print(f"Saved the trained model - {path}")


if __name__ == "__main__":
    main()
