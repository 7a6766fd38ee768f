"""The test cluster, for the tests that use it: one node, which cluster/cluster.sh starts. All waits are bounded and say for what.

`kube.py up` and `kube.py down` are the fixture of the tests; the cluster ends by itself when the process that called `up` is gone,
unless STARLING_KUBE_KEEP is set: then it stays until somebody says `cluster/cluster.sh down`.
"""
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "cluster" / "cluster.sh"
NODE = "node0"
NODE_IP = "10.20.0.2"  # the node's, where the API server and the node ports listen
OUTSIDE_IP = "10.20.0.1"  # of the network beside the node, where Cluster.outside() runs
API_IP = "10.96.0.1"  # the API server's service
COMMAND_SECONDS = 180
PAUSE = threading.Event()  # never set: the pause between two questions
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


class Failed(AssertionError):
    """A command failed; says which, and what it printed."""


def run(arguments, stdin=None, check=True, limit=COMMAND_SECONDS):
    """Runs a program; answers the finished process, with its output as text. `limit` is in seconds."""
    done = subprocess.run([str(argument) for argument in arguments], input=stdin, capture_output=True, text=True, timeout=limit,
                          stdin=None if stdin is not None else subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(str(a) for a in arguments[1:])}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Cluster:
    """The running cluster. Paths of the machine below `state` are the same in the node."""

    def __init__(self, state):
        self.state = Path(state)

    def script(self, *arguments, **options):
        return run([SCRIPT, *arguments], **options)

    def kubectl(self, *arguments, stdin=None, check=True, limit=COMMAND_SECONDS):
        """Answers what kubectl prints. Raises Failed where it fails; without `check` the answer ends with its complaint."""
        done = self.script("k", *arguments, stdin=stdin, check=check, limit=limit)
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def json(self, what, namespace="default"):
        """An object (pod/web) or a list (pods) of the API; None if it is not there."""
        text = self.kubectl("-n", namespace, "get", what, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def apply(self, objects, namespace="default"):
        """Applies a list of objects, or text in YAML."""
        if not isinstance(objects, str):
            objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        return self.kubectl("-n", namespace, "apply", "-f", "-", stdin=objects)

    def kustomize(self, path, edits=()):
        """What kustomize makes of a folder, after the `edits`: pairs of a text, which must be there, and what replaces it."""
        text = self.kubectl("kustomize", path)
        for old, new in edits:
            if old not in text:
                raise Failed(f"{path}: no {old!r} to replace")
            text = text.replace(old, new)
        return text

    def delete_folder(self, path, edits=()):
        return self.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=self.kustomize(path, edits))

    def wait(self, what, limit, condition):
        """Asks `condition` until it answers something true, which is returned. After `limit` seconds it raises Failed, with the pods
        and events of the moment. A command that fails inside counts as no."""
        end = time.monotonic() + limit
        problem = ""
        while True:
            try:
                answer = condition()
                if answer:
                    return answer
            except Failed as error:
                problem = f"\n{error}"
            if time.monotonic() > end:
                raise Failed(f"waited {limit} s in vain for {what}{problem}\n{self.picture()}")
            PAUSE.wait(0.2)

    def picture(self):
        """The pods and the last events, for the message of a test that failed."""
        pods = self.kubectl("get", "pods", "-A", "-o", "wide", check=False)
        events = self.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", check=False).splitlines()
        return "\n".join([pods, *events[-25:]])

    def logs(self, pod, container=None, namespace="default", previous=False):
        return self.kubectl("-n", namespace, "logs", pod, *(["-c", container] if container else ["--all-containers"]),
                            *(["--previous"] if previous else []))

    def exec(self, pod, *argv, container=None, namespace="default", check=True):
        """Runs a program in a container; answers the finished process."""
        return self.script("k", "-n", namespace, "exec", pod, *(["-c", container] if container else []), "--", *argv, check=check)

    def enter(self, argv, **options):
        """Runs a program in the node (its network, processes and mounts); answers the finished process."""
        return self.script("enter", *argv, **options)

    def outside(self, argv, **options):
        """Runs a program in the network beside the node; answers the finished process."""
        return self.script("outside", *argv, **options)

    def start_outside(self, argv):
        """The same in the background; answers the process, with pipes as its input and output. It must end with its input: it is in
        another PID namespace, where no signal of ours gets to."""
        return subprocess.Popen([SCRIPT, "outside", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def load(self, archive):
        """Imports an image from an OCI archive."""
        self.script("load", archive, limit=600)

    def volume(self, name, source=None, mode=0o777):
        """A folder of the node for a volume of type hostPath, with a copy of the folder `source` in it. Answers its path. It is new: what was
        in it is removed. Claims of the default storage class need none: cluster/volumes.py makes theirs."""
        folder = self.state / "volumes" / name
        shutil.rmtree(folder, ignore_errors=True)
        if source is None:
            folder.mkdir(parents=True)
        else:
            shutil.copytree(source, folder)
        folder.chmod(mode)
        return folder

    def claimed(self, claim, namespace="default"):
        """The folder, also of the machine, of a claim that is bound."""
        volume = self.json(f"persistentvolumeclaim/{claim}", namespace)["spec"]["volumeName"]
        source = self.json(f"persistentvolume/{volume}")["spec"]
        return Path((source.get("local") or source["hostPath"])["path"])

    def usage(self, pod, namespace="default", limit=60):
        """(bytes of memory in use, seconds of CPU since its start) of a pod, as the kubelet measures them every ten seconds."""
        def measured():
            for item in json.loads(self.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/stats/summary"))["pods"]:
                reference = item["podRef"]
                if (reference["name"], reference["namespace"]) == (pod, namespace):
                    memory, cpu = item.get("memory", {}).get("workingSetBytes"), item.get("cpu", {}).get("usageCoreNanoSeconds")
                    return (memory, cpu / 1e9) if memory and cpu else None
            return None

        return self.wait(f"the kubelet to measure {namespace}/{pod}", limit, measured)

    def ready(self, what, namespace="default"):
        """Whether all pods of a StatefulSet or Deployment are (statefulset/web)."""
        item = self.json(what, namespace)
        status = (item or {}).get("status", {})
        return (item is not None and status.get("observedGeneration") == item["metadata"]["generation"]
                and status.get("readyReplicas", 0) == status.get("updatedReplicas", 0) == item["spec"]["replicas"])

    def drain(self, limit=120):
        """Evicts all pods; with one node they stay pending until uncordon(). The cluster's own names are gone with them. Fails where a pod
        has no controller that would make it again."""
        self.kubectl("drain", NODE, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={limit}s", limit=limit + 30)

    def uncordon(self, limit=60):
        """Lets pods run again, and waits for the cluster's names."""
        self.kubectl("uncordon", NODE)
        self.wait("the names of the cluster", limit, lambda: self.ready("deployment/coredns", "kube-system"))

    def make_namespace(self, name, labels=None):
        """A namespace in which only restricted pods may run, unless `labels` say otherwise; ready for pods."""
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**RESTRICTED, **(labels or {})}}}])
        self.wait(f"the service account of {name}", 30, lambda: self.json("serviceaccount/default", name))

    def delete_namespace(self, name, limit=120):
        """Deletes it with all that is in it, and waits until it is gone."""
        self.kubectl("delete", "namespace", name, "--ignore-not-found", f"--timeout={limit}s", limit=limit + 30)


