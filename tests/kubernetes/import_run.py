"""A swarm of HPE's six manifests, as `starling kube import` moves them: their own names, ports, claims, arguments and MLCMD, until both
jobs are complete and both model volumes hold the same model."""
import os
import re
import shutil
import unittest
from pathlib import Path

import kube
from swarm import DATA, HOME, Swarm

HERE = Path(__file__).resolve().parent
SPACE = "imported-run"
LEARNING_NODES = ("sl-node01", "sl-node02")
NETWORK_NODES = ("network-node-sentinel", "network-node01")
MINUTES = 5
# What is another cluster's: its registry, its pulls, its large volumes, its machines.
EDITS = (
    (r"namespace: swarm\b", f"namespace: {SPACE}"),
    (r"registry\.example/", "localhost/"),
    (r"imagePullPolicy: Always", "imagePullPolicy: IfNotPresent"),
    (r"storage: 10Gi", "storage: 1Gi"),
    (r"(-data\n(?:.*\n)*?  storageClassName:) nfs", r"\1 import-data"),
    (r"(-model\n(?:.*\n)*?  storageClassName:) nfs", r"\1 import-model"),
    (r", nvidia.com/gpu: 1", ""),
    (r"  nodeSelector:\n    site: b\n", ""),
    (r"(MAX_EPOCHS, value:) \"5\"", r'\1 "1"'),
)


class ImportedRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kube.cluster()
        cls.cluster.load(HOME / "build" / "images" / "sl-keras.tar")
        cls.swarm = Swarm(cls.cluster, cls.overlay(), SPACE)
        cls.swarm.delete()  # of a run that was killed
        cls.addClassCleanup(cls.swarm.delete)
        cls.volumes()
        cls.swarm.apply()
        for job in LEARNING_NODES:
            cls.cluster.wait(f"{job} to be complete", 60 * MINUTES, lambda job=job: cls.swarm.complete(job))

    @classmethod
    def overlay(cls):
        folder = cls.cluster.state / "import" / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files = []
        for file in sorted((HERE / "legacy").glob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            for old, new in EDITS:
                text = re.sub(old, new, text)
            files.append(folder / file.name)
            files[-1].write_text(text, encoding="utf-8")
        base = os.path.relpath(HOME / "deploy" / "kubernetes" / "base", folder / "overlay")
        kube.run([os.environ["STARLING_BIN"], "kube", "import", *files, "-o", folder / "overlay", "--base", base])
        return folder / "overlay"

    @classmethod
    def volumes(cls):
        """The site's data and, as HPE wants it, the program in the model directory."""
        program = cls.cluster.state / "import" / "program"
        shutil.rmtree(program, ignore_errors=True)
        shutil.copytree(HOME / "examples" / "mnist", program)
        shutil.copy(program / "train_keras_03.py", program / "mnist_tf.py")
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [kube.NODE]}
        for kind, source in (("data", DATA), ("model", program)):
            for node in LEARNING_NODES:
                name = f"import-{node}-{kind}"
                cls.cluster.kubectl("delete", "persistentvolume", name, "--ignore-not-found")
                cls.addClassCleanup(cls.cluster.kubectl, "delete", "persistentvolume", name, "--wait=false")
                cls.cluster.apply([{
                    "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                    "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": f"import-{kind}",
                             "persistentVolumeReclaimPolicy": "Retain", "local": {"path": str(cls.cluster.volume(name, source))},
                             "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}}}])

    def test_the_jobs_are_complete_at_the_first_attempt(self):
        for pod in self.swarm.pods():
            for status in pod["status"]["containerStatuses"]:
                self.assertEqual(status["restartCount"], 0, pod["metadata"]["name"])
        for job in LEARNING_NODES:
            self.assertEqual(len(self.swarm.pods_of(job)), 1)

    def test_both_volumes_hold_a_model_that_is_the_same_on_both(self):
        ends = set()
        for job in LEARNING_NODES:
            lines = self.swarm.lines(self.swarm.pods_of(job)[0], "sl")
            finished = [line.rsplit(" : ", 1)[1] for line in lines if " : finished: " in line]
            self.assertEqual(len(finished), 1, lines)
            self.assertRegex(finished[0], r"^finished: \d+ rounds, final model [0-9a-f]{8}, same on 2 of 2$")
            ends.add(finished[0])
            self.assertTrue((self.swarm.claim_folder(f"{job}-model") / "mnist.keras").is_file())
        self.assertEqual(len(ends), 1, ends)

    def test_nothing_is_a_warning(self):
        logs = [(self.swarm.pods_of(job)[0], "sl") for job in LEARNING_NODES] + [(f"{node}-0", "network-node") for node in NETWORK_NODES]
        self.assertEqual(self.swarm.complaints({pod: self.swarm.lines(pod, container) for pod, container in logs}), "")

    def test_every_signature_holds(self):
        self.assertIn("0 ignored", self.swarm.verify(*(f"starling-state-{node}-0" for node in NETWORK_NODES)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
