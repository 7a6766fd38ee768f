"""The Keras faces on TensorFlow."""
import os

import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"  # read when Keras is imported

from keras_cases import CASES  # noqa: E402


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__[6:])
def test_keras_on_tensorflow(case, monkeypatch):
    import keras
    assert keras.backend.backend() == "tensorflow"
    case(monkeypatch)