def cluster():
    """The cluster that runs."""
    return Cluster(os.environ["STARLING_KUBE_STATE"])


class Case(unittest.TestCase):
    """A test with namespaces of its own: those that `namespaces` names (name -> labels) are there, empty, when its class begins, and are
    deleted at its end."""

    namespaces = {}

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster()
        for name, labels in cls.namespaces.items():
            cls.cluster.delete_namespace(name)  # of a run that was killed
            cls.addClassCleanup(cls.cluster.delete_namespace, name)
            cls.cluster.make_namespace(name, labels)


def restricted_pod(name, containers, labels=None, **spec):
    """A pod that a restricted namespace takes, as an object of the API; `spec` goes into its specification."""
    for container in containers + spec.get("initContainers", []):
        container.setdefault("imagePullPolicy", "Never")
        container.setdefault("securityContext", {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})
    user = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {"containers": containers, "securityContext": user, "terminationGracePeriodSeconds": 1,
                 "automountServiceAccountToken": False, **spec},
    }


def main():
    if sys.argv[1:] not in (["up"], ["down"]):
        sys.exit("kube.py up|down")
    keep = bool(os.environ.get("STARLING_KUBE_KEEP"))
    if sys.argv[1] == "down" and keep:
        return
    if "STARLING_KUBE" not in os.environ:
        sys.exit("STARLING_KUBE names no folder with Kubernetes' binaries: ./dev test kube builds them")
    environment = dict(os.environ) if keep else {**os.environ, "STARLING_KUBE_OWNER": str(os.getppid())}
    arguments = [SCRIPT, sys.argv[1], *(["keep"] if sys.argv[1] == "down" else [])]
    sys.exit(subprocess.run(arguments, env=environment, stdin=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    main()
