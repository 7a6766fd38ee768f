"""The same program as a user of HPE Swarm Learning 0.3 writes it: another import, other names of the parameters."""
import train_keras
from swarm import SwarmCallback


def callback(sync_frequency, min_peers, validation, _epochs):
    return SwarmCallback(sync_interval=sync_frequency, min_peers=min_peers, val_data=validation, val_batch_size=1000)


if __name__ == "__main__":
    train_keras.main(callback, "Saved the trained model! %s")
