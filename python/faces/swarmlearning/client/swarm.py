"""SwarmCallbackBase: the 2.x extension point. The faces tf and pyt are its subclasses."""
import os

from starling import SwarmError
from starling._callback import TEXTS_0, TEXTS_2, Engine, Journal, default_logger
from starling._settings import DEFAULT_CONTRACT, loopback, validate

__all__ = ["DEFAULT_CONTRACT", "SwarmCallbackBase", "SwarmError"]

KNOWN = ("useAdaptiveSync", "adsValData", "adsValBatchSize", "checkinModelOnTrainEnd", "nodeWeightage", "mergeMethod",
         "totalEpochs", "mlPlatform", "ml_platform", "tf", "sess", "model", "lossFunction", "lossFunctionArgs",
         "metricFunction", "metricFunctionArgs", "hfMode", "logger")
SHOWN = ("useAdaptiveSync", "adsValBatchSize", "checkinModelOnTrainEnd", "nodeWeightage", "mergeMethod", "totalEpochs",
         "lossFunction", "lossFunctionArgs", "metricFunction", "metricFunctionArgs")


class SwarmCallbackBase:
    """Validates the parameters and drives a training; a subclass says how its framework gives and takes weights.

    A subclass calls `__init__`, `_verifyAndSetPlatformContext(params)` and `_swarmInitialize()`, then from its hooks
    `_swarmOnTrainBegin`, `_swarmOnBatchEnd`, `_swarmOnEpochEnd`, `_swarmOnTrainEnd`, all on one thread. Parameters come as a
    dict in fourth place or as keywords. Everything that is wrong is logged and raised as SwarmError. `logger` is the
    logger in use; `loopback` tells whether SWARM_LOOPBACK switched the swarm off.
    """

    _platforms = ("KERAS", "PYTORCH", "TF", "HF_TRANSFORMER")
    _texts = TEXTS_2
    _weight_least = 1

    def __init__(self, syncFrequency, minPeers, trainingContract=DEFAULT_CONTRACT, params=None, **kwargs):
        params = dict(params or {}, **kwargs)
        self.logger = params.get("logger") or default_logger()
        self._journal = Journal(self.logger)
        for name in params:
            if name not in KNOWN:
                self._journal.say("warning", "SwarmCallback does not know the parameter %s: it has no effect" % name)
        if trainingContract == DEFAULT_CONTRACT:  # The program names none: the SL beside it knows which.
            trainingContract = os.environ.get("STARLING_CONTRACT") or DEFAULT_CONTRACT
        self._given = dict(params, syncFrequency=syncFrequency, minPeers=minPeers, trainingContract=trainingContract)
        self._settings = validate(self._given, self._journal.fail, self._platforms, self._weight_least)
        self._engine = self._validation = None
        self.loopback = loopback()

    def _verifyAndSetPlatformContext(self, params):
        """Checks what only the framework can check. Override; raise SwarmError (self._journal.fail(text))."""

    def _getValidationDataForAdaptiveSync(self, valData, valBatchSize):
        """Returns the validation data in the form `_calculateLocalLossAndMetrics` takes. Override where it differs."""
        return valData

    def _saveModelWeightsToDict(self):
        """Returns a dict: name -> numpy array (or starling.Bfloat16Words). Override. Arrays are read at once."""
        raise NotImplementedError("_saveModelWeightsToDict")

    def _loadModelWeightsFromDict(self, inDict):
        """Loads a dict: name -> read-only numpy array that must be copied (uint16 words for bfloat16). Override."""
        raise NotImplementedError("_loadModelWeightsFromDict")

    def _calculateLocalLossAndMetrics(self):
        """Returns (loss, metric) of the model on the validation data, None for what is not measured. Override."""
        return None, None

    def _stopTraining(self):
        """Called once when the swarm is over before this program. Override to stop the framework's loop."""

    def _swarmInitialize(self):
        """Prints all parameters and makes the engine. Connects to nothing yet."""
        settings, say = self._settings, self._journal.say
        self._validation = self._getValidationDataForAdaptiveSync(settings.validation, settings.validation_batch)
        self._print_parameters(settings, self._given)
        if settings.validation is None:
            say("info", "WARNING: adsValData and adsValBatchSize are not available to compute Loss and metrics")
        if not settings.total_epochs and self._texts is not TEXTS_0:  # 0.3 had no such parameter.
            say("info", "***** WARNING: totalEpochs is not given: progress and remaining time are not shown *****")
        self._engine = Engine(settings, _Hooks(self), self._journal, self._texts, self.loopback)

    def _print_parameters(self, settings, given):
        say = self._journal.say
        say("info", "***Swarm Callback Params: Inside SwarmCallbackBase at user side***")
        say("info", "syncFrequency = %d" % settings.sync_interval)
        say("info", "minPeers = %d" % settings.min_peers)
        say("info", "trainingContract = %s" % settings.contract)
        say("info", "mlPlatform = %s" % settings.platform)
        say("info", "adsValData = %s" % type(settings.validation).__name__)
        for name in SHOWN:
            if name in given:
                say("info", "%s = %s" % (name, given[name]))
        say("info", "***** Is Swarm callback in loopback mode: %s *****" % self.loopback)

    def _driven(self):
        if self._engine is None:
            self._journal.fail("_swarmInitialize was not called; call it at the end of __init__")
        return self._engine

    def _swarmOnTrainBegin(self):
        """Takes part in the first merge."""
        self._driven().train_begin()

    def _swarmOnBatchEnd(self):
        """Counts a batch and syncs where it is due."""
        self._driven().batch_end()

    def _swarmOnEpochEnd(self):
        """Counts an epoch."""
        self._driven().epoch_end()

    def _swarmOnTrainEnd(self):
        """Returns with the final model loaded."""
        self._driven().train_end()


class _Hooks:
    """What the engine calls, on top of the documented extension methods."""

    def __init__(self, callback):
        self._callback = callback

    def tensors(self):
        return self._callback._saveModelWeightsToDict()

    def load(self, views):
        self._callback._loadModelWeightsFromDict(views)

    def evaluate(self):
        return self._callback._calculateLocalLossAndMetrics()

    def stop(self):
        self._callback._stopTraining()
