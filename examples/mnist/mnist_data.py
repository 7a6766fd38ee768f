"""MNIST-shaped data: `mnist.npz`, or the four IDX files (plain or .gz), from a directory; and a skewed split over sites.

Images are uint8 [n, 28, 28], labels uint8 [n] below 10. Files are read strictly and within limits, whatever they announce:
what is wrong with one is a DataError of one line that names the file. Nothing is unpickled.
"""
import ast
import gzip
import os
import struct
import zipfile
import zlib

import numpy as np

CLASSES = 10
SIDE = 28
IMAGES_MAX = 1_000_000
FAVOURED = 3  # classes that a site favours
RATIO = 3     # images of the favoured classes : images of all others
_FILES = {"x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
          "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte"}
_NPY_HEAD_MAX = 10_000
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error)


class DataError(ValueError):
    """The data or the settings of the split are not usable; one line says why."""


def load(directory):
    """((x_train, y_train), (x_test, y_test)) from `directory`; mnist.npz comes first where both are there."""
    npz = os.path.join(directory, "mnist.npz")
    arrays = _read_npz(npz) if os.path.exists(npz) else {part: _read_idx(directory, part) for part in _FILES}
    for kind in ("train", "test"):
        images, labels = arrays["x_" + kind], arrays["y_" + kind]
        if len(images) != len(labels):
            raise DataError(f"{directory}: {len(images)} {kind} images, but {len(labels)} labels")
        if int(labels.max()) >= CLASSES:
            raise DataError(f"{directory}: {kind} labels up to {int(labels.max())}; 0 to {CLASSES - 1} are expected")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _read_idx(directory, part):
    """One IDX file: two zero bytes, type 8 (uint8), number of dimensions, each size as a big-endian u32, the elements."""
    stem, dimensions = _FILES[part], 3 if part[0] == "x" else 1
    for name, opener in ((stem, open), (stem + ".gz", gzip.open)):
        path = os.path.join(directory, name)
        if not os.path.exists(path):
            continue
        try:
            with opener(path, "rb") as file:
                head = file.read(4 + 4 * dimensions)
                if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                    raise DataError(f"{path}: not an IDX file of bytes in {dimensions} dimension{'s'[:dimensions > 1]}")
                return _elements(file, path, np.dtype(np.uint8), struct.unpack(f">{dimensions}I", head[4:]), dimensions)
        except _DAMAGE as error:
            raise DataError(f"{path}: unreadable: {_line(error)}") from None
    raise DataError(f"{directory}: neither mnist.npz nor {stem}[.gz] is there; set DATA_DIR")


def _read_npz(path):
    """The four arrays of an uncompressed or deflated .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {part: _read_npy(archive, path, part) for part in _FILES}
    except _DAMAGE as error:
        raise DataError(f"{path}: unreadable: {_line(error)}") from None


def _read_npy(archive, path, part):
    path = f"{path}: {part}"
    try:
        info = archive.getinfo(part + ".npy")
    except KeyError:
        raise DataError(f"{path} is missing") from None
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: stored or deflated members are expected")
    with archive.open(info) as file:
        magic = file.read(8)
        if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\x01\x00", b"\x02\x00"):
            raise DataError(f"{path}: not a .npy file of version 1 or 2")
        width = "<H" if magic[6] == 1 else "<I"
        (length,) = struct.unpack(width, file.read(struct.calcsize(width)))
        if length > _NPY_HEAD_MAX:
            raise DataError(f"{path}: a head of {length} bytes; at most {_NPY_HEAD_MAX} are read")
        dtype, shape = _npy_head(file.read(length), path)
        wanted = dtype == np.uint8 if part[0] == "x" else dtype.kind in "iu"
        if not wanted:
            raise DataError(f"{path}: {dtype} elements; {'uint8' if part[0] == 'x' else 'integers'} are expected")
        values = _elements(file, path, dtype, shape, 3 if part[0] == "x" else 1)
    if values.dtype != np.uint8 and (int(values.min()) < 0 or int(values.max()) >= CLASSES):
        raise DataError(f"{path}: labels from 0 to {CLASSES - 1} are expected")
    return values.astype(np.uint8, copy=False)


def _npy_head(text, path):
    """(dtype, shape) of a .npy head, which is the text of a Python dict of constants."""
    try:
        head = ast.literal_eval(text.decode("latin-1").strip())
        if not isinstance(head, dict) or set(head) != {"descr", "fortran_order", "shape"} or head["fortran_order"] is not False:
            raise ValueError
        if not isinstance(head["descr"], str) or not isinstance(head["shape"], tuple):
            raise ValueError
        if not all(type(size) is int and size >= 0 for size in head["shape"]):
            raise ValueError
        return np.dtype(head["descr"]), head["shape"]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise DataError(f"{path}: the head of the .npy file is not that of a plain C-ordered array") from None


def _elements(file, path, dtype, shape, dimensions):
    """The rest of `file`, exactly an array of `shape`; nothing is allocated for sizes beyond the limits."""
    if len(shape) != dimensions or tuple(shape[1:]) != (SIDE, SIDE)[:dimensions - 1] or not 0 < shape[0] <= IMAGES_MAX:
        what = f"images of {SIDE} x {SIDE}" if dimensions == 3 else "labels"
        raise DataError(f"{path}: shape {list(shape)}; 1 to {IMAGES_MAX} {what} are expected")
    size = dtype.itemsize
    for length in shape:
        size *= length
    data = file.read(size)
    if len(data) < size:
        raise DataError(f"{path}: it ends after {len(data)} bytes of elements; {size} are announced")
    if file.read(1):
        raise DataError(f"{path}: it goes on after the {size} bytes of elements that are announced")
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _line(error):
    """`error` in one line, without the path that the message has already."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]


