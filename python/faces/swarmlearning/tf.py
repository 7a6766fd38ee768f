"""swarmlearning.tf.SwarmCallback: a Keras callback (Keras 3, whatever its backend)."""
from starling import SwarmError, _keras
from swarmlearning.client.swarm import DEFAULT_CONTRACT, SwarmCallbackBase

__all__ = ["KerasHooks", "SwarmCallback", "SwarmError", "keras_class"]

_classes = {}


def keras_class(cls):
    """`cls` as a subclass of keras.callbacks.Callback too. Keras is imported here, when the first callback is made."""
    import keras
    if issubclass(cls, keras.callbacks.Callback):
        return cls
    if cls not in _classes:
        _classes[cls] = type(cls.__name__, (cls, keras.callbacks.Callback), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    return _classes[cls]


class KerasHooks:
    """The Keras side of a SwarmCallbackBase; `model` is Keras's own (reading it brings JAX's weights up to date)."""

    def _init_keras(self):
        import keras
        keras.callbacks.Callback.__init__(self)

    def _saveModelWeightsToDict(self):
        return _keras.tensors(self.model)

    def _loadModelWeightsFromDict(self, inDict):
        _keras.load(self.model, inDict)

    def _calculateLocalLossAndMetrics(self):
        return _keras.evaluate(self.model, self._validation, self._settings.validation_batch)

    def _stopTraining(self):
        self.model.stop_training = True

    def on_train_begin(self, logs=None):
        """First merge: all nodes start from one model."""
        self._swarmOnTrainBegin()
        if self._engine.over:
            self._stopTraining()

    def on_batch_end(self, batch, logs=None):
        """Counts a batch. Keras calls it through on_train_batch_end, which is not overridden: once a batch."""
        self._swarmOnBatchEnd()

    def on_epoch_end(self, epoch, logs=None):
        """Counts an epoch."""
        self._swarmOnEpochEnd()

    def on_train_end(self, logs=None):
        """The closing exchange."""
        self._swarmOnTrainEnd()


class SwarmCallback(KerasHooks, SwarmCallbackBase):
    """`SwarmCallback(syncFrequency, minPeers, trainingContract, **parameters)`; give it to model.fit in a list."""

    _platforms = ("KERAS", "TF")

    def __new__(cls, *args, **kwargs):
        return object.__new__(keras_class(cls))

    def __init__(self, syncFrequency, minPeers, trainingContract=DEFAULT_CONTRACT, **kwargs):
        self._init_keras()
        SwarmCallbackBase.__init__(self, syncFrequency, minPeers, trainingContract, kwargs)
        self._verifyAndSetPlatformContext(kwargs)
        self._swarmInitialize()
