"""What the documents about Kubernetes name is there: files, overlays, objects, settings, flags, variables, codes, texts of logs, links.
Reads sources and manifests as text: neither Kubernetes nor a build is needed."""
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "kubernetes"
GUIDE = "docs/kubernetes.md"
MANIFESTS = "deploy/kubernetes/README.md"
DECISION = "docs/decisions/0006-join-tokens-on-kubernetes.md"
PARTS = {"README.md": "On Kubernetes", "CONTRIBUTING.md": "Manifests"}  # of documents about other things, too
OWN = "deploy/kubernetes/hospital"  # the reader's copy of the scenario
# Texts that are Kubernetes' or the machine's, not ours.
THEIRS = {
    "references non-existent secret key: token", "pod has unbound immediate PersistentVolumeClaims", "Insufficient cpu",
    "failed to create subPath directory",
    "waiting for first consumer to be created before binding", "Insufficient nvidia.com/gpu", "couldn't find key",
    "in ConfigMap swarm/swarm-settings", 'violates PodSecurity "restricted:latest"', "field is immutable", "Permission denied",
}


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def document(path):
    """A document, or the part of it that is about Kubernetes."""
    return section(read(path), PARTS[path]) if path in PARTS else read(path)


DOCUMENTS = (GUIDE, MANIFESTS, DECISION, *PARTS)
every_document = pytest.mark.parametrize("path", DOCUMENTS)


def section(text, heading):
    """What is below a heading, its smaller ones included."""
    level, rest = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", text, re.M | re.S).groups()
    end = re.search(rf"^#{{1,{len(level)}}} ", fences_blanked(rest), re.M)
    return rest[:end.start()] if end else rest


def fences_blanked(text):
    """The text with its fenced blocks as blanks, of the same length: a # in there is no heading."""
    return re.sub(r"^```.*?^```", lambda found: re.sub(r"\S", " ", found[0]), text, flags=re.M | re.S)


def fences(text):
    return re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)


def spans(text):
    """What stands between `backticks`."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def code(text):
    return [*fences(text), *spans(text)]


def rows(text):
    """The cells of each table's row, heads and rules left out."""
    found = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return [row for i, row in enumerate(found) if not set(row[0]) <= set("- |") and not (i + 1 < len(found) and set(found[i + 1][0]) <= set("- |"))]


@cache
def sources(*patterns):
    """The sources as one text; literals that go on in the next line are joined."""
    text = "\n".join(file.read_text(encoding="utf-8") for pattern in patterns for file in sorted(ROOT.glob(pattern)))
    return re.sub(r'"\s*\n\s*f?"', "", text)


# --- kustomize, as far as the documents need it ---------------------------------------------------------------------------------

def entries(text, key):
    """The list behind a key at the beginning of a line."""
    inline = re.search(rf"^{key}: \[(.*?)\]", text, re.M)
    if inline:
        return [item.strip() for item in inline[1].split(",")]
    block = re.search(rf"^{key}:\n((?:- .*\n|  .*\n|#.*\n)*)", text, re.M)
    return re.findall(r"^- (?:name: )?(\S+)$", block[1], re.M) if block else []


def objects(folder):
    """(kind, name) of all that an overlay, a base or a component brings; hashes behind names left out."""
    text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
    suffix = re.search(r'^nameSuffix: "?([^"\n]+)"?', text, re.M)
    found = {("ConfigMap", name) for name in entries(text, "configMapGenerator")}
    for item in [*entries(text, "resources"), *entries(text, "components")]:
        path = folder / item
        found |= objects(path) if path.is_dir() else written(path)
    return {(kind, name + suffix[1]) for kind, name in found} if suffix else found


def written(file):
    found = set()
    for item in re.split(r"^---$", file.read_text(encoding="utf-8"), flags=re.M):
        name = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)", item, re.M)
        found.add((re.search(r"^kind: (\S+)", item, re.M)[1], name[1]))
    return found


@cache
def overlays():
    """All objects of the overlays that the documents speak of."""
    return objects(DEPLOY / "scenario") | objects(DEPLOY / "two-organisations" / "a") | objects(DEPLOY / "two-organisations" / "b")


def names(*kinds):
    return {name for kind, name in overlays() if kind in kinds}


# --- the tests ------------------------------------------------------------------------------------------------------------------

