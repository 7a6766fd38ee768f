"""examples/mnist/mnist_data.py: its files are strictly read and within limits; its sites have what they promise."""
import gzip
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mnist"
sys.path.insert(0, str(EXAMPLE))

import mnist_data  # noqa: E402
from mnist_data import DataError, balanced, class_counts, from_environment, load, most_samples, site_split  # noqa: E402

STEMS = {"x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
         "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte"}


def arrays(train=20, test=10):
    images = np.random.RandomState(1).randint(0, 256, (train + test, 28, 28)).astype(np.uint8)
    labels = (np.arange(train + test) % 10).astype(np.uint8)
    return {"x_train": images[:train], "y_train": labels[:train], "x_test": images[train:], "y_test": labels[train:]}


def idx(array):
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(">%dI" % array.ndim, *array.shape) + array.tobytes()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_idx(directory, parts, packed=False):
    for name, stem in STEMS.items():
        data = parts[name] if isinstance(parts[name], bytes) else idx(parts[name])
        (directory / (stem + ".gz" if packed else stem)).write_bytes(gzip.compress(data) if packed else data)


def write_npz(directory, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(directory / "mnist.npz", "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name + ".npy", data if isinstance(data, bytes) else npy(data))


def npy_with_head(head, body=b"", length=None):
    text = head.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) if length is None else length) + text + body


def refusal(directory):
    """The one line that says why `directory` is refused."""
    with pytest.raises(DataError) as caught:
        load(str(directory))
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400 and str(directory) in text
    return text


def assert_equal_to(parts, loaded):
    (x_train, y_train), (x_test, y_test) = loaded
    for name, array in (("x_train", x_train), ("y_train", y_train), ("x_test", x_test), ("y_test", y_test)):
        assert array.dtype == np.uint8 and np.array_equal(array, parts[name]), name


@pytest.mark.parametrize("packed", [False, True])
def test_the_four_idx_files_are_read_plain_and_packed(tmp_path, packed):
    write_idx(tmp_path, arrays(), packed)
    assert_equal_to(arrays(), load(str(tmp_path)))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_as_numpy_writes_it_is_read_also_with_wide_labels(tmp_path, save):
    wide = dict(arrays(), y_train=arrays()["y_train"].astype(np.int64))
    save(tmp_path / "mnist.npz", **wide)
    assert_equal_to(arrays(), load(str(tmp_path)))


def test_an_empty_directory_says_what_is_missing_and_which_variable_to_set(tmp_path):
    assert "train-images-idx3-ubyte" in refusal(tmp_path) and "DATA_DIR" in refusal(tmp_path)


@pytest.mark.parametrize("name", sorted(STEMS))
def test_any_prefix_of_an_idx_file_is_refused_by_name(tmp_path, name):
    whole = idx(arrays()[name])
    for length in (0, 1, 3, 4, 7, 8, 15, 16, len(whole) - 1):
        write_idx(tmp_path, dict(arrays(), **{name: whole[:length]}))
        if length < len(whole):
            assert STEMS[name] in refusal(tmp_path)


def test_idx_files_with_more_bytes_than_announced_are_refused(tmp_path):
    write_idx(tmp_path, dict(arrays(), y_train=idx(arrays()["y_train"]) + b"\0"))
    assert "goes on after the 20 bytes" in refusal(tmp_path)


@pytest.mark.parametrize("magic", [b"\0\0\x08\x01", b"\0\0\x09\x03", b"\x01\0\x08\x03", b"PK\x03\x04", b"\x1f\x8b\x08\0"])
def test_images_with_another_magic_number_are_refused(tmp_path, magic):
    write_idx(tmp_path, dict(arrays(), x_train=magic + idx(arrays()["x_train"])[4:]))
    assert "not an IDX file of bytes in 3 dimensions" in refusal(tmp_path)


