"""A swarm in the test cluster: an overlay of deploy/kubernetes with volumes, what its pods say, and what its nodes keep."""
import datetime
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import kube

HOME = Path(__file__).resolve().parent.parent.parent
DATA = Path("/usr/share/datasets/fashion-mnist")
ENTRIES = [("/swarm/sl", "/swarm/sl-agent", ["swarm-learning-node"]), ("/swarm/sn", "/swarm/sn-agent", ["swarm-network-node"]),
           ("/swarm/swci", "/swarm/swci-agent", ["swci-node"])]
SPACE = "swarm"  # the scenario's namespace
WARNED = re.compile(r" : (WARNING|ERROR|CRITICAL) : ")
# Edits that let several swarms stand side by side on a node of two processors: what they ask for in advance, not what they may take.
MODEST = [(f"requests:\n            cpu: {asked}", "requests:\n            cpu: 10m") for asked in ("500m", "100m")]

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 4).close()
    print("open")
except OSError as error:
    print("closed", error)
"""


def moment(text):
    """A time of the API."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def moved(namespace):
    """MODEST, and edits that put the scenario into another namespace."""
    return [*MODEST, (f"  namespace: {SPACE}\n", f"  namespace: {namespace}\n"), (f"  name: {SPACE}\n", f"  name: {namespace}\n")]


class Swarm:
    """One overlay, applied in one namespace. `edits` are pairs of a text in the rendered manifests and what replaces it."""

    def __init__(self, cluster, overlay=HOME / "deploy" / "kubernetes" / "scenario", namespace=SPACE, edits=()):
        self.cluster, self.overlay, self.namespace, self.edits = cluster, Path(overlay), namespace, list(edits)

    def apply(self):
        """Claims for data first, so that the data is in them when the programs start."""
        manifests = self.cluster.kustomize(self.overlay, self.edits)
        first = [each for each in manifests.split("\n---\n")
                 if "\nkind: Namespace\n" in each or "\nkind: PersistentVolumeClaim\n" in each and "\n  name: data-" in each]
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(first))
        for claim in re.findall(r"\n  name: (data-\S+)", "".join(first)):
            folder = self.cluster.wait(f"{claim} to have a volume", 60, lambda claim=claim: self.claim_folder(claim))
            shutil.copytree(DATA, folder, dirs_exist_ok=True)
        self.cluster.kubectl("apply", "-f", "-", stdin=manifests)

    def delete(self):
        """Deletes what the overlay made, its namespace with it."""
        self.cluster.delete_folder(self.overlay, self.edits)

    def kubectl(self, *arguments, **options):
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def pods(self, **labels):
        """The pods, as objects; those with these labels of app.kubernetes.io."""
        selector = ",".join(f"app.kubernetes.io/{name}={value}" for name, value in labels.items())
        return json.loads(self.kubectl("get", "pods", "-o", "json", *(["-l", selector] if selector else [])))["items"]

    def pods_of(self, job):
        """Names of a job's pods, the newest last."""
        pods = json.loads(self.kubectl("get", "pods", "-o", "json", "-l", f"batch.kubernetes.io/job-name={job}"))["items"]
        return [pod["metadata"]["name"] for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])]

    def complete(self, job):
        conditions = ((self.cluster.json(f"job/{job}", self.namespace) or {}).get("status") or {}).get("conditions") or []
        failed = [c for c in conditions if c["type"] == "Failed" and c["status"] == "True"]
        if failed:
            raise AssertionError(f"{job} failed: {failed}\n{self.cluster.picture()}")
        return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)

    def entries(self):
        """The registration entries of the SPIRE server: (ID, parent, DNS names), without the aliases that join tokens have."""
        done = self.cluster.exec("spire-server-0", "/spire/bin/spire-server", "entry", "show", "-output", "json", container="spire-server",
                                 namespace=self.namespace)
        told = [(each["spiffe_id"]["path"], each["parent_id"]["path"], each["dns_names"]) for each in json.loads(done.stdout)["entries"]]
        return sorted(entry for entry in told if "/spire/agent/" not in entry[1])

    def lines(self, pod, container):
        return self.cluster.logs(pod, container, self.namespace).splitlines()

    def complaints(self, logs):
        """What is at WARNING or above in `logs` (name -> lines), and then all that they say; "" where nothing is."""
        told = [f"{name} | {line}" for name, lines in logs.items() for line in lines]
        loud = [line for line in told if WARNED.search(line)]
        return "\n".join(loud + ["all of it:"] + told) if loud else ""

    def claim_folder(self, claim):
        """The folder, also of this machine, of a claim's volume; None while there is none."""
        found = self.cluster.json(f"persistentvolumeclaim/{claim}", self.namespace)
        if found is None or not found["spec"].get("volumeName"):
            return None
        return self.cluster.claimed(claim, self.namespace)

    def rounds(self, node="network-node-sentinel"):
        """What `starling explain` says of each sealed round, from a copy of a network node's ledger; [] before there is one."""
        folder = self.claim_folder(f"state-{node}-0")
        if folder is None:
            return []
        with tempfile.TemporaryDirectory() as copy:
            for file in (folder / "state").glob("ledger.db*"):
                shutil.copy(file, copy)
            if not Path(copy, "ledger.db").exists():
                return []
            done = kube.run([os.environ["STARLING_BIN"], "explain", "--json", Path(copy, "ledger.db")], check=False)
            rounds = json.loads(done.stdout).get("rounds", []) if done.returncode == 0 else []
            return [told for told in rounds if told["root"]]

    def verify(self, *claims):
        """Runs `starling verify` over the state of these claims' nodes; answers what it prints."""
        folders = [self.claim_folder(claim) / "state" for claim in claims]
        return kube.run([os.environ["STARLING_BIN"], "verify", *folders]).stdout

    def result(self, node):
        """The result.json of a learning node."""
        return json.loads((self.claim_folder(f"model-{node}") / "state" / "result.json").read_text(encoding="utf-8"))

    def pid(self, pod, container):
        """The number of a container's first process, as the node counts."""
        name = self._container(pod, container)
        for line in self.cluster.enter(["ctr", "-n", "k8s.io", "tasks", "list"]).stdout.splitlines():
            if line.startswith(name):
                return line.split()[1]
        raise kube.Failed(f"{pod} {container} does not run")

    def kill(self, pod, container):
        """Kills a container's processes, as a machine without memory does."""
        self.cluster.enter(["ctr", "-n", "k8s.io", "tasks", "kill", "--all", "--signal", "SIGKILL", self._container(pod, container)])

    def _container(self, pod, container):
        status = self.cluster.json(f"pod/{pod}", self.namespace)["status"]
        for each in status.get("initContainerStatuses", []) + status["containerStatuses"]:
            if each["name"] == container:
                return each["containerID"].removeprefix("containerd://")
        raise kube.Failed(f"{pod} has no container {container}")

    def reaches(self, pod, container, address):
        """Whether a program in a running container's network gets a connection to (address, port), whatever is in its image."""
        done = self.cluster.enter(["nsenter", "--target", self.pid(pod, container), "--net", "/usr/bin/python3", "-c", CONNECT, *map(str, address)])
        return done.stdout.startswith("open")

    def address(self, pod):
        return self.cluster.json(f"pod/{pod}", self.namespace)["status"]["podIP"]


