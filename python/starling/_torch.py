"""PyTorch for the engine. PyTorch is imported inside the functions: importing this module costs nothing."""
import importlib
import warnings

import numpy as np

from starling._errors import SwarmError, client_error
from starling._layout import Bfloat16Words
from starling._views import dtype_of_word, require_views


def _entries(model):
    import torch
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
            raise client_error("bad-tensor", "%s of the state_dict is no dense tensor and cannot be shared" % name,
                               "keep it out of the state_dict")
        yield name, dtype_of_word(name, str(value.dtype).split(".")[-1]), value.detach()


def tensors(model):
    """name -> array or Bfloat16Words of the whole state_dict, buffers included; memory of the model where it is on the CPU."""
    import torch
    found = {}
    for name, dtype, value in _entries(model):
        value = value.cpu()
        found[name] = Bfloat16Words(value.view(torch.int16).numpy().view(np.uint16)) if dtype == "BF16" else value.numpy()
    return found


def load(model, views):
    """Copies every view into the model's own tensors, in place: dtype and device stay. Raises SwarmError naming what is
    missing, extra or differing, before anything is copied."""
    import torch
    entries = list(_entries(model))
    require_views({name: (dtype, tuple(value.shape)) for name, dtype, value in entries}, views)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The views are read-only, and they are only read.
        for name, dtype, value in entries:
            if dtype == "BF16":
                value.copy_(torch.from_numpy(views[name].view(np.int16)).view(torch.bfloat16))
            else:
                value.copy_(torch.from_numpy(views[name]))


def function(module_name, kind, name, arguments):
    """An instance of the class `name` of torch.nn or torchmetrics, or None where no name is given."""
    if name is None:
        return None
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        raise SwarmError("%s %s needs the package %s; install it or leave %s out" % (kind, name, module_name, kind),
                         "no-package") from None
    found = getattr(module, name, None) if isinstance(name, str) else None
    if found is None:
        raise SwarmError("%s %s is no class of %s" % (kind, name, module_name), "bad-setting")
    try:
        return found(**(arguments or {}))
    except (TypeError, ValueError) as error:
        raise SwarmError("%s %s does not take %s: %s" % (kind, name, arguments, error), "bad-setting") from None


def evaluate(model, data, loss_function, metric):
    """(mean loss a sample or None, metric or None) of `model` on the batches (inputs, targets) of `data`.

    The model is in eval mode meanwhile; each module's mode and PyTorch's random state are restored.
    """
    import torch
    if loss_function is None and metric is None:
        return None, None
    modes = [(module, module.training) for module in model.modules()]
    device = next((value.device for value in model.state_dict().values()), torch.device("cpu"))
    total, samples = 0.0, 0
    metric = metric.to(device) if metric is not None else None
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for inputs, targets in data:
                inputs, targets = inputs.to(device), targets.to(device)
                outputs = model(inputs)
                if loss_function is not None:
                    loss = loss_function(outputs, targets)
                    mean = loss.dim() == 0 and getattr(loss_function, "reduction", "mean") == "mean"
                    total += float(loss) * len(targets) if mean else float(loss.sum())
                if metric is not None:
                    metric.update(outputs, targets)
                samples += len(targets)
            value = float(metric.compute()) if metric is not None and samples else None
    finally:
        for module, training in modes:
            module.training = training
        if metric is not None:
            metric.reset()
    return total / samples if loss_function is not None and samples else None, value
