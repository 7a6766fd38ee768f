"""The Keras faces on JAX."""
import os

import pytest

os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported

from keras_cases import CASES  # noqa: E402


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__[6:])
def test_keras_on_jax(case, monkeypatch):
    import keras
    assert keras.backend.backend() == "jax"
    case(monkeypatch)
