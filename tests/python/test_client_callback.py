"""The engine and the 2.x base class without any framework: cadence, validation, log lines, failures, loopback."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import starling
from fake_sl import FakeSwarm, Lines, frame, shows, threads
from starling import _callback
from swarmlearning.client.swarm import SwarmCallbackBase

HERE = Path(__file__).resolve().parent
ENVIRONMENT = dict(os.environ, PYTHONPATH=os.pathsep.join(
    str(path) for path in (HERE.parents[1] / "python", HERE.parents[1] / "python/faces", HERE)))
DONE = "All peers and Swarm training rounds finished. Final Swarm model was loaded."


class Callback(SwarmCallbackBase):
    """Trains a numpy model of one vector."""

    def __init__(self, *args, **kwargs):
        self.log = kwargs.setdefault("logger", Lines())
        self.weights, self.losses, self.stopped = {"w": np.zeros(3, np.float32)}, [], False
        super().__init__(*args, **kwargs)
        self._swarmInitialize()

    def _saveModelWeightsToDict(self):
        return self.weights

    def _loadModelWeightsFromDict(self, inDict):
        for name, view in inDict.items():
            self.weights[name] = view.copy()

    def _calculateLocalLossAndMetrics(self):
        self.losses.append(float(self.weights["w"][0]))
        return self.losses[-1], 0.5

    def _stopTraining(self):
        self.stopped = True


def at(monkeypatch, swarm, index=0):
    monkeypatch.setenv("STARLING_SOCKET", swarm.sls[index].path)


def train(callback, batches):
    callback._swarmOnTrainBegin()
    for _ in range(batches):
        callback.weights["w"] = callback.weights["w"] + 1
        callback._swarmOnBatchEnd()
        if callback.stopped:
            break
    callback._swarmOnEpochEnd()
    callback._swarmOnTrainEnd()


def test_the_first_round_comes_after_one_batch_more_than_the_interval(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(4, 1)
        train(callback, 14)
        said = swarm.sls[0].of("sync")
        assert [s["batches"] for s in said] == [0, 5, 4, 4]  # at batches 0, 5, 9 and 13
        finish = swarm.sls[0].of("finish")[0]
        assert (finish["batches"], finish["epoch"], finish["mode"]) == (1, 1, "snapshot")
        assert all("loss" not in s and "base_loss" not in s for s in said)
        opened = swarm.sls[0].of("open")[0]
        assert opened["rules"] == {"sync_interval": 4, "min_peers": 1, "merge": "mean"} and opened["total_epochs"] == 0
        assert opened["tensors"] == [{"name": "w", "dtype": "F32", "shape": [3]}]
        assert callback.weights["w"].tolist() == [14.0] * 3


def test_the_sls_interval_replaces_the_counter_and_0_leaves_it(monkeypatch):
    for given, batches in ((2, [0, 3, 2, 2]), (0, [0, 5])):
        with FakeSwarm(merged={"next_interval": given}) as swarm:
            at(monkeypatch, swarm)
            train(Callback(4, 1), 8)
            assert [s["batches"] for s in swarm.sls[0].of("sync")] == batches


def test_an_interval_that_did_not_count_is_trained_again(monkeypatch):
    with FakeSwarm(merged={"counted": False}) as swarm:
        at(monkeypatch, swarm)
        callback = Callback(2, 1)
        train(callback, 7)
        assert [s["batches"] for s in swarm.sls[0].of("sync")] == [0, 3, 2, 2]
        assert shows(callback.log.lines, "This interval of 3 batches did not take part in round 1")


def test_attention_makes_the_next_batch_end_sync(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(100, 1)
        callback._swarmOnTrainBegin()
        callback._swarmOnBatchEnd()
        swarm.sls[0].merged.attention(1)
        swarm.before_merge = lambda: swarm.sls[0].merged.attention(0)
        callback._swarmOnBatchEnd()
        callback._swarmOnBatchEnd()
        assert [s["batches"] for s in swarm.sls[0].of("sync")] == [0, 2]
        callback._swarmOnTrainEnd()


def test_losses_travel_with_the_syncs(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(1, 1, adsValData=([0], [0]))
        train(callback, 2)
        first, second = swarm.sls[0].of("sync")
        assert (first["loss"], first["metric"]) == (0, 0.5) and "base_loss" not in first
        assert (second["loss"], second["base_loss"], second["base_metric"]) == (2, 0, 0.5)
        finish = swarm.sls[0].of("finish")[0]
        assert (finish["loss"], finish["base_loss"]) == (2, 2)
        assert swarm.sls[0].of("result") == [{"type": "result", "loss": 2.0, "metric": 0.5}]
        assert shows(callback.log.lines, "Calculated local loss using merged parameters = 2.0")


def test_the_lines_of_2_x_come_in_order(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(2, 1)
        train(callback, 1)
        assert swarm.sls[0].done.wait(60)
        assert swarm.sls[0].of("goodbye") == [{"type": "goodbye", "reason": "done"}]
        lines = callback.log.lines
    assert shows(lines, "***Swarm Callback Params: Inside SwarmCallbackBase at user side***", "syncFrequency = 2",
                 "***** Is Swarm callback in loopback mode: False *****",
                 "WARNING: adsValData and adsValBatchSize are not available to compute Loss and metrics", "totalEpochs",
                 "info: Starting Swarm merging round ...", "info: Merge Done: RVInt [cur: 2 Nxt: 2]",
                 "info: Finished local training !!!",
                 "warning: No user merge done during swarm training. syncFrequency=2 may be high.",
                 "info: Swarm training may continue till trainings in min peers are done!",
                 "info: Final merging starts at training end. Waiting for other peers to complete ...", "info: " + DONE,
                 "same on 1 of 1"), lines


def test_a_training_with_rounds_warns_of_nothing(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(1, 1)
        train(callback, 3)
    assert not [line for line in callback.log.lines if not line.startswith("info: ")]


def test_a_swarm_that_is_over_first_stops_the_program(monkeypatch):
    with FakeSwarm(rounds=2) as swarm:
        at(monkeypatch, swarm)
        callback = Callback(2, 1)
        train(callback, 9)
        assert callback.stopped and callback.weights["w"].tolist() == [3.0] * 3
        assert swarm.sls[0].of("finish") == [] and len(swarm.sls[0].of("result")) == 1
    assert shows(callback.log.lines, "Swarm training is over. Stopping local training",
                 "Swarm training is over before local training. Exit gracefully.", "Loading the last merged swarm model", DONE)


def test_a_final_model_with_another_root_is_not_loaded(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(2, 1)
        callback._swarmOnTrainBegin()
        swarm.override = {"root": "sha256:" + "0" * 64}
        with pytest.raises(starling.SwarmError, match="End Swarm call to SL container failed - .*root-differs"):
            callback._swarmOnTrainEnd()
    assert DONE not in " ".join(callback.log.lines)


def test_a_model_that_changed_is_refused_and_said_to_the_sl(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(1, 1)
        callback._swarmOnTrainBegin()
        callback.weights = {"w": np.zeros(3), "b": np.zeros(1)}
        with pytest.raises(starling.SwarmError, match="Sync Swarm call to SL container failed - .*unknown: b; differing: w"):
            for _ in range(2):
                callback._swarmOnBatchEnd()
        assert swarm.sls[0].done.wait(60)
        assert swarm.sls[0].of("goodbye")[0]["reason"] == "exception"
        assert "Starting Swarm merging round ..." in " ".join(swarm.sls[0].of("log")[0]["lines"])


def test_a_load_that_reaches_nothing_is_an_error(monkeypatch):
    with FakeSwarm(2) as swarm:
        def program(index):
            callback = Callback(4, 2)
            callback._engine._make_session = lambda say: starling.Session(swarm.sls[index].path, say=say)
            callback.weights["w"] += index
            callback._loadModelWeightsFromDict = lambda inDict: None
            with pytest.raises(starling.SwarmError, match="load-differs: .* 1 of the program's tensors: w"):
                callback._swarmOnTrainBegin()
        threads(lambda: program(0), lambda: program(1))


def test_values_are_written_into_the_arena_without_a_second_copy(monkeypatch):
    copies = []
    monkeypatch.setattr(_callback.np, "copyto", lambda to, source, **_: copies.append((to, source)))
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(1, 1)
        weights = callback.weights["w"]
        callback._swarmOnTrainBegin()
        assert len(copies) == 1 and np.shares_memory(copies[0][1], weights)
        assert copies[0][0] is callback._engine.session.update["w"]
        callback._engine.session.goodbye()


@pytest.mark.parametrize("answer, text", [
    ([frame({"type": "error", "code": "schema-differs", "cause": "w differs", "component": "starling sl", "next": "x"})],
     "Init Swarm call to SL container failed - SL error: starling sl: schema-differs: w differs. Next: x"),
    ([None], "Init Swarm call to SL container failed - starling client: sl-gone")])
def test_an_sl_that_refuses_is_named_with_the_next_step(monkeypatch, answer, text):
    with FakeSwarm(script=lambda sl, said: answer) as swarm:
        at(monkeypatch, swarm)
        callback = Callback(1, 1)
        with pytest.raises(starling.SwarmError) as error:
            callback._swarmOnTrainBegin()
    assert str(error.value).startswith(text) and callback.log.lines[-1] == "error: " + str(error.value)


def test_hooks_out_of_order_are_refused(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Callback(1, 1)
        for hook in (callback._swarmOnBatchEnd, callback._swarmOnTrainEnd):
            with pytest.raises(starling.SwarmError, match="call on_train_begin first"):
                hook()
        callback._swarmOnTrainBegin()
        with pytest.raises(starling.SwarmError, match="callbacks=\\[swarm_callback\\]"):
            threads(callback._swarmOnBatchEnd)
        callback._swarmOnTrainEnd()
        callback._swarmOnTrainEnd()
        with pytest.raises(starling.SwarmError, match="served a training already"):
            callback._swarmOnTrainBegin()


@pytest.mark.parametrize("parameters, text", [
    (dict(syncFrequency=0), "syncFrequency has to be a positive integer"),
    (dict(syncFrequency="x"), "syncFrequency has to be a positive integer"),
    (dict(minPeers=-1), "minPeers have to be a positive integer"),
    (dict(minPeers=None), "minPeers have to be a positive integer"),
    (dict(trainingContract=None), "Invalid Training Contract"),
    (dict(useAdaptiveSync=True), "For adaptive sync, valid adsValData is mandatory and a positive adsValBatchSize if applicable"),
    (dict(useAdaptiveSync=True, adsValData=1, adsValBatchSize=0), "For adaptive sync, valid adsValData is mandatory"),
    (dict(useAdaptiveSync=True, adsValData=1), "useAdaptiveSync=True comes in a later release"),
    (dict(checkinModelOnTrainEnd="no"), "Invalid value checkinModelOnTrainEnd: no. Allowed values: ['inactive', 'snapshot', 'active']"),
    (dict(nodeWeightage=0), "Node weightage should be a number between 1-100."),
    (dict(nodeWeightage=101), "Node weightage should be a number between 1-100."),
    (dict(nodeWeightage="x"), "Node weightage should be a number between 1-100."),
    (dict(mergeMethod="mode"), "Invalid value mergeMethod: mode"),
    (dict(mergeMethod=7), "Invalid value mergeMethod: 7"),
    (dict(mergeMethod="CoordMedian"), "mergeMethod coordmedian comes in a later release"),
    (dict(mergeMethod="geomedian"), "mergeMethod geomedian comes in a later release"),
    (dict(totalEpochs=0), "totalEpochs value is not a positive integer"),
    (dict(mlPlatform="MX"), "Invalid ml platform type: MX"),
    (dict(ml_platform="MX"), "Invalid ml platform type: MX"),
    (dict(ml_platform="TF"), "Invalid ml platform type: TF needs both tf and sess"),
    (dict(ml_platform="TF", tf=1, sess=1), "ml_platform TF (graph mode with tf and sess) comes in a later release")])
def test_a_wrong_parameter_is_logged_and_raised_with_its_text(parameters, text, monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")  # validates all the same
    log = Lines()
    with pytest.raises(starling.SwarmError) as error:
        Callback(**dict(dict(syncFrequency=4, minPeers=2, logger=log), **parameters))
    assert str(error.value).startswith(text) and log.lines[-1] == "error: " + str(error.value)
    assert "\n" not in str(error.value)


def test_what_can_be_cast_is_taken_and_an_unknown_parameter_is_told(monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "True")
    callback = Callback("4", 2.0, "c", {"mergeMethod": "MEAN", "nodeWeightage": "100"}, totalEpochs=3, syncFreq=1)
    settings = callback._settings
    assert (settings.sync_interval, settings.min_peers, settings.contract, settings.merge, settings.weight,
            settings.total_epochs) == (4, 2, "c", "mean", 100, 3)
    assert shows(callback.log.lines, "warning: SwarmCallback does not know the parameter syncFreq")


def test_a_program_that_names_no_training_takes_part_in_the_sls(monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    monkeypatch.setenv("STARLING_CONTRACT", "spring")
    assert Callback(1, 1)._settings.contract == "spring"
    assert Callback(1, 1, "winter")._settings.contract == "winter"
    monkeypatch.delenv("STARLING_CONTRACT")
    assert Callback(1, 1)._settings.contract == "defaultbb.cqdb.sml.hpe"


def test_loopback_trains_without_an_sl(monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "TRUE")
    monkeypatch.setenv("STARLING_SOCKET", "/nowhere/starling.sock")
    callback = Callback(1, 2)
    train(callback, 5)
    assert callback._engine.epochs == 1 and callback.weights["w"].tolist() == [5.0] * 3
    assert shows(callback.log.lines, "***** Is Swarm callback in loopback mode: True *****")


def test_two_programs_end_with_one_model(monkeypatch):
    with FakeSwarm(2) as swarm:
        def program(index):
            callback = Callback(3, 2)
            callback._engine._make_session = lambda say: starling.Session(swarm.sls[index].path, say=say)
            callback.weights["w"] += index * 10
            train(callback, 4 + 3 * index)
            return callback.weights["w"].tolist(), callback.log.lines
        (first, lines), (second, _) = threads(lambda: program(0), lambda: program(1))
        assert first == second and shows(lines, DONE, "same on 2 of 2")
        assert len(set(swarm.roots)) == len(swarm.roots)


PROGRAM = """
import numpy as np, sys
from test_client_callback import Callback
callback = Callback(4, 1)
callback._swarmOnTrainBegin()
%s
"""


@pytest.mark.parametrize("end, reason", [("raise ValueError('no\\ndata')", "ValueError: no data"),
                                         ("sys.exit(3)", "the program ended before its training was over")])
def test_a_program_that_ends_early_says_why(end, reason):
    with FakeSwarm() as swarm:
        done = subprocess.run([sys.executable, "-c", PROGRAM % end], env=dict(ENVIRONMENT, STARLING_SOCKET=swarm.sls[0].path),
                              capture_output=True, text=True, timeout=300)
        assert swarm.sls[0].done.wait(60)
        assert done.returncode in (1, 3)
        assert swarm.sls[0].of("goodbye") == [{"type": "goodbye", "reason": "exception", "exception": reason}]
        if "raise" in end:
            assert "Traceback" in done.stderr
            assert any("ValueError" in line for line in swarm.sls[0].of("log")[0]["lines"])


def test_importing_the_client_imports_no_framework():
    code = ("import sys, starling, swarm, swarmlearning.tf, swarmlearning.pyt, swarmlearning.client.swarm;"
            "print([m for m in ('keras', 'tensorflow', 'torch', 'jax', 'torchmetrics') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
                          check=True)
    assert done.stdout.strip() == "[]"


def test_the_hugging_face_face_is_refused_in_one_line():
    with pytest.raises(starling.SwarmError, match="hf_transformers comes in a later release"):
        import swarmlearning.hf_transformers  # noqa: F401


def test_the_own_logger_writes_name_level_and_message_to_stdout(capsys, monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    callback = Callback(1, 1, logger=None)
    callback.logger.info("a line")
    assert capsys.readouterr().out.splitlines()[-1].endswith(" : SwarmCallback : INFO : a line")
