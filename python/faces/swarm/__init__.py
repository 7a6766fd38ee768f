"""The 0.3 training API over Starling: `from swarm import SwarmCallback`."""
from starling import SwarmError
from starling._callback import TEXTS_0
from swarmlearning.client.swarm import SwarmCallbackBase
from swarmlearning.pyt import TorchHooks
from swarmlearning.tf import KerasHooks, keras_class

__all__ = ["SwarmCallback", "SwarmError"]


class _Callback(SwarmCallbackBase):
    """What both platforms share: the 0.3 parameters under their 2.x names."""

    _texts = TEXTS_0
    _weight_least = 0

    def _setup(self, given):
        params = {"useAdaptiveSync": given["use_adaptive_sync"], "adsValData": given["val_data"],
                  "adsValBatchSize": given["val_batch_size"], "checkinModelOnTrainEnd": given["checkin_model_on_train_end"],
                  "nodeWeightage": given["node_weightage"], "model": given["model"], "mlPlatform": given["ml_platform"],
                  "logger": given["logger"]}
        SwarmCallbackBase.__init__(self, given["sync_interval"], given["min_peers"], params=params)
        self.model_name = given["model_name"]
        self._verifyAndSetPlatformContext(params)
        self._swarmInitialize()


class _KerasCallback(KerasHooks, _Callback):
    _platforms = ("KERAS", "TF")

    def _setup(self, given):
        self._init_keras()
        super()._setup(given)


class _TorchCallback(TorchHooks, _Callback):
    _platforms = ("PYTORCH",)

    def _getValidationDataForAdaptiveSync(self, valData, valBatchSize):
        import torch
        if valData is not None and not isinstance(valData, torch.utils.data.DataLoader):
            if not hasattr(valData, "__len__") or not hasattr(valData, "__getitem__"):
                self._journal.fail("val_data has to be a torch.utils.data.Dataset or DataLoader, it is %s" % type(valData).__name__)
            valData = torch.utils.data.DataLoader(valData, batch_size=int(valBatchSize or 1))
        return super()._getValidationDataForAdaptiveSync(valData, valBatchSize)


_classes = {}


def _platform(given):
    model = given.get("model")
    of_keras = model is None or any(base.__module__.split(".")[0] == "keras" for base in type(model).__mro__)
    return given.get("ml_platform") or ("KERAS" if of_keras else "PYTORCH")


class SwarmCallback:
    """`SwarmCallback(sync_interval=…, min_peers=…, …)`, keywords only.

    A Keras callback for model.fit; with ml_platform "PYTORCH", or a torch module as `model`, the hooks are called by the
    program: on_train_begin(), on_batch_end(), on_epoch_end(epoch), on_train_end().
    """

    def __new__(cls, **kwargs):
        face = _TorchCallback if _platform(kwargs) == "PYTORCH" else _KerasCallback
        if (cls, face) not in _classes:
            made = type(cls.__name__, (cls, face), {"__module__": cls.__module__, "__doc__": cls.__doc__})
            _classes[cls, face] = keras_class(made) if face is _KerasCallback else made
        return object.__new__(_classes[cls, face])

    def __init__(self, *, sync_interval=None, min_peers=None, use_adaptive_sync=False, val_data=None, val_batch_size=None,
                 checkin_model_on_train_end="snapshot", node_weightage=1, ml_platform=None, model_name="swarm_model", model=None,
                 logger=None):
        self._setup({"sync_interval": sync_interval, "min_peers": min_peers, "use_adaptive_sync": use_adaptive_sync,
                     "val_data": val_data, "val_batch_size": val_batch_size, "node_weightage": node_weightage,
                     "checkin_model_on_train_end": checkin_model_on_train_end, "ml_platform": ml_platform,
                     "model_name": model_name, "model": model, "logger": logger})
