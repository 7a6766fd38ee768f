"""MNIST-shaped data: `mnist.npz`, or the four IDX files (plain or .gz), from a directory; and a skewed split over sites.

Images come as uint8 [n, 28, 28], labels as uint8 [n] below 10. Files are read strictly: a ValueError names the file and the fault.
"""
import gzip
import os
import struct

import numpy as np

CLASSES = 10
IMAGES_MAX = 1_000_000
FAVOURED = 3  # classes that a site favours
RATIO = 3     # images of the favoured classes : images of all others
_FILES = {"x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte", "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte"}


def load(directory):
    """((x_train, y_train), (x_test, y_test)) from `directory`."""
    npz = os.path.join(directory, "mnist.npz")
    if os.path.exists(npz):
        with np.load(npz, allow_pickle=False) as file:
            parts = {name: file[name] for name in _FILES}
    else:
        parts = {name: _read_idx(directory, stem, 3 if name[0] == "x" else 1) for name, stem in _FILES.items()}
    for kind in ("train", "test"):
        _check(directory, parts["x_" + kind], parts["y_" + kind])
    return (parts["x_train"], parts["y_train"]), (parts["x_test"], parts["y_test"])


def _read_idx(directory, stem, dimensions):
    for name, opener in ((stem, open), (stem + ".gz", gzip.open)):
        path = os.path.join(directory, name)
        if not os.path.exists(path):
            continue
        with opener(path, "rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                raise ValueError(f"{path}: not an IDX file of bytes with {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", head[4:])
            if shape[0] > IMAGES_MAX or (dimensions == 3 and shape[1:] != (28, 28)):
                raise ValueError(f"{path}: shape {list(shape)}, but at most {IMAGES_MAX} images of 28 x 28 are expected")
            count = int(np.prod(shape))
            data = file.read(count + 1)
        if len(data) != count:
            raise ValueError(f"{path}: {len(data)} bytes of data where {count} are announced")
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)
    raise ValueError(f"{directory}: neither mnist.npz nor {stem}[.gz] is there; set DATA_DIR")


def _check(directory, images, labels):
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8 or labels.shape != (len(images),):
        raise ValueError(f"{directory}: images of 28 x 28 bytes and a label for each are expected")
    if len(labels) == 0 or int(labels.max()) >= CLASSES:
        raise ValueError(f"{directory}: labels from 0 to 9 are expected")


def site_split(labels, site, sites, samples, seed=0):
    """Indices of `site`'s images, about `samples`: its three favoured classes have together three times as many as the other
    seven. Sites share no image. Deterministic: every site computes the same split by itself."""
    if not 0 <= site < sites:
        raise ValueError(f"site {site} of {sites}")
    order = np.random.default_rng(seed).permutation(len(labels))
    favoured = samples * RATIO / (RATIO + 1) / FAVOURED
    other = samples / (RATIO + 1) / (CLASSES - FAVOURED)
    taken = []
    for label in range(CLASSES):
        mine = order[labels[order] == label]
        wanted = [int(round(favoured if label in _favoured(each) else other)) for each in range(sites)]
        if sum(wanted) > len(mine):
            raise ValueError(f"{sites} sites of {samples} images need {sum(wanted)} of class {label}; there are {len(mine)}")
        begin = sum(wanted[:site])
        taken.append(mine[begin:begin + wanted[site]])
    indices = np.concatenate(taken)
    return np.random.default_rng([seed, site]).permutation(indices)


def _favoured(site):
    return {(FAVOURED * site + k) % CLASSES for k in range(FAVOURED)}


def from_environment():
    """The data of this program, by DATA_DIR and, where SITES (or STARLING_NODES) is set, SITE, SITES and SAMPLES."""
    (x_train, y_train), test = load(os.environ.get("DATA_DIR", "./data"))
    sites = os.environ.get("SITES") or (os.environ.get("STARLING_NODES") if "SAMPLES" in os.environ else None)
    if sites:
        site = int(os.environ.get("SITE") or os.environ.get("STARLING_NODE_INDEX") or 0)
        indices = site_split(y_train, site, int(sites), int(os.environ.get("SAMPLES", "3000")))
        x_train, y_train = x_train[indices], y_train[indices]
    return (x_train, y_train), test
