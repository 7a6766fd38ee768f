"""That the test cluster enforces NetworkPolicies, in both directions, for whatever a pod may reach: other pods by address, name, service
and node port, the node, the API server, and the world outside. Tests of our own policies rest on this."""
import subprocess
import sys
import unittest
from concurrent import futures

import kube

SPACE, OTHER = "policy", "policy-other"
IMAGE = "localhost/busybox:1"
PORTS = {"api": 8080, "blobs": 8081}
ASK = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port}"
NODE_PORT = 30304
# A listener outside that answers each connection.
LISTEN = "import http.server as h, sys; h.ThreadingHTTPServer(('', int(sys.argv[1])), h.BaseHTTPRequestHandler).serve_forever()"
OUTSIDE_PORT = 8000
NAMES = {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
         "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}


def server():
    listen = " ".join(f"httpd -p {port} -h /tmp;" for port in PORTS.values())
    return kube.restricted_pod("server", [{
        "name": "server", "image": IMAGE, "command": ["/bin/sh", "-c", f"trap exit TERM; {listen} sleep 100000 & wait"],
        "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
        "readinessProbe": {"tcpSocket": {"port": "api"}, "periodSeconds": 1},
    }])


def asker(name):
    return kube.restricted_pod(name, [{"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", "trap exit TERM; sleep 100000 & wait"]}])


def service(name, kind, port):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": kind, "selector": {"app": "server"}, "ports": [port]}}


