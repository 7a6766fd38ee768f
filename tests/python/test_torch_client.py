"""The PyTorch faces, with a real model."""
import copy

import numpy as np
import pytest
import torch

import starling
from fake_sl import FakeSwarm, Lines, shows, threads
from starling import _torch
from swarm import SwarmCallback as Swarm03
from swarmlearning.pyt import SwarmCallback

X = torch.arange(80.0).reshape(20, 4) / 80
Y = (torch.arange(20) % 2).long()


def model_of(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5), torch.nn.Linear(3, 2))


def loader():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=6)


def train(model, callback, batches):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    if callback:
        callback.on_train_begin()
    model.train()
    for batch in range(batches):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
        if callback:
            callback.on_batch_end(batch)
    if callback:
        callback.on_epoch_end(0)
        callback.on_train_end()


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


def test_alone_in_a_swarm_training_is_what_it_is_without_one(monkeypatch):
    with FakeSwarm() as swarm:
        monkeypatch.setenv("STARLING_SOCKET", swarm.sls[0].path)
        model = model_of()
        plain = copy.deepcopy(model)
        callback = SwarmCallback(4, 1, model=model, adsValData=loader(), lossFunction="CrossEntropyLoss", logger=Lines(),
                                 totalEpochs=1)
        torch.manual_seed(1)
        train(model, callback, 10)
        torch.manual_seed(1)
        train(plain, None, 10)
        assert same(state(model), state(plain))
        assert [s["batches"] for s in swarm.sls[0].of("sync")] == [0, 5, 4]
        dtypes = {t["name"]: t["dtype"] for t in swarm.sls[0].of("open")[0]["tensors"]}
        assert set(dtypes) == set(model.state_dict()) and dtypes["1.num_batches_tracked"] == "I64"
        assert swarm.sls[0].of("open")[0]["platform"] == "PYTORCH"
        model.eval()
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(model(X), Y).item()
        assert abs(swarm.sls[0].of("result")[0]["loss"] - loss) < 1e-6 and "metric" not in swarm.sls[0].of("result")[0]
    assert shows(callback.logger.lines, "Finished local training !!!", "Final Swarm model was loaded.")


def test_two_models_become_one(monkeypatch):
    with FakeSwarm(2) as swarm:
        models = [model_of(1), model_of(2)]

        def program(index):
            callback = SwarmCallback(3, 2, model=models[index], logger=Lines())
            callback._engine._make_session = lambda say: starling.Session(swarm.sls[index].path, say=say)
            train(models[index], callback, 4)
        threads(lambda: program(0), lambda: program(1))
        assert same(state(models[0]), state(models[1]))


def test_bfloat16_and_float16_travel_bit_for_bit(monkeypatch):
    with FakeSwarm() as swarm:
        monkeypatch.setenv("STARLING_SOCKET", swarm.sls[0].path)
        model = torch.nn.ParameterDict({
            "b": torch.nn.Parameter(torch.tensor([1.5, float("nan"), -0.0], dtype=torch.bfloat16)),
            "h": torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float16)), "s": torch.nn.Parameter(torch.tensor(2.0).bfloat16())})
        before = {name: value.clone() for name, value in model.state_dict().items()}
        callback = SwarmCallback(4, 1, model=model, logger=Lines())
        callback.on_train_begin()
        for name, value in model.state_dict().items():
            assert torch.equal(value.view(torch.int16), before[name].view(torch.int16)) and value.dtype == before[name].dtype
        assert {t["name"]: t["dtype"] for t in swarm.sls[0].of("open")[0]["tensors"]} == {"b": "BF16", "h": "F16", "s": "BF16"}
        callback.on_train_end()


def test_values_go_from_the_model_into_the_arena_and_back_in_place():
    model = model_of()
    tensors = _torch.tensors(model)
    assert np.shares_memory(tensors["0.weight"], model[0].weight.detach().numpy())
    address, views = model[0].weight.data_ptr(), {}
    for name, array in tensors.items():
        views[name] = np.ones_like(array)
        views[name].flags.writeable = False
    _torch.load(model, views)
    assert model[0].weight.data_ptr() == address and (model[0].weight == 1).all() and model[0].weight.requires_grad
    assert model[1].num_batches_tracked.item() == 1


def test_loading_is_strict():
    model = model_of()
    views = {name: array.copy() for name, array in _torch.tensors(model).items()}
    before = state(model)
    name = "0.weight"
    for wrong, text in (({k: v for k, v in views.items() if k != name}, "missing: 0.weight"),
                        (dict(views, other=views[name]), "unknown: other"),
                        (dict(views, **{name: views[name].astype("f8")}), "differing: 0.weight"),
                        (dict(views, **{name: views[name].T}), "differing: 0.weight")):
        with pytest.raises(starling.SwarmError, match=text):
            _torch.load(model, wrong)
    assert same(state(model), before)


