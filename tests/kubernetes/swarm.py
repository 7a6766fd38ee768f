"""A swarm in the test cluster: an overlay of deploy/kubernetes with volumes, what its pods say, and what its nodes keep."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import kube

HOME = Path(__file__).resolve().parent.parent.parent
DATA = Path("/usr/share/datasets/fashion-mnist")
CLASS = "folders"
ENTRIES = [("/swarm/sl", "/swarm/sl-agent", ["swarm-learning-node"]), ("/swarm/sn", "/swarm/sn-agent", ["swarm-network-node"]),
           ("/swarm/swci", "/swarm/swci-agent", ["swci-node"])]
WARNED = re.compile(r" : (WARNING|ERROR|CRITICAL) : ")
EVERY = 0.5  # seconds between two looks of the provisioner


class Provisioner:
    """What makes volumes in other clusters: each claim without a volume gets a folder of the node, which goes with the claim. Claims named
    data-* hold the data set. As a context: it works while inside."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        self.cluster.apply([{
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "starling.dev/folders",
            "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}])
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.stop.set()
        self.thread.join()
        self._collect()

    def _work(self):
        while not self.stop.wait(EVERY):
            try:
                self._provide()
                self._collect()
            except (kube.Failed, subprocess.TimeoutExpired) as error:
                print(f"provisioner: {error}", flush=True)

    def _all(self, kind):
        return json.loads(self.cluster.kubectl("get", kind, "-A", "-o", "json"))["items"]

    def _provide(self):
        for claim in self._all("persistentvolumeclaims"):
            meta, spec = claim["metadata"], claim["spec"]
            if spec.get("storageClassName") != CLASS or spec.get("volumeName") or claim["status"].get("phase") != "Pending":
                continue
            name = f"pvc-{meta['uid']}"
            folder = self.cluster.volume(name, DATA if meta["name"].startswith("data-") else None)
            affinity = {"key": "kubernetes.io/hostname", "operator": "In", "values": [kube.NODE]}
            self.cluster.apply([{
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"], "storageClassName": CLASS,
                         "persistentVolumeReclaimPolicy": "Retain", "local": {"path": str(folder)},
                         "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": meta["name"],
                                      "namespace": meta["namespace"], "uid": meta["uid"]},
                         "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}}}}])

    def _collect(self):
        for volume in self._all("persistentvolumes"):
            if volume["spec"].get("storageClassName") == CLASS and volume["status"].get("phase") == "Released":
                name = volume["metadata"]["name"]
                self.cluster.kubectl("delete", "persistentvolume", name, "--wait=false", "--ignore-not-found")
                shutil.rmtree(self.cluster.state / "volumes" / name, ignore_errors=True)


class Swarm:
    """One overlay, applied in one namespace. `edits` are pairs of a text in the rendered manifests and what replaces it."""

    def __init__(self, cluster, overlay=HOME / "deploy" / "kubernetes" / "scenario", namespace="swarm", edits=()):
        self.cluster, self.overlay, self.namespace, self.edits = cluster, Path(overlay), namespace, list(edits)

    def apply(self):
        self.cluster.apply_folder(self.overlay, self.edits)

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

    def warnings(self, lines):
        return [line for line in lines if WARNED.search(line)]

    def claim_folder(self, claim):
        """The folder of the machine in which a claim's volume is."""
        volume = self.cluster.json(f"persistentvolumeclaim/{claim}", self.namespace)["spec"]["volumeName"]
        return Path(self.cluster.json(f"persistentvolume/{volume}")["spec"]["local"]["path"])

    def rounds(self, node="network-node-sentinel"):
        """What `starling explain` says of each round, from a copy of a network node's ledger; [] before there is one."""
        folder = self.claim_folder(f"state-{node}-0") / "state"
        with tempfile.TemporaryDirectory() as copy:
            for file in folder.glob("ledger.db*"):
                shutil.copy(file, copy)
            if not Path(copy, "ledger.db").exists():
                return []
            done = kube.run([os.environ["STARLING_BIN"], "explain", "--json", Path(copy, "ledger.db")], check=False)
            return json.loads(done.stdout).get("rounds", []) if done.returncode == 0 else []

    def verify(self, *claims):
        """Runs `starling verify` over the state of these claims' nodes; answers what it prints."""
        folders = [self.claim_folder(claim) / "state" for claim in claims]
        return kube.run([os.environ["STARLING_BIN"], "verify", *folders]).stdout

    def result(self, node):
        """The result.json of a learning node."""
        return json.loads((self.claim_folder(f"model-{node}") / "state" / "result.json").read_text(encoding="utf-8"))


class RoundsSwarm(Swarm):
    """The scenario with the deterministic trainer (overlays/rounds): it goes on until finish()."""

    nodes = ("sl-node01", "sl-node02")

    def __init__(self, cluster, edits=()):
        super().__init__(cluster, HOME / "tests" / "kubernetes" / "overlays" / "rounds", edits=edits)

    def apply(self):
        program = {name: (HOME / "tests" / "chaos" / name).read_text(encoding="utf-8") for name in ("program.py", "updates.py")}
        self.cluster.kubectl("apply", "-f", HOME / "deploy" / "kubernetes" / "scenario" / "namespace.yaml")
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
