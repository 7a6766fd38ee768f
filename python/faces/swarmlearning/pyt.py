"""swarmlearning.pyt.SwarmCallback: called by the program's own PyTorch loop."""
from starling import SwarmError, _torch
from swarmlearning.client.swarm import DEFAULT_CONTRACT, SwarmCallbackBase

__all__ = ["SwarmCallback", "SwarmError", "TorchHooks"]


class TorchHooks:
    """The PyTorch side of a SwarmCallbackBase. PyTorch is imported when the first callback is made."""

    def _verifyAndSetPlatformContext(self, params):
        import torch
        self._model = params.get("model")
        if self._model is None:
            self._journal.fail("Pytorch model is None")
        if not isinstance(self._model, torch.nn.Module):
            self._journal.fail("model has to be a torch.nn.Module, it is %s" % type(self._model).__name__)
        try:
            self._loss = _torch.function("torch.nn", "lossFunction", params.get("lossFunction"), params.get("lossFunctionArgs"))
            self._metric = _torch.function("torchmetrics", "metricFunction", params.get("metricFunction"),
                                           params.get("metricFunctionArgs"))
        except SwarmError as error:
            self._journal.fail(str(error), error.code)

    def _getValidationDataForAdaptiveSync(self, valData, valBatchSize):
        import torch
        if valData is not None and not isinstance(valData, torch.utils.data.DataLoader):
            self._journal.fail("adsValData has to be a torch.utils.data.DataLoader, it is %s" % type(valData).__name__)
        if valData is not None and self._loss is None and self._metric is None:
            self._journal.say("info", "WARNING: no lossFunction and no metricFunction: adsValData is not evaluated")
        return valData

    def _saveModelWeightsToDict(self):
        return _torch.tensors(self._model)

    def _loadModelWeightsFromDict(self, inDict):
        _torch.load(self._model, inDict)

    def _calculateLocalLossAndMetrics(self):
        return _torch.evaluate(self._model, self._validation, self._loss, self._metric)

    def on_train_begin(self):
        """First merge: all nodes start from one model. Call it before the first batch."""
        self._swarmOnTrainBegin()

    def on_batch_end(self, batch=None):
        """Call it after every batch."""
        self._swarmOnBatchEnd()

    def on_epoch_end(self, epoch=None):
        """Call it after every epoch."""
        self._swarmOnEpochEnd()

    def on_train_end(self):
        """The closing exchange; returns with the final model loaded. Call it after the last batch."""
        self._swarmOnTrainEnd()


class SwarmCallback(TorchHooks, SwarmCallbackBase):
    """`SwarmCallback(syncFrequency, minPeers, trainingContract, model=…, **parameters)`."""

    _platforms = ("PYTORCH",)

    def __init__(self, syncFrequency, minPeers, trainingContract=DEFAULT_CONTRACT, **kwargs):
        SwarmCallbackBase.__init__(self, syncFrequency, minPeers, trainingContract, kwargs)
        self._verifyAndSetPlatformContext(kwargs)
        self._swarmInitialize()