class Policies(kube.Case):
    namespaces = {SPACE: None, OTHER: {"team": "guest"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster.apply([server(), asker("friend"), asker("stranger"),
                           service("server", "ClusterIP", {"port": 80, "targetPort": "api"}),
                           service("open", "NodePort", {"port": 80, "targetPort": "api", "nodePort": NODE_PORT})], SPACE)
        cls.cluster.apply([asker("guest")], OTHER)
        for pod, space in (("server", SPACE), ("friend", SPACE), ("stranger", SPACE), ("guest", OTHER)):
            cls.cluster.kubectl("-n", space, "wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
        cls.address = cls.cluster.json("pod/server", SPACE)["status"]["podIP"]
        listening = subprocess.Popen([str(kube.SCRIPT), "outside", sys.executable, "-c", LISTEN, str(OUTSIDE_PORT)],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(listening.wait)
        cls.addClassCleanup(listening.kill)

    def policy(self, **spec):
        """The only policy, for the pod `app` (the server unless named)."""
        selector = {"matchLabels": {"app": spec.pop("app", "server")}}
        self.addCleanup(self.cluster.kubectl, "-n", SPACE, "delete", "networkpolicy", "only", "--ignore-not-found")
        self.cluster.apply([{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "only"},
                             "spec": {"podSelector": selector, **spec}}], SPACE)

    def asks(self, pod, host, port):
        """Whether the pod, or a program outside, gets an answer."""
        ask = ["sh", "-c", ASK.format(host=host, port=port)]
        if pod == "outside":
            done = self.cluster.outside(["sh", "-c", ask[-1].replace("| nc", "| busybox nc")], check=False)
        else:
            done = self.cluster.exec(pod, *ask, namespace=OTHER if pod == "guest" else SPACE, check=False)
        return "HTTP/1" in done.stdout

    def expect(self, expected):
        """`expected` is (pod, host, port) -> whether it is reached. What was true before a policy may be true for a moment after it."""
        def check(case):
            (pod, host, port), reached = case
            words = f"{pod} {'reaches' if reached else 'does not reach'} {host}:{port}"
            self.cluster.wait(words, 20, lambda: self.asks(pod, host, port) is reached)

        with futures.ThreadPoolExecutor(len(expected)) as threads:  # silence takes its time
            list(threads.map(check, expected.items()))

    def test_without_policies_all_is_open(self):
        self.expect({(pod, self.address, port): True for pod in ("friend", "stranger", "guest", "outside") for port in PORTS.values()})
        self.expect({("guest", f"server.{SPACE}.svc.cluster.local", 80): True, ("outside", kube.NODE_IP, NODE_PORT): True,
                     ("friend", kube.NODE_IP, NODE_PORT): True, ("friend", kube.API_IP, 443): True,
                     ("friend", kube.OUTSIDE_IP, OUTSIDE_PORT): True})

    def test_ingress_by_pod_namespace_and_named_port(self):
        self.policy(policyTypes=["Ingress"], ingress=[
            {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": "api"}]},
            {"from": [{"namespaceSelector": {"matchLabels": {"team": "guest"}}}], "ports": [{"port": PORTS["blobs"]}]},
        ])
        self.expect({
            ("stranger", self.address, 8080): False, ("stranger", self.address, 8081): False, ("stranger", "server", 80): False,
            ("stranger", kube.NODE_IP, NODE_PORT): False, ("outside", kube.NODE_IP, NODE_PORT): False, ("outside", self.address, 8080): False,
            ("friend", self.address, 8080): True, ("friend", self.address, 8081): False, ("friend", "server", 80): True,
            ("guest", self.address, 8081): True, ("guest", self.address, 8080): False,
        })
        # The kubelet's probes are never held up.
        self.assertEqual(self.cluster.json("pod/server", SPACE)["status"]["containerStatuses"][0]["ready"], True)

    def test_ingress_from_addresses(self):
        self.policy(policyTypes=["Ingress"], ingress=[{"from": [{"ipBlock": {"cidr": "10.20.0.0/24"}}]}])
        self.expect({("stranger", self.address, 8080): False, ("outside", kube.NODE_IP, NODE_PORT): True})
        self.policy(policyTypes=["Ingress"], ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.20.0.0/24"]}}]}])
        self.expect({("outside", kube.NODE_IP, NODE_PORT): False, ("stranger", self.address, 8080): True})

    def test_egress_to_a_service_and_nowhere_else(self):
        self.policy(app="friend", policyTypes=["Egress"], egress=[
            NAMES, {"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": "api"}]}])
        self.expect({
            ("friend", kube.API_IP, 443): False, ("friend", kube.NODE_IP, 6443): False, ("friend", kube.NODE_IP, 10250): False,
            ("friend", kube.OUTSIDE_IP, OUTSIDE_PORT): False, ("friend", self.address, 8081): False,
            ("friend", self.address, 8080): True, ("friend", "server", 80): True, ("friend", kube.NODE_IP, NODE_PORT): True,
            ("stranger", self.address, 8081): True, ("stranger", kube.API_IP, 443): True,
        })

    def test_egress_to_addresses(self):
        api = {"to": [{"ipBlock": {"cidr": f"{kube.NODE_IP}/32"}}], "ports": [{"port": 6443}]}
        self.policy(app="friend", policyTypes=["Egress"], egress=[api])
        self.expect({("friend", kube.OUTSIDE_IP, OUTSIDE_PORT): False, ("friend", kube.API_IP, 443): True,
                     ("friend", kube.NODE_IP, 10250): False, ("friend", self.address, 8080): False})
        self.policy(app="friend", policyTypes=["Egress"], egress=[
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{kube.NODE_IP}/32"]}}], "ports": [{"port": 8000, "endPort": 8080}]}])
        self.expect({("friend", kube.API_IP, 443): False, ("friend", kube.OUTSIDE_IP, OUTSIDE_PORT): True,
                     ("friend", self.address, 8080): True, ("friend", self.address, 8081): False})

    def test_a_policy_holds_from_a_pod_s_first_packet(self):
        self.policy(app="early", policyTypes=["Egress"])
        ask = f"{ASK.format(host=self.address, port=8080)} | grep -q HTTP/1 && echo reached || echo not reached"
        patient = ask.replace("nc -w 2 ", "nc -w 20 ")
        for name, command, answer in 3 * [("early", ask, "not reached"), ("free", patient, "reached")]:
            pod = kube.restricted_pod(name, [{"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", command]}], restartPolicy="Never")
            self.cluster.apply([pod], SPACE)
            self.cluster.kubectl("-n", SPACE, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
            self.assertEqual(self.cluster.logs(name, namespace=SPACE).splitlines()[-1], answer)
            self.cluster.kubectl("-n", SPACE, "delete", "pod", name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
