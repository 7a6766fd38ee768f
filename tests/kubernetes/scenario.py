"""The scenario: one `kubectl apply -k deploy/kubernetes/scenario`, and what somebody then looks for, until two jobs are complete and both
sites have the same model."""
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import kube
from swarm import ENTRIES, HOME, Swarm, moment

MINUTES = 5
NETWORK_NODES = ("network-node-sentinel", "network-node01")
LEARNING_NODES = ("sl-node01", "sl-node02")
SENTINEL_LINES = (
    "Setting up blockchain layer for the swarm node: START",
    "first node: creating the ledger",
    "Setting up blockchain layer for the swarm node: FINISHED",
    "Starting SWARM-API-SERVER on port :30304",
)
PROGRAM_LINES = (
    "Finished local training rounds",
    "Continuing syncs till minimum required peers finish ...",
    "Checkin model: Snapshot, Using Final local version",
    "All peers finished. Loading final model",
    "same on 2 of 2",
    "final test accuracy: ",
    "Saved the trained model! ",
)
INFRASTRUCTURE = ("network-node-sentinel-0", "network-node01-0", "spire-server-0")
GIB = 1 << 30
# Prints the weights of two saved models as one line each, and how well they are alike.
COMPARE = """
import sys, os
os.environ.setdefault("KERAS_BACKEND", "jax")
import keras, numpy as np
one, two = (keras.models.load_model(path).get_weights() for path in sys.argv[1:])
assert len(one) == len(two) > 0
assert all(np.array_equal(a, b) for a, b in zip(one, two))
"""