@pytest.mark.parametrize("shape", [(0xFFFFFFFF, 28, 28), (1_000_001, 28, 28), (20, 0xFFFFFFFF, 0xFFFFFFFF), (20, 28, 27), (0, 28, 28)])
def test_huge_zero_and_other_sizes_are_refused_before_anything_is_read(tmp_path, shape):
    write_idx(tmp_path, dict(arrays(), x_train=b"\0\0\x08\x03" + struct.pack(">3I", *shape) + bytes(100)))
    assert "1 to 1000000 images of 28 x 28 are expected" in refusal(tmp_path)


def test_a_packed_file_that_never_ends_is_read_no_further_than_announced(tmp_path):
    write_idx(tmp_path, arrays(), packed=True)
    bomb = gzip.compress(idx(arrays()["x_train"]) + bytes(50_000_000))
    (tmp_path / (STEMS["x_train"] + ".gz")).write_bytes(bomb[:-20])  # Its end is broken too: reading on would tell.
    assert "goes on after" in refusal(tmp_path)


def test_broken_packing_is_one_line(tmp_path):
    write_idx(tmp_path, arrays(), packed=True)
    path = tmp_path / (STEMS["x_train"] + ".gz")
    whole = path.read_bytes()
    for data in (whole[:len(whole) // 2], b"", b"not gzip at all", whole[:200] + b"\xff" * 400 + whole[600:]):
        path.write_bytes(data)
        assert STEMS["x_train"] in refusal(tmp_path)


def test_a_directory_in_the_place_of_a_file_is_one_line(tmp_path):
    write_idx(tmp_path, arrays())
    (tmp_path / STEMS["y_test"]).unlink()
    (tmp_path / STEMS["y_test"]).mkdir()
    assert "unreadable" in refusal(tmp_path)


def test_images_and_labels_must_be_as_many_and_labels_below_ten(tmp_path):
    write_idx(tmp_path, dict(arrays(), y_train=arrays()["y_train"][:-1]))
    assert "20 train images, but 19 labels" in refusal(tmp_path)
    write_idx(tmp_path, dict(arrays(), y_test=np.full(10, 10, np.uint8)))
    assert "test labels up to 10" in refusal(tmp_path)


@pytest.mark.parametrize("members,why", [
    ({"x_test": None}, "x_test is missing"),
    ({"x_train": b"\x93NUMPY\x03\x00"}, "version 1 or 2"),
    ({"x_train": b""}, "version 1 or 2"),
    ({"x_train": b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF)}, "at most 10000"),
    ({"x_train": npy_with_head("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000, 28, 28)}")}, "shape [4000000000"),
    ({"x_train": npy_with_head("{'descr': '|u1', 'fortran_order': False, 'shape': (20, 28, 28)}", bytes(100))}, "ends after 100 bytes"),
    ({"x_train": npy_with_head("{'descr': '|u1', 'fortran_order': True, 'shape': (20, 28, 28)}")}, "plain C-ordered"),
    ({"x_train": npy_with_head("{'descr': '|u1', 'fortran_order': False, 'shape': (-20, 28, 28)}")}, "plain C-ordered"),
    ({"x_train": npy_with_head("{'descr': '|u1', 'fortran_order': False, 'shape': (True, 28, 28)}")}, "plain C-ordered"),
    ({"x_train": npy_with_head("__import__('os').abort()")}, "plain C-ordered"),
    ({"x_train": npy_with_head("(" * 9000)}, "plain C-ordered"),
    ({"x_train": np.zeros((20, 28, 28), np.float64)}, "float64 elements"),
    ({"y_train": np.arange(20) - 1}, "labels from 0 to 9"),
    ({"y_train": np.full(20, 2 ** 40)}, "labels from 0 to 9"),
    ({"y_train": np.zeros((20, 1), np.uint8)}, "labels are expected"),
])
def test_hostile_members_of_an_npz_are_refused(tmp_path, members, why):
    write_npz(tmp_path, {name: data for name, data in dict(arrays(), **members).items() if data is not None})
    assert why in refusal(tmp_path)


def test_objects_in_an_npz_are_never_unpickled(tmp_path):
    marker = tmp_path / "unpickled"

    class Trap:
        def __reduce__(self):
            return open, (str(marker), "w")

    trap = npy_with_head("{'descr': '|O', 'fortran_order': False, 'shape': (20,)}", pickle.dumps(np.array([Trap()] * 20)))
    write_npz(tmp_path, dict(arrays(), y_train=trap))
    assert "object elements" in refusal(tmp_path) and not marker.exists()


def test_a_damaged_archive_is_one_line(tmp_path):
    write_npz(tmp_path, arrays(), zipfile.ZIP_STORED)
    path = tmp_path / "mnist.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[2000] ^= 1  # An image's byte: the archive's checksum tells.
    for data in (b"", b"PK", whole[:len(whole) // 2], bytes(flipped)):
        path.write_bytes(data)
        assert "unreadable" in refusal(tmp_path)
    write_npz(tmp_path, arrays(), zipfile.ZIP_LZMA)
    assert "stored or deflated" in refusal(tmp_path)


def labels_of_mnist():
    return np.random.RandomState(3).permutation(np.repeat(np.arange(10, dtype=np.uint8), 6000))


def test_the_favoured_classes_have_three_times_as_many_images_as_the_others():
    labels = labels_of_mnist()
    for site, favoured in enumerate(([0, 1, 2], [3, 4, 5], [6, 7, 8])):
        share = site_split(labels, site, 3, 2000)
        counts = np.bincount(labels[share], minlength=10)
        assert len(share) == 2000 and counts[favoured].sum() == 1500
        assert counts.max() - counts[favoured].min() <= 1
        others = np.delete(counts, favoured)
        assert others.sum() == 500 and others.max() - others.min() <= 1


def test_the_favourites_go_round_the_ten_classes_with_more_sites():
    assert [mnist_data.favoured_classes(site) for site in (3, 4, 9)] == [[9, 0, 1], [2, 3, 4], [7, 8, 9]]


def test_counts_are_exact_for_every_number_of_samples():
    for samples in range(10, 400):
        for site in range(10):
            counts = class_counts(site, samples)
            assert sum(counts) == samples and abs(sum(counts[c] for c in mnist_data.favoured_classes(site)) - 0.75 * samples) <= 0.5


@pytest.mark.parametrize("sites", [1, 2, 3, 7, 12])
def test_sites_share_no_image(sites):
    labels = labels_of_mnist()
    shares = [site_split(labels, site, sites, 1501) for site in range(sites)]
    every = np.concatenate(shares)
    assert len(every) == sites * 1501 == len(set(every.tolist()))


def test_the_split_is_the_same_in_every_process_and_with_every_numpy():
    labels = labels_of_mnist()
    share = site_split(labels, 1, 3, 1500)
    assert np.array_equal(share, site_split(labels, 1, 3, 1500))
    assert not np.array_equal(share, site_split(labels, 1, 3, 1500, seed=1))
    assert share[:5].tolist() == [28228, 33409, 46297, 26707, 5766]


def test_the_images_of_a_site_come_in_no_order_of_class():
    labels = labels_of_mnist()
    first = labels[site_split(labels, 0, 3, 2000)][:200]
    assert len(set(first.tolist())) == 10


def test_more_images_than_there_are_is_refused_with_the_number_that_is_possible():
    labels = labels_of_mnist()
    most = most_samples(labels, 3)
    assert len(site_split(labels, 2, 3, most)) == most
    with pytest.raises(DataError, match="at most %d a site" % most):
        site_split(labels, 2, 3, most + 1)


@pytest.mark.parametrize("site,sites,samples", [(3, 3, 100), (-1, 3, 100), (0, 0, 100), (0, 3, 9), (0, 10 ** 9, 100), (0, 3, 10 ** 9)])
def test_sites_and_samples_out_of_range_are_refused(site, sites, samples):
    with pytest.raises(DataError):
        site_split(labels_of_mnist(), site, sites, samples)


def test_the_measured_part_has_as_many_of_every_class():
    labels = labels_of_mnist()
    part = balanced(labels, 200)
    assert np.bincount(labels[part]).tolist() == [200] * 10 and len(set(part.tolist())) == 2000
    assert np.bincount(arrays(25)["y_train"][balanced(arrays(25)["y_train"], 200)]).tolist() == [2] * 10


def environment(tmp_path, **more):
    if not (tmp_path / "mnist.npz").exists():
        write_npz(tmp_path, arrays(400))
    return dict({"DATA_DIR": str(tmp_path)}, **more)


def training_labels(environ):
    (_, labels), _ = from_environment(environ)
    return labels


def test_without_sites_a_program_has_all_the_data(tmp_path):
    assert len(training_labels(environment(tmp_path))) == 400
    assert len(training_labels(environment(tmp_path, SAMPLES="20", SITE="1"))) == 400


def test_sites_come_from_the_users_variables_first_and_else_from_starling_run(tmp_path):
    theirs = {"STARLING_NODE_INDEX": "1", "STARLING_NODES": "2", "SAMPLES": "40"}
    assert np.bincount(training_labels(environment(tmp_path, **theirs)))[3:6].sum() == 30
    assert np.bincount(training_labels(environment(tmp_path, SITE="2", SITES="3", **theirs)))[6:9].sum() == 30
    assert np.bincount(training_labels(environment(tmp_path, SITES="3", **theirs)))[3:6].sum() == 30


def test_without_samples_the_sites_share_as_much_as_the_skew_allows(tmp_path):
    labels = training_labels(environment(tmp_path, SITE="0", SITES="2"))
    assert len(labels) == most_samples((np.arange(400) % 10).astype(np.uint8), 2)


@pytest.mark.parametrize("more", [{"SITES": "x"}, {"SITES": "0"}, {"SITES": "3"}, {"SITES": "3", "SITE": "3"}, {"SITES": "3", "SITE": "-1"},
                                  {"SITES": "3", "SITE": "0", "SAMPLES": "9"}, {"SITES": "3", "SITE": "0", "SAMPLES": "1" * 30},
                                  {"SITES": "999999999", "SITE": "0"}, {"SITES": "\u0663", "SITE": "0"}])
def test_settings_of_the_split_that_make_no_sense_are_one_line(tmp_path, more):
    with pytest.raises(DataError) as caught:
        from_environment(environment(tmp_path, **more))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_each_site_has_a_seed_of_its_own():
    assert mnist_data.site_seed({"SEED": "7", "SITE": "2", "SITES": "3"}) == 9
    assert mnist_data.site_seed({"SEED": "7"}) == 7
    assert mnist_data.site_seed({"SITE": "2", "SITES": "3"}) is None


def test_the_demo_and_what_reads_its_settings_agree():
    import json
    settings = json.loads((EXAMPLE / "demo.json").read_text())
    assert settings["batch"] == 128 and 3 * settings["samples"] <= 60_000
    for program in ("train_keras.py", "train_pytorch.py"):
        assert "BATCH = 128\n" in (EXAMPLE / program).read_text()


def test_the_program_ends_with_one_line_when_its_data_is_not_there(tmp_path):
    code = "import sys; sys.path[:0] = %r; import train_keras; train_keras.main()" % ([str(EXAMPLE)] + [
        str(EXAMPLE.parents[1] / "python"), str(EXAMPLE.parents[1] / "python" / "faces")])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600,
                          env={"DATA_DIR": str(tmp_path), "SWARM_LOOPBACK": "true", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("train_keras.py: ") and "Traceback" not in done.stderr
