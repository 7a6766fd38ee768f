"""What must hold with Keras 3 on any backend; test_client_keras.py runs it on JAX, test_tensorflow_client.py on TensorFlow."""
import keras
import numpy as np

import starling
from fake_sl import FakeSwarm, Lines, shows, threads
from starling import _keras
from swarm import SwarmCallback as Swarm03
from swarmlearning.tf import SwarmCallback

X = np.random.default_rng(3).normal(size=(40, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def model_of(seed=0, dtype=None, norm=False):
    """A small classifier, compiled."""
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((4,)), keras.layers.Dense(3, "relu", dtype=dtype), keras.layers.Dense(2, dtype=dtype)]
    if norm:
        layers.insert(2, keras.layers.BatchNormalization())
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def fit(model, callback, epochs=1, callbacks=None):
    """10 batches an epoch; the history."""
    return model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks or [callback]).history


def at(monkeypatch, swarm):
    monkeypatch.setenv("STARLING_SOCKET", swarm.sls[0].path)


def check_it_is_a_keras_callback_that_counts_each_batch_once(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = SwarmCallback(4, 1, logger=Lines())
        assert isinstance(callback, keras.callbacks.Callback) and isinstance(callback, SwarmCallback)
        model = model_of()
        fit(model, callback, epochs=2)
        assert [s["batches"] for s in swarm.sls[0].of("sync")] == [0, 5, 4, 4, 4]
        assert swarm.sls[0].of("finish")[0]["batches"] == 3 and swarm.sls[0].of("finish")[0]["epoch"] == 2
        final = swarm.sls[0]
        for place, weight in zip(sorted(final.places, key=lambda p: p["name"]), model.get_weights()):
            assert np.array_equal(final.merged.view(place), weight)


def check_alone_in_a_swarm_training_is_what_it_is_without_one(monkeypatch):
    """One participant: each merge gives back what was offered, so weights and logs must be the same, bit for bit."""
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        with_swarm, without = model_of(5, norm=True), model_of(5, norm=True)
        history = fit(with_swarm, SwarmCallback(3, 1, adsValData=(X, Y), adsValBatchSize=8, logger=Lines()), epochs=2)
        plain = without.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    for a, b in zip(with_swarm.get_weights(), without.get_weights()):
        assert np.array_equal(a, b)
    assert history == plain


def check_two_models_become_one(monkeypatch):
    with FakeSwarm(2) as swarm:
        models = [model_of(1), model_of(2)]
        logs = []

        def program(index):
            callback = SwarmCallback(4, 2, logger=Lines(), adsValData=(X, Y))
            callback._engine._make_session = lambda say: starling.Session(swarm.sls[index].path, say=say)
            callback.set_model(models[index])
            callback.on_train_begin()
            for batch in range(6):
                models[index].train_on_batch(X[batch::6], Y[batch::6])
                callback.on_train_batch_end(batch)
            callback.on_train_end()
            logs.append(callback.logger.lines)
        start = np.mean([m.get_weights()[0] for m in models], axis=0)
        first = {}
        merge = swarm._merge
        swarm._merge = lambda: first.setdefault(swarm.round, (merge(), swarm.sls[0].merged.view(
            [p for p in swarm.sls[0].places if p["name"].startswith("000/")][0]).copy()))[0]
        threads(lambda: program(0), lambda: program(1))
        assert np.allclose(first[0][1], start, atol=1e-6)
        for a, b in zip(models[0].get_weights(), models[1].get_weights()):
            assert np.array_equal(a, b)
        assert [s["batches"] for s in swarm.sls[1].of("sync")] == [0, 5]
        result = swarm.sls[0].of("result")[0]
        loss, accuracy = models[0].evaluate(X, Y, verbose=0)
        assert np.isclose(result["loss"], loss) and np.isclose(result["metric"], accuracy)
        assert shows(logs[0], "Calculated local loss using merged parameters", "All peers and Swarm training rounds finished")


def check_a_swarm_that_is_over_stops_fit(monkeypatch):
    with FakeSwarm(rounds=2) as swarm:
        at(monkeypatch, swarm)
        callback = SwarmCallback(4, 1, logger=Lines())
        seen = []
        counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
        fit(model_of(), callback, epochs=5, callbacks=[callback, counter])
        assert len(seen) == 5
    with FakeSwarm(rounds=1) as swarm:
        at(monkeypatch, swarm)
        callback = SwarmCallback(4, 1, logger=Lines())
        fit(model_of(), callback, epochs=5)
        assert len(swarm.sls[0].of("sync")) == 1 and shows(callback.logger.lines, "Final Swarm model was loaded.")


def check_names_are_the_same_on_every_node(monkeypatch):
    first, second = _keras.names_of(model_of()), _keras.names_of(model_of())
    assert first == second and len(set(first)) == len(first) == 4
    assert first[0].startswith("000/") and first[0].endswith("/kernel")


def check_loading_is_strict_and_keeps_nothing_of_the_arena(monkeypatch):
    model = model_of()
    views = {name: np.asarray(value).copy() for name, value in _keras.tensors(model).items()}
    for array in views.values():
        array[...] = 1
    _keras.load(model, views)
    for array in views.values():
        array[...] = 7
    assert all((weight == 1).all() for weight in model.get_weights())
    name = next(iter(views))
    broken = ({k: v for k, v in views.items() if k != name}, dict(views, other=views[name]),
              dict(views, **{name: views[name].astype("float64")}), dict(views, **{name: views[name][:1]}))
    for wrong, text in zip(broken, ("missing: " + name, "unknown: other", "differing: " + name, "differing: " + name)):
        try:
            _keras.load(model, wrong)
        except starling.SwarmError as error:
            assert text in str(error)
        else:
            raise AssertionError(text)
    assert all((weight == 1).all() for weight in model.get_weights())


def check_bfloat16_travels_as_its_words(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        model = model_of(dtype=keras.DTypePolicy("bfloat16"))
        before = [np.asarray(keras.ops.convert_to_numpy(w.value)).view(np.uint16).copy() for w in model.weights]
        callback = SwarmCallback(4, 1, logger=Lines())
        callback.set_model(model)
        callback.on_train_begin()
        assert {t["dtype"] for t in swarm.sls[0].of("open")[0]["tensors"]} == {"BF16"}
        after = [np.asarray(keras.ops.convert_to_numpy(w.value)).view(np.uint16) for w in model.weights]
        assert all(np.array_equal(a, b) for a, b in zip(before, after))
        assert all(str(w.dtype) == "bfloat16" for w in model.weights)
        callback.on_train_end()


def check_the_face_of_0_3_says_its_lines_in_order(monkeypatch):
    for mode, text in (("snapshot", "Checkin model: Snapshot, Using Final local version"), ("active", "Checkin model: Active"),
                       ("inactive", "Checkin model: Inactive")):
        with FakeSwarm() as swarm:
            at(monkeypatch, swarm)
            callback = Swarm03(sync_interval=4, min_peers=1, val_data=(X, Y), val_batch_size=8, node_weightage=0, logger=Lines(),
                               model_name="m", checkin_model_on_train_end=mode)
            assert isinstance(callback, Swarm03) and isinstance(callback, keras.callbacks.Callback)
            fit(model_of(), callback)
            assert swarm.sls[0].of("finish")[0]["mode"] == mode and swarm.sls[0].of("open")[0]["weight"] == 0
        assert shows(callback.logger.lines, "Finished local training rounds",
                     "Continuing syncs till minimum required peers finish ...", text,
                     "All peers finished. Loading final model", "same on 1 of 1")
        assert not [line for line in callback.logger.lines if not line.startswith("info: ")]


def check_the_face_of_0_3_claims_no_model_with_another_root(monkeypatch):
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = Swarm03(sync_interval=40, min_peers=1, logger=Lines())
        callback.set_model(model_of())
        callback.on_train_begin()
        swarm.override = {"root": "sha256:" + "0" * 64}
        try:
            callback.on_train_end()
        except starling.SwarmError as error:
            assert error.code == "root-differs"
        else:
            raise AssertionError("it was loaded")
    assert "All peers finished. Loading final model" not in " ".join(callback.logger.lines)


def check_a_list_of_callbacks_is_asked_for(monkeypatch):
    """Alone, not in a list, some backends call a callback on another thread."""
    with FakeSwarm() as swarm:
        at(monkeypatch, swarm)
        callback = SwarmCallback(4, 1, logger=Lines())
        model = model_of()
        try:
            model.fit(X, Y, batch_size=4, verbose=0, callbacks=callback)
        except starling.SwarmError as error:
            assert "callbacks=[swarm_callback]" in str(error)
        else:
            assert [s["batches"] for s in swarm.sls[0].of("sync")] == [0, 5, 4]


def check_loopback_is_plain_training(monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "True")
    monkeypatch.setenv("STARLING_SOCKET", "/nowhere")
    callback = SwarmCallback(4, 1, logger=Lines())
    fit(model_of(), callback, epochs=2)
    assert callback._engine.epochs == 2


CASES = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