def favoured_classes(site):
    """The three classes that `site` has most of: 0-2, 3-5, 6-8, 9 0 1, …"""
    return [(FAVOURED * site + k) % CLASSES for k in range(FAVOURED)]


def class_counts(site, samples):
    """How many images of each class `site` has: the favoured three have RATIO / (RATIO + 1) of all, to the nearest image."""
    most = favoured_classes(site)
    rest = [(most[-1] + 1 + k) % CLASSES for k in range(CLASSES - FAVOURED)]
    many = round(samples * RATIO / (RATIO + 1))
    counts = [0] * CLASSES
    for classes, total in ((most, many), (rest, samples - many)):
        for k, label in enumerate(classes):
            counts[label] = total // len(classes) + (k < total % len(classes))
    return counts


def most_samples(labels, sites):
    """The largest `samples` for which site_split has enough images of every class."""
    there = np.bincount(labels, minlength=CLASSES)
    low, high = 0, len(labels) // sites
    while low < high:
        middle = (low + high + 1) // 2
        needed = np.sum([class_counts(site, middle) for site in range(sites)], axis=0)
        low, high = (middle, high) if np.all(needed <= there) else (low, middle - 1)
    return low


def site_split(labels, site, sites, samples, seed=0):
    """The indices of the `samples` images that `site` (from 0) of `sites` has, shuffled.

    Its three favoured classes have together three times as many images as the other seven. Sites share no image. Every site
    computes the same split by itself: it depends on the arguments only.
    """
    if not 0 <= site < sites:
        raise DataError(f"site {site} of {sites}: sites are numbered from 0")
    if samples < CLASSES or sites * samples > len(labels):
        raise DataError(f"{sites} sites of {samples} images: at least {CLASSES} each and {len(labels)} in all are possible")
    counts = np.array([class_counts(each, samples) for each in range(sites)])
    random = np.random.RandomState(seed)  # Its numbers never change from one numpy to the next.
    order = random.permutation(len(labels))
    shares = []
    for label in range(CLASSES):
        mine = order[labels[order] == label]
        needed = int(counts[:, label].sum())
        if needed > len(mine):
            raise DataError(f"{sites} sites of {samples} images need {needed} of class {label}; there are {len(mine)}; "
                            f"at most {most_samples(labels, sites)} a site are possible")
        begin = int(counts[:site, label].sum())
        shares.append(mine[begin:begin + counts[site, label]])
    return random.permutation(np.concatenate(shares))


def balanced(labels, each):
    """Indices of the first `each` images of every class (as many as there are of the rarest), in their order."""
    each = min(each, int(np.bincount(labels, minlength=CLASSES).min()))
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:each] for label in range(CLASSES)]))


def counts(labels):
    """How many of each class there are, for people: "375 375 375 54 …"."""
    return " ".join(str(count) for count in np.bincount(labels, minlength=CLASSES))


def site_seed(environ=os.environ):
    """The seed of this site's own chances (initial parameters, order of images): SEED plus the site's number; None without."""
    seed, place = _whole(environ, ("SEED",), 0), site_of(environ)
    return seed if seed is None or place is None else seed + place[0]


def site_of(environ):
    """(site, sites) by SITE and SITES, else by what `starling run` sets; None where there is nothing to split."""
    sites = _whole(environ, ("SITES", "STARLING_NODES"), 1)
    if sites is None:
        return None
    site = _whole(environ, ("SITE", "STARLING_NODE_INDEX"), 0)
    if site is None:
        raise DataError("SITES is set, but neither SITE nor STARLING_NODE_INDEX says which of them this one is")
    return site, sites


def from_environment(environ=os.environ):
    """The data of this program: what is in DATA_DIR, of the training images the share that SITE, SITES, SAMPLES name."""
    (x_train, y_train), test = load(environ.get("DATA_DIR") or "./data")
    place = site_of(environ)
    if place is not None:
        samples = _whole(environ, ("SAMPLES",), CLASSES) or most_samples(y_train, place[1])
        share = site_split(y_train, *place, samples)
        x_train, y_train = x_train[share], y_train[share]
    return (x_train, y_train), test


def _whole(environ, names, least):
    """The first of `names` that is set, as a whole number of at least `least`; None where none is."""
    for name in names:
        text = environ.get(name)
        if text:
            if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
                raise DataError(f"{name}: a whole number of at least {least} is expected, not {text[:40]!r}")
            return int(text)
    return None
