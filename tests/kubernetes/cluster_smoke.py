"""That the test cluster does what a cluster must do, with pods that have nothing to do with us."""
import unittest

import kube

SPACE = "smoke"
IMAGE = "localhost/busybox:1"
CLAIM = {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "resources": {"requests": {"storage": "1Gi"}}}
SERVE = ["/bin/sh", "-c", "trap exit TERM; httpd -p 8080 -h /tmp; sleep 100000 & wait"]


def stateful_set(name, command):
    template = kube.restricted_pod(name, [{
        "name": name, "image": IMAGE, "command": command, "ports": [{"name": "api", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "api"}, "periodSeconds": 1}, "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }])
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
         "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "api", "port": 8080}]}},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
         "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
         "spec": {"serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}},
                  "template": {"metadata": template["metadata"], "spec": template["spec"]},
                  "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}]}},
    ]


class Smoke(kube.Case):
    namespaces = {SPACE: None}

    def phase(self, pod):
        return (self.cluster.json(f"pod/{pod}", SPACE) or {"status": {}})["status"].get("phase")

    def start(self, pod):
        """A pod for this test: without a controller it would be in the way of a drain."""
        self.addCleanup(self.cluster.kubectl, "-n", SPACE, "delete", "pod", pod)
        self.cluster.apply([kube.restricted_pod(pod, [{"name": pod, "image": IMAGE, "command": SERVE}])], SPACE)
        self.cluster.wait("the pod to run", 60, lambda: self.phase(pod) == "Running")

    def test_a_restricted_pod_runs_and_is_measured_and_another_is_refused(self):
        self.start("one")
        self.assertIn("uid=65532", self.cluster.exec("one", "id", namespace=SPACE).stdout)
        memory, cpu = self.cluster.usage("one", SPACE)
        self.assertGreater(memory, 0)
        self.assertGreater(cpu, 0)
        root = kube.restricted_pod("root", [{"name": "root", "image": IMAGE, "securityContext": {"runAsUser": 0}}])
        with self.assertRaisesRegex(kube.Failed, "violates PodSecurity"):
            self.cluster.apply([root], SPACE)

    def test_a_job_ends_and_its_sidecar_with_it(self):
        sidecar = {"name": "sidecar", "image": IMAGE, "restartPolicy": "Always", "command": SERVE,
                   "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
        ask = "echo GET / | nc -w 5 127.0.0.1 8080; echo asked"
        pod = kube.restricted_pod("job", [{"name": "main", "image": IMAGE, "command": ["/bin/sh", "-c", ask]}], restartPolicy="Never",
                                  initContainers=[sidecar])
        self.cluster.apply([{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {
            "backoffLimit": 0, "template": {"metadata": pod["metadata"], "spec": pod["spec"]}}}], SPACE)
        self.cluster.kubectl("-n", SPACE, "wait", "--for=condition=Complete", "job/job", "--timeout=90s")
        self.assertIn("asked", self.cluster.logs("job/job", "main", SPACE))

    def test_a_stateful_pod_has_its_volume_and_name_again_after_a_drain(self):
        self.addCleanup(self.cluster.kubectl, "-n", SPACE, "delete", "statefulset", "web")
        command = ["/bin/sh", "-c", "echo $HOSTNAME >>/data/starts; trap exit TERM; httpd -p 8080 -h /data; sleep 100000 & wait"]
        self.cluster.apply(stateful_set("web", command), SPACE)
        self.cluster.wait("the pod to be ready", 60, lambda: self.cluster.ready("statefulset/web", SPACE))
        self.addCleanup(self.cluster.uncordon)  # whatever happens: others need the node
        self.cluster.drain()
        self.cluster.wait("the pod to be pending", 30, lambda: self.phase("web-0") == "Pending")
        self.cluster.uncordon()
        self.cluster.wait("the pod to be ready again", 60, lambda: self.cluster.ready("statefulset/web", SPACE))
        self.assertEqual(self.cluster.exec("web-0", "cat", "/data/starts", namespace=SPACE).stdout, "web-0\nweb-0\n")
        self.start("asker")
        ask = "printf 'GET /starts HTTP/1.0\\r\\n\\r\\n' | nc -w 5 web-0.web.smoke.svc.cluster.local 8080"
        self.cluster.wait("the name to be known", 30, lambda: "web-0\nweb-0" in self.cluster.exec(
            "asker", "sh", "-c", ask, namespace=SPACE, check=False).stdout)

    def test_a_namespace_that_is_deleted_leaves_nothing(self):
        self.cluster.make_namespace("smoke-gone")
        self.addCleanup(self.cluster.delete_namespace, "smoke-gone")
        self.cluster.apply([kube.restricted_pod("one", [{"name": "one", "image": IMAGE, "command": SERVE}]),
                            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": CLAIM}],
                           "smoke-gone")
        self.cluster.wait("the pod to run", 60, lambda: self.cluster.json("pod/one", "smoke-gone")["status"].get("phase") == "Running")
        self.cluster.wait("the claim to be bound", 30, lambda: self.cluster.json("pvc/data", "smoke-gone")["status"]["phase"] == "Bound")
        folder = self.cluster.claimed("data", "smoke-gone")
        self.assertTrue(folder.is_dir())
        address = self.cluster.json("pod/one", "smoke-gone")["status"]["podIP"]
        self.cluster.delete_namespace("smoke-gone")
        self.assertIsNone(self.cluster.json("namespace/smoke-gone"))
        kinds = self.cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        left = self.cluster.kubectl("get", ",".join(kinds), "-A", "--ignore-not-found", "-o",
                                    "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}")
        self.assertFalse([line for line in left.splitlines() if line.startswith("smoke-gone/")])
        self.cluster.wait("the volume to be gone", 30, lambda: not folder.exists() and not self.cluster.json(f"pv/{folder.name}"))
        self.cluster.wait("the pod's route to be gone", 30,
                          lambda: f"{address} " not in self.cluster.enter(["ip", "route", "show"]).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
