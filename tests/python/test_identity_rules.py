"""docs/identity.md says which rule of SPIFFE is tested by which test: every test it names exists, and none is left out."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not rules of a standard but of the class.
OURS = {"SpiffeIdTest.SplitsTrustDomainAndPath", "SpiffeIdTest.AnUnparsedIdIsEmpty", "BundleJsonTest.AnErrorSaysWhichKey"}


def written(name):
    text = (ROOT / "src/identity" / name).read_text()
    return {".".join(pair) for pair in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", text, re.M)}


def test_every_rule_is_listed_with_its_test():
    named = re.findall(r"`((?:SpiffeId|SvidLeaf|SvidChain|BundleJson)Test\.\w+)`", (ROOT / "docs/identity.md").read_text())
    tests = set()
    for name in ("spiffe_id_test.cc", "svid_leaf_test.cc", "svid_chain_test.cc", "bundle_json_test.cc"):
        tests |= written(name)
    assert tests - OURS == set(named)
    assert len(named) == len(set(named))