@pytest.mark.parametrize("value", [torch.zeros(2, dtype=torch.complex64), torch.zeros(2).to_sparse()])
def test_a_tensor_that_cannot_be_shared_is_named(value):
    model = torch.nn.Module()
    model.register_buffer("odd", value)
    with pytest.raises(starling.SwarmError, match="odd"):
        _torch.tensors(model)


@pytest.mark.parametrize("parameters, text", [
    (dict(model=None), "Pytorch model is None"), (dict(), "Pytorch model is None"),
    (dict(model=3), "model has to be a torch.nn.Module, it is int"),
    (dict(model=model_of(), adsValData=[1]), "adsValData has to be a torch.utils.data.DataLoader, it is list"),
    (dict(model=model_of(), lossFunction="NoLoss"), "NoLoss is no class of torch.nn"),
    (dict(model=model_of(), lossFunction="CrossEntropyLoss", lossFunctionArgs={"x": 1}), "does not take"),
    (dict(model=model_of(), metricFunction="F1Score"), "torchmetrics"),
    (dict(model=model_of(), mlPlatform="KERAS"), "Invalid ml platform type: KERAS"),
    (dict(model=model_of(), syncFrequency=0), "syncFrequency has to be a positive integer")])
def test_a_wrong_parameter_is_logged_and_raised(parameters, text):
    log = Lines()
    with pytest.raises(starling.SwarmError, match=text) as error:
        SwarmCallback(**dict(dict(syncFrequency=4, minPeers=2, logger=log), **parameters))
    assert log.lines[-1] == "error: " + str(error.value)


def test_validation_data_without_functions_measures_nothing(monkeypatch):
    with FakeSwarm() as swarm:
        monkeypatch.setenv("STARLING_SOCKET", swarm.sls[0].path)
        model = model_of()
        train(model, SwarmCallback(4, 1, model=model, adsValData=loader(), logger=Lines()), 2)
        assert swarm.sls[0].of("result") == [{"type": "result"}] and "loss" not in swarm.sls[0].of("sync")[0]


@pytest.mark.parametrize("arguments", [{}, {"reduction": "sum"}, {"reduction": "none"}])
def test_the_loss_is_a_mean_over_samples_and_modes_are_kept(arguments):
    model = model_of()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    loss, metric = _torch.evaluate(model, loader(), torch.nn.CrossEntropyLoss(**arguments), None)
    assert [module.training for module in model.modules()] == modes and metric is None
    model.eval()
    assert abs(loss - torch.nn.functional.cross_entropy(model(X), Y).item()) < 1e-6


class Accuracy(torch.nn.Module):
    """As torchmetrics has it."""

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        self.right = self.count = 0

    def update(self, outputs, targets):
        self.right += int((outputs.argmax(1) == targets).sum())
        self.count += len(targets)

    def compute(self):
        return torch.tensor(self.right / self.count)


def test_a_metric_is_reset_between_evaluations():
    model, metric = model_of(), Accuracy()
    first, second = (_torch.evaluate(model, loader(), None, metric) for _ in range(2))
    assert first == second and first[0] is None
    model.eval()
    assert abs(first[1] - (model(X).argmax(1) == Y).float().mean().item()) < 1e-6


def test_the_face_of_0_3_takes_a_data_set_and_says_its_lines(monkeypatch):
    with FakeSwarm() as swarm:
        monkeypatch.setenv("STARLING_SOCKET", swarm.sls[0].path)
        model = model_of()
        callback = Swarm03(sync_interval=4, min_peers=1, val_data=loader().dataset, val_batch_size=128, model_name="m", model=model,
                           logger=Lines())
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_epoch_end(0)
        callback.on_train_end()
    assert shows(callback.logger.lines, "Finished local training rounds", "Continuing syncs till minimum required peers finish ...",
                 "Checkin model: Snapshot, Using Final local version", "All peers finished. Loading final model")
    with pytest.raises(starling.SwarmError, match="val_data has to be"):
        Swarm03(sync_interval=4, min_peers=1, val_data=3, model=model, logger=Lines())
    with pytest.raises(starling.SwarmError, match="use_adaptive|useAdaptiveSync=True comes in a later release"):
        Swarm03(sync_interval=4, min_peers=1, val_data=loader(), use_adaptive_sync=True, model=model, logger=Lines())
    with pytest.raises(TypeError):
        Swarm03(4, 1, model=model)
