"""The callback's parameters: documented defaults, validation and its texts."""
import os
from collections import namedtuple

DEFAULT_CONTRACT = "defaultbb.cqdb.sml.hpe"
MODES = ["inactive", "snapshot", "active"]
MERGES = ["mean", "coordmedian", "geomedian"]
PLATFORMS = ["TF", "KERAS", "PYTORCH", "HF_TRANSFORMER"]

# sync_interval: batches; validation: what to evaluate on, or None; validation_batch: its batch size or None; mode: how this
# node stays in the rounds once it has finished; weight: relative, of this node's update; total_epochs: 0 when unknown.
Settings = namedtuple("Settings", ("sync_interval", "min_peers", "contract", "validation", "validation_batch", "mode", "weight",
                                   "merge", "total_epochs", "platform"))


def loopback(environ=None):
    """True when SWARM_LOOPBACK asks for training without a swarm."""
    return (os.environ if environ is None else environ).get("SWARM_LOOPBACK", "").strip().lower() == "true"


def positive(value):
    """`value` as an int above 0, or None. 3, 3.0 and "3" are; True, 0.5 and None are not."""
    if isinstance(value, bool):
        return None
    try:
        number = int(value)
        if isinstance(value, float) and number != value:
            return None
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number > 0 else None


def _later(fail, option):
    fail("%s comes in a later release of Starling; leave it out" % option)


def _valid_weight(value, least, fail):
    number = 0 if least == 0 and not isinstance(value, bool) and value in (0, "0") else positive(value)
    if number is None or not least <= number <= 100:
        fail("Node weightage should be a number between %d-100. Given: %s" % (least, value))
    return number


def validate(params, fail, platforms, weight_least=1):
    """Settings of `params`, a dict with the 2.x names. `fail(text)` must raise; texts are those of the 2.x callback.

    `platforms` lists what the face can be, its default first; what comes in a later release passes the documented
    validation and is then refused.
    """
    interval = positive(params.get("syncFrequency"))
    if interval is None:
        fail("syncFrequency has to be a positive integer")
    peers = positive(params.get("minPeers"))
    if peers is None:
        fail("minPeers have to be a positive integer")
    contract = params.get("trainingContract", DEFAULT_CONTRACT)
    if contract is None or not isinstance(contract, str) or not contract:
        fail("Invalid Training Contract")
    batch = params.get("adsValBatchSize")
    adaptive = bool(params.get("useAdaptiveSync", False))
    if adaptive and (params.get("adsValData") is None or batch is not None and positive(batch) is None):
        fail("For adaptive sync, valid adsValData is mandatory and a positive adsValBatchSize if applicable")
    mode = params.get("checkinModelOnTrainEnd", "snapshot")
    if mode not in MODES:
        fail("Invalid value checkinModelOnTrainEnd: %s. Allowed values: %s" % (mode, MODES))
    weight = _valid_weight(params.get("nodeWeightage", 1), weight_least, fail)
    given = params.get("mergeMethod", "mean")
    merge = given.lower() if isinstance(given, str) else given
    if merge not in MERGES:
        fail("Invalid value mergeMethod: %s. Allowed values: %s" % (given, MERGES))
    epochs = params.get("totalEpochs")
    if epochs is not None and positive(epochs) is None:
        fail("totalEpochs value is not a positive integer")
    platform = params.get("mlPlatform") or params.get("ml_platform") or platforms[0]
    if platform not in PLATFORMS or platform not in platforms:
        fail("Invalid ml platform type: %s. Allowed values: %s" % (platform, list(platforms)))
    if platform == "TF":
        if params.get("tf") is None or params.get("sess") is None:
            fail("Invalid ml platform type: TF needs both tf and sess")
        _later(fail, "ml_platform TF (graph mode with tf and sess)")
    if adaptive:
        _later(fail, "useAdaptiveSync=True")
    if merge != "mean":
        _later(fail, "mergeMethod %s" % merge)
    return Settings(interval, peers, contract, params.get("adsValData"), batch, mode, weight, merge, positive(epochs) or 0,
                    platform)