class RoundsSwarm(Swarm):
    """The scenario with the deterministic trainer (overlays/rounds): it goes on until finish()."""

    nodes = ("sl-node01", "sl-node02")

    def __init__(self, cluster, namespace, edits=()):
        super().__init__(cluster, HOME / "tests" / "kubernetes" / "overlays" / "rounds", namespace, [*moved(namespace), *edits])

    def apply(self):
        program = {name: (HOME / "tests" / "chaos" / name).read_text(encoding="utf-8") for name in ("program.py", "updates.py")}
        space = (HOME / "deploy" / "kubernetes" / "scenario" / "namespace.yaml").read_text(encoding="utf-8")
        self.cluster.kubectl("apply", "-f", "-", stdin=space.replace(f"name: {SPACE}\n", f"name: {self.namespace}\n"))
        self.cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "program"}, "data": program}], self.namespace)
        super().apply()

    def sealed(self):
        """How many rounds are."""
        return len(self.rounds())

    def wait_rounds(self, more, limit=120):
        """Waits for so many more rounds."""
        wanted = self.sealed() + more
        self.cluster.wait(f"round {wanted}", limit, lambda: self.sealed() >= wanted)

    def finish(self, limit=180):
        """Tells the programs to end with a round that comes soon, and waits for the jobs."""
        last = self.sealed() + 10
        for node in self.nodes:
            (self.claim_folder(f"model-{node}") / "model" / "end").write_text(str(last), encoding="ascii")
        for node in self.nodes:
            self.cluster.wait(f"{node} to be complete", limit, lambda node=node: self.complete(node))
