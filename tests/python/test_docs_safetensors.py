"""The worked example of docs/formats/safetensors.md, opened by the safetensors package and hashed by hand."""
import hashlib
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import load

PAGE = (Path(__file__).parents[2] / "docs/formats/safetensors.md").read_text(encoding="utf-8")


def block(mark):
    return re.search(rf"```{mark}\n(.*?)```", PAGE[PAGE.index("## Example"):], re.S).group(1)


def leaf(chunk):
    return "sha256:" + hashlib.sha256(b"\0" + chunk).hexdigest()


def test_the_package_opens_the_example():
    tensors = load(bytes.fromhex(block("hex")))
    assert sorted(tensors) == ["n", "w"]
    np.testing.assert_array_equal(tensors["n"], np.array([-3], np.int64))
    np.testing.assert_array_equal(tensors["w"], np.array([[1, -2.5], [0.1, 0]], np.float32))


def test_its_schema_and_root_are_hashes_of_one_leaf():
    blob = bytes.fromhex(block("hex"))
    data_start = 8 + int.from_bytes(blob[:8], "little")
    assert data_start % 64 == 0
    assert block("text").split() == ["schema", leaf(blob[:data_start]), "root", leaf(blob)]
