"""Keras 3 (any backend) for the engine. Keras is imported by whoever makes a callback, never here."""
import numpy as np

from starling._errors import client_error
from starling._layout import Bfloat16Words
from starling._views import dtype_of_word, require_views


def _array(variable):
    """The variable's value as a numpy array, of the backend's own memory where that is possible."""
    value = getattr(variable, "value", variable)
    value = value() if callable(value) else value
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            import torch
            return Bfloat16Words(value.view(torch.int16).numpy().view(np.uint16))
        return value.numpy()
    if hasattr(value, "read_value"):  # a variable of TensorFlow; the tensor it reads lends its memory
        value = value.read_value()
    try:
        return np.asarray(memoryview(value)) if hasattr(value, "_numpy") else np.asarray(value)
    except (TypeError, ValueError, BufferError):
        return np.asarray(value)


def names_of(model):
    """Stable unique names of `model.weights`: index and path, without this process's counters."""
    names = []
    for index, variable in enumerate(model.weights):
        path = str(getattr(variable, "path", None) or getattr(variable, "name", "weight")).split(":")[0]
        parts = [part.rsplit("_", 1)[0] if part.rsplit("_", 1)[-1].isdigit() and "_" in part.strip("_") else part
                 for part in path.split("/")]
        names.append("%03d/%s" % (index, "/".join(parts)))
    return names


def tensors(model):
    """name -> array or Bfloat16Words of all weights, trainable or not."""
    if model is None:
        raise client_error("no-model", "the callback has no model", "pass it to model.fit, or call set_model")
    return {name: _array(variable) for name, variable in zip(names_of(model), model.weights)}


def load(model, views):
    """Assigns every weight. Raises SwarmError naming what is missing, extra or differing, before anything is assigned."""
    entries = list(zip(names_of(model), model.weights))
    dtypes = {name: dtype_of_word(name, str(getattr(variable.dtype, "name", variable.dtype))) for name, variable in entries}
    require_views({name: (dtypes[name], tuple(variable.shape)) for name, variable in entries}, views)
    for name, variable in entries:
        value = np.array(views[name])  # Backends may lend the memory they are given; the arena is not theirs to keep.
        variable.assign(_bfloat16(value) if dtypes[name] == "BF16" else value)


def _bfloat16(words):
    try:
        import ml_dtypes
    except ImportError:  # Exact: a bfloat16 is the upper half of a float32.
        return (words.astype(np.uint32) << 16).view(np.float32)
    return words.view(ml_dtypes.bfloat16)


def evaluate(model, data, batch_size):
    """(loss, first compiled metric or None) of `model` on `data`: (x, y), (x, y, weights) or anything `evaluate` takes.

    The running means of the training's own metrics are kept.
    """
    kept = [(variable, np.array(_array(variable))) for variable in getattr(model, "metrics_variables", ())]
    options = {"verbose": 0}
    if batch_size is not None:
        options["batch_size"] = int(batch_size)
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        if len(data) == 3:
            options["sample_weight"] = data[2]
        values = model.evaluate(data[0], data[1], **options)
    else:
        options.pop("batch_size", None)
        values = model.evaluate(data, **options)
    values = [float(value) for value in (values if isinstance(values, (list, tuple)) else [values])]
    for variable, value in kept:
        variable.assign(value)
    has_metric = len(values) > 1 and getattr(model, "_compile_metrics", True) is not None
    return values[0], values[1] if has_metric else None