class Scenario(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        cls.swarm = Swarm(cls.cluster)
        cls.swarm.delete()  # of a run that was killed
        cls.addClassCleanup(cls.swarm.delete)
        began = time.monotonic()
        cls.swarm.apply()
        cls.cluster.wait("both jobs to be complete", 60 * MINUTES - (time.monotonic() - began),
                         lambda: all(cls.swarm.complete(job) for job in LEARNING_NODES))
        print(f"complete {time.monotonic() - began:.0f} s after apply", flush=True)
        cls.logs = {pod: cls.swarm.lines(pod, "network-node") for pod in (f"{name}-0" for name in NETWORK_NODES)}
        for job in LEARNING_NODES:
            pod, = cls.swarm.pods_of(job)
            cls.logs[f"{job} sl"], cls.logs[f"{job} training"] = cls.swarm.lines(pod, "sl"), cls.swarm.lines(pod, "training")
        cls.logs["tokens"] = cls.swarm.lines("spire-server-0", "tokens")

    def assert_in_order(self, lines, parts):
        at = 0
        for part in parts:
            found = [i for i, line in enumerate(lines) if part in line]
            self.assertEqual(len(found), 1, f"{part!r} is there {len(found)} times in:\n" + "\n".join(lines))
            self.assertGreaterEqual(found[0], at, f"{part!r} comes too early in:\n" + "\n".join(lines))
            at = found[0]

    def test_the_pods_are_as_in_the_scenario(self):
        phases = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in self.swarm.pods()}
        for pod in INFRASTRUCTURE:
            self.assertEqual(phases.pop(pod), "Running")
        self.assertEqual(sorted(name[:len("sl-node01")] for name in phases), list(LEARNING_NODES))
        self.assertEqual(set(phases.values()), {"Succeeded"})

    def test_nothing_was_started_twice(self):
        for pod in self.swarm.pods():
            status = pod["status"]
            for container in status.get("initContainerStatuses", []) + status["containerStatuses"]:
                self.assertEqual(container["restartCount"], 0, f"{pod['metadata']['name']} {container['name']}: {container}")

    def test_network_nodes_say_what_people_wait_for(self):
        self.assert_in_order(self.logs["network-node-sentinel-0"], SENTINEL_LINES)
        follower = [line for line in SENTINEL_LINES if "creating" not in line]
        self.assert_in_order(self.logs["network-node01-0"], follower)

    def test_training_programs_say_what_people_wait_for(self):
        for job in LEARNING_NODES:
            self.assert_in_order(self.logs[f"{job} training"], PROGRAM_LINES)

    def test_the_last_line_says_that_the_model_is_the_same(self):
        ends = {self.logs[f"{job} sl"][-1].rsplit(" : ", 1)[1] for job in LEARNING_NODES}
        self.assertEqual(len(ends), 1, ends)
        self.assertRegex(ends.pop(), r"^finished: \d+ rounds, final model [0-9a-f]{8}, same on 2 of 2$")

    def test_nothing_is_a_warning(self):
        self.assertEqual(self.swarm.complaints(self.logs), "")

    def test_no_secret_is_in_a_log(self):
        secrets = [json.loads(self.swarm.kubectl("get", "secret", f"identity-{node}", "-o", "json"))["data"]
                   for node in NETWORK_NODES + LEARNING_NODES]
        for data in secrets:
            token = kube.run(["base64", "-d"], stdin=data["token"]).stdout.strip()
            self.assertGreater(len(token), 30)
            for name, lines in self.logs.items():
                self.assertNotIn(token, "\n".join(lines), name)

    def test_both_volumes_hold_the_same_model(self):
        results = [self.swarm.result(node) for node in LEARNING_NODES]
        self.assertEqual(results[0]["root"], results[1]["root"])
        self.assertEqual([result["same_on"] for result in results], [2, 2])
        models = [self.swarm.claim_folder(f"model-{node}") / "model" / "mnist.keras" for node in LEARNING_NODES]
        done = subprocess.run([os.environ.get("STARLING_PYTHON", sys.executable), "-c", COMPARE, *map(str, models)],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_commands_of_the_readme_say_what_it_says(self):
        # Applied again they change nothing: it is what setUpClass applied. Of some kinds kubectl says "configured" all the same.
        block, shown = re.search(r"\n## On Kubernetes\n.*?\n```sh\n(.*?)```\n```\n(.*?)```\n", (HOME / "README.md").read_text("utf-8"),
                                 re.DOTALL).groups()
        with tempfile.TemporaryDirectory() as folder:
            kubectl = Path(folder, "kubectl")
            kubectl.write_text(f'#!/bin/sh\nexec {kube.SCRIPT} k "$@"\n', encoding="utf-8")
            kubectl.chmod(0o755)
            done = kube.run(["env", "-C", HOME, f"PATH={folder}:{os.environ['PATH']}", "bash", "-euxc", block])
        applied, told = done.stdout.split("NAME ", 1)
        self.assertEqual([line for line in applied.splitlines() if not line.endswith((" unchanged", " configured", " condition met"))], [])
        self.assertEqual(self.shape("NAME " + told), self.shape(shown))

    @staticmethod
    def shape(text):
        """What a terminal shows, without what differs from run to run."""
        for changing, fixed in ((r"(sl-node\d\d)-\w{5}", r"\1-POD"), (r" +\d+m?\d*s?$", " AGE"), (r"^[-\d]+ [:,\d]+", "TIME"),
                                (r"\b[0-9a-f]{8},", "ROOT,"), (r"\d+ rounds", "N rounds"), (r" +", " ")):
            text = re.sub(changing, fixed, text, flags=re.MULTILINE)
        return text.strip()

    def test_every_signature_holds(self):
        self.assertIn("0 ignored", self.swarm.verify("state-network-node-sentinel-0", "state-network-node01-0"))

    def test_the_ledger_tells_each_round(self):
        done = self.cluster.exec("network-node-sentinel-0", "/usr/bin/starling", "explain", "/var/lib/starling/state",
                                 namespace=self.swarm.namespace)
        rounds = self.swarm.result("sl-node01")["rounds"]
        self.assertIn("sl-node01", done.stdout)
        self.assertIn("sl-node02", done.stdout)
        self.assertIn(f"round {rounds - 1}", done.stdout.lower())

    def test_the_spire_server_has_the_scenarios_entries(self):
        self.assertEqual(self.swarm.entries(), ENTRIES)

    def test_one_setting_names_the_registry(self):
        images = {container["image"] for pod in self.swarm.pods()
                  for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]}
        self.assertEqual({image.split("/")[0] for image in images}, {"localhost"})
        settings = HOME / "deploy" / "kubernetes" / "scenario" / "settings.yaml"
        self.assertEqual(settings.read_text(encoding="utf-8").count("registry: localhost"), 1)

    def test_what_it_takes_beside_the_training_is_small(self):
        memory, spent = zip(*(self.cluster.usage(pod, self.swarm.namespace) for pod in INFRASTRUCTURE))
        requested = sum(self.millicores(container["resources"]["requests"]["cpu"]) for pod in self.swarm.pods()
                        if pod["metadata"]["name"] in INFRASTRUCTURE for container in pod["spec"]["containers"])
        for pod in INFRASTRUCTURE:
            status = self.cluster.json(f"pod/{pod}", self.swarm.namespace)["status"]
            started = max(moment(container["state"]["running"]["startedAt"]) for container in status["containerStatuses"])
            ready, = [moment(c["lastTransitionTime"]) for c in status["conditions"] if c["type"] == "Ready"]
            print(f"{pod} ready {(ready - started).total_seconds():.0f} s after its containers' start", flush=True)
        alive = (datetime.datetime.utcnow() - started).total_seconds()  # of the last one: all began within seconds
        print(f"SNs and SPIRE: {sum(memory) / (1 << 20):.0f} MiB, {sum(spent):.1f} s of CPU so far, {requested} millicores requested", flush=True)
        self.assertLess(sum(memory), GIB)
        self.assertLess(sum(spent), alive)  # less than one processor together, since their start
        self.assertLessEqual(requested, 1000)

    @staticmethod
    def millicores(text):
        return int(text[:-1]) if text.endswith("m") else 1000 * int(text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