@every_document
def test_files_that_are_named_exist(path):
    text = document(path)
    named = set(re.findall(r"(?<![\w./-])(?:deploy|docs|tests|src|examples|python)/[\w./-]*\w", "\n".join(code(text))))
    named = {name for name in named if not name.startswith(OWN)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", [GUIDE, MANIFESTS])
def test_folders_of_manifests_exist(path):
    tops = "|".join(sorted(folder.name for folder in DEPLOY.iterdir() if folder.is_dir()))
    named = set(re.findall(rf"^(?:\.\./)?((?:{tops})(?:/[\w.-]+)*)$", "\n".join(spans(document(path))), re.M))
    assert len(named) > 12
    assert [name for name in sorted(named) if not (DEPLOY / name).exists()] == []


def test_the_map_of_the_folder_is_whole():
    named = {span for row in rows(document(MANIFESTS)) for span in spans(row[0] + row[2])}
    folders = {file.parent.relative_to(DEPLOY).as_posix() for file in DEPLOY.rglob("*") if file.is_file() and file.parent != DEPLOY}
    parts = {"/".join(folder.split("/")[:1 if folder.startswith("scenario") else 2]) for folder in folders}
    assert sorted(parts - named) == []


@every_document
def test_what_is_applied_can_be(path):
    for folder in re.findall(r"kubectl (?:apply|diff|delete|kustomize)(?: -k)? (deploy/\S+?)[`\s]", document(path)):
        assert folder == OWN or (ROOT / folder / "kustomization.yaml").is_file(), folder


def test_the_readers_copy_is_made_before_it_is_used():
    for path in (GUIDE, MANIFESTS):
        text = document(path)
        copied = text.index(f"cp -r deploy/kubernetes/scenario {OWN}\n")
        assert all(found.start() >= copied for found in re.finditer(re.escape(OWN), text))


def test_the_table_of_objects_is_the_scenarios():
    text = section(document(GUIDE), "What each object is for").split("Inside a Job's pod")[0]
    told = [pair for row in rows(text) for pair in re.findall(r"([A-Z]\w+) `([\w-]+)`", row[0])]
    assert len(told) == len(set(told))
    assert sorted(told) == sorted(objects(DEPLOY / "scenario"))
    for claim in re.findall(r"`state-([\w-]+)-0`", document(GUIDE)):
        assert ("StatefulSet", claim) in objects(DEPLOY / "scenario")
    for row in rows(text):
        assert (DEPLOY / spans(row[2])[0]).exists()


@every_document
def test_commands_name_objects_that_are_there(path):
    text = document(path)
    made = set(re.findall(r"metadata: \{name: ([\w-]+)|^metadata:\n  name: ([\w-]+)|create \w+(?: generic)? ([\w-]+)", text, re.M))
    made = {name for each in made for name in each if name}
    pods = {f"{name}-0" for name in names("StatefulSet")}
    known = {"job": names("Job"), "statefulset": names("StatefulSet"), "secret": names("Secret") | made, "pod": pods | made,
             "deployment": names("Deployment")}
    for kind, name in re.findall(r"\b(job|statefulset|secret|pod|deployment)/([\w-]+)", "\n".join(code(text))):
        assert name in known[kind], f"{kind}/{name}"
    for name in re.findall(r"kubectl -n \S+ (?:exec(?: -i)?|logs) ([a-z][\w-]*)(?![\w/-])", "\n".join(code(text))):
        assert name in pods | made, name
    for name in re.findall(r"kubectl -n ([a-z][\w-]*)", text):
        assert name in names("Namespace"), name


def test_the_table_of_settings_is_whole():
    text = section(document(GUIDE), "settings.yaml")
    scenario, other = (dict(re.findall(r'^  ([\w-]+): "?([^"\n]+)"?$', (DEPLOY / file).read_text(encoding="utf-8").split("\ndata:")[1], re.M))
                       for file in ("scenario/settings.yaml", "two-organisations/a/settings.yaml"))
    single = {spans(row[0])[0]: spans(row[2])[0] for row in rows(text) if len(row) == 4}
    assert single == scenario
    several = {key for row in rows(text) if len(row) == 2 for key in spans(row[0])}
    assert several == set(other) - set(scenario)


@cache
def commands_and_flags():
    line, table = sources("src/command_line.cc"), sources("src/environment*.cc")
    flags = set(re.findall(r'\.name = "([\w-]+)"', table))
    for group in re.findall(r"\.flags = \{([^}]*)\}", table):
        flags |= set(re.findall(r'"([\w-]+)"', group))
    for option in re.findall(r'add_(?:option|flag)(?:_function<[^(]*>)?\(\s*"([^"]+)"', line):
        flags |= {part.lstrip("!-") for part in option.split(",")}
    commands = set(re.findall(r'(?:Add\(\s*\*?\w+,|add_subcommand\()\s*"([\w-]+)"', line))
    return commands, flags


@every_document
def test_commands_and_flags_of_starling_exist(path):
    commands, flags = commands_and_flags()
    assert {"sn", "explain", "spire-tokens"} <= commands and {"sn-ip", "join-token-file"} <= flags
    for text in code(document(path)):
        calls = re.findall(r"(?:^|[ /])starling ((?:[a-z]|/)[^|`\n]*)", text) + [" ".join(args.replace(",", " ").split())
                                                                                  for args in re.findall(r"args: \[(.*?)\]", text, re.S)]
        for call in calls:
            assert call.split()[0] in commands, call
            assert set(re.findall(r"--([a-z][\w-]+)", call)) - {"cmd"} <= flags, call
        if text.startswith("--"):
            assert text[2:].split("=")[0] in flags, text


@every_document
def test_variables_exist(path):
    known = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', sources("src/environment*.cc", "python/**/*.py", "examples/**/*.py", "tests/kubernetes/*.py")))
    known |= set(re.findall(r"\{name: ([A-Z][A-Z0-9_]+), value", sources("deploy/kubernetes/**/*.yaml")))
    known |= set(re.findall(r"\bSTARLING_\w+", sources("dev", "tests/kubernetes/cluster/*.sh", "deploy/images/build")))
    assert {"DATA_DIR", "MLCMD", "STARLING_SOCKET", "MIN_PEERS"} <= known
    used = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|\bMLCMD\b|\bPYTHONPATH\b", "\n".join(code(document(path)))))
    assert sorted(used - known) == []


def trouble_cells():
    return [cell for row in rows(section(document(GUIDE), "When something is wrong")) for cell in row[:1]]


def test_codes_are_ours():
    known = set(re.findall(r'"([a-z]+(?:-[a-z0-9]+)+)"', sources("src/**/*.cc"))) | set(re.findall(r'"([a-z-]+): ', sources("src/*.cc")))
    codes = {span for cell in trouble_cells() for span in spans(cell) if re.fullmatch(r"[a-z]+(-[a-z]+)+", span)}
    assert len(codes) > 12
    assert sorted(codes - known) == []


def test_texts_of_logs_are_ours():
    ours = sources("src/**/*.cc", "python/**/*.py", "examples/**/*.py")
    texts = {span for cell in trouble_cells() for span in spans(cell) if " " in span}
    assert len(texts - THEIRS) > 10
    assert [text for text in sorted(texts - THEIRS) if text not in ours] == []
    assert THEIRS - texts == set(), "no longer told"


def test_metrics_exist():
    told = set(re.findall(r"\bstarling_[a-z_]+\b", "\n".join(spans(document(GUIDE)))))
    assert len(told) > 6
    assert sorted(name for name in told if f'"{name}"' not in sources("src/**/*.cc")) == []


def test_the_table_of_resources_is_the_manifests():
    manifests = sources("deploy/kubernetes/**/*.yaml")
    told = rows(section(document(GUIDE), "Resources"))
    assert len(told) >= 7
    for name, asks, may in told:
        found = re.search(rf"^ *- name: {name.strip('`')}\b[^\n]*\n(?:(?!^ *- name: [a-z]|^---).*\n)*?"
                          r' *requests: \{cpu: "?(\w+)"?, memory: (\w+),.*\n *limits: \{cpu: "?(\w+)"?, memory: (\w+),', manifests, re.M)
        assert found, name
        cpu, memory, cpu_max, memory_max = found.groups()
        assert (asks, may.replace(" CPU", "")) == (f"{cpu}, {memory}", f"{cpu_max}, {memory_max}"), name


def test_what_the_scenario_asks_for_is_the_sum():
    text = section(document(GUIDE), "Resources")
    asks = {name.strip("`"): (int(cpu), int(memory) * (1024 if unit == "Gi" else 1))
            for name, cpu, memory, unit in ((row[0], *re.match(r"(\d+)m, (\d+)([GM]i)", row[1]).groups()) for row in rows(text))}
    jobs, network_nodes = (sum(kind == wanted and "node" in name for kind, name in objects(DEPLOY / "scenario")) for wanted in ("Job", "StatefulSet"))
    times = {"network-node": network_nodes, "spire-server": 1, "tokens": 1, "sl": jobs, "training": jobs}  # `client` ends before `training` begins
    cpu, memory = (sum(asks[name][i] * count for name, count in times.items()) for i in (0, 1))
    assert f"The whole scenario asks for {cpu}m and {memory}Mi." in text


def test_images_are_built_here_or_named_so():
    built = {folder.name for folder in (ROOT / "deploy" / "images").iterdir() if folder.is_dir()}
    for row in rows(section(document(GUIDE), "Images")):
        assert spans(row[0])[0].split(":")[0] in built, row[0]


def test_the_excerpt_of_an_imported_job_is_in_it():
    text = read("tests/kubernetes/legacy/expected/sl-node01.yaml")
    block = next(block for block in fences(document(GUIDE)) if "sl-keras" in block)
    assert re.search(r"image: (\S+)", block)[1] in text
    for name, value in re.findall(r"\{name: (\w+), value: ([^}]+)\}", block):
        assert re.search(rf"- name: {name}\n *value: {re.escape(value)}\n", text), name


def anchors(text):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", fences_blanked(text), re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]|\]\([^)]*\)", "", head).lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", [GUIDE, MANIFESTS, DECISION, "README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/identity.md",
                                  "docs/kubernetes-import.md", "deploy/images/README.md", "deploy/helm/starling/README.md"])
def test_links_and_their_anchors_resolve(path):
    text = fences_blanked(read(path))
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / path).parent / file if file else ROOT / path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


def test_the_readme_gives_commands_that_can_be_run_as_they_stand():
    commands, output = fences(document("README.md"))
    assert all(line.startswith("kubectl ") and not re.search(r"[<>…]|\b[A-Z]{3,}\b", line) for line in commands.splitlines())
    assert "same on 2 of 2" in output
    assert len(document("README.md").splitlines()) <= 25
