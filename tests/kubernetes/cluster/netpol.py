#!/usr/bin/python3
"""NetworkPolicies of the test cluster, as one table of nftables on its node.

There is no network plugin in the cluster that would enforce them. Every pod has an interface pair of its own, so all that it sends
passes the node's hook `forward`, or `input` where it is meant for the node (the API server is: its service leads to the node's
address). What the node itself sends, such as the kubelet's probes, is never held up, as Kubernetes demands. Addresses and ports are
looked at after a service's address has been translated.

`serve` is the process that keeps the table. As a plugin of the network (CNI calls this file by itself, with CNI_COMMAND set) it tells
that process of a new pod's address and returns when the table knows it: a policy holds from a pod's first packet.
"""
import argparse
import json
import os
import select
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a plugin is called by another name, from elsewhere

from api import Api, ApiError  # noqa: E402

SOCKET = "/run/netpol.sock"
POLL_SECONDS = 0.5
MESSAGE_BYTES_MAX = 4096
PATHS = {
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}


@dataclass
class Pod:
    """A pod with an address of its own. `ports` is (protocol, name) -> number, the names as its containers give them."""

    namespace: str
    name: str
    ip: str
    labels: dict = field(default_factory=dict)
    ports: dict = field(default_factory=dict)


@dataclass
class World:
    """What policies speak of. `namespaces` is name -> labels; `policies` are objects of the API."""

    pods: list
    namespaces: dict
    policies: list


def selects(selector, labels):
    """Whether a label selector of the API matches; an empty one matches all."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        matched = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[expression["operator"]]
        if not matched:
            return False
    return True


def peer_pods(peer, namespace, world):
    """The pods that a peer of a rule means; `namespace` is the policy's own, which counts where the peer names none."""
    for pod in world.pods:
        if "namespaceSelector" in peer:
            inside = selects(peer["namespaceSelector"], world.namespaces.get(pod.namespace, {}))
        else:
            inside = pod.namespace == namespace
        if inside and selects(peer.get("podSelector") or {}, pod.labels):
            yield pod


def peer_matches(peers, namespace, world, side):
    """What the address on `side` (saddr, daddr) must be, as matches of nftables; an empty one is always true."""
    if not peers:
        return [""]
    matches = []
    for peer in peers:
        block = peer.get("ipBlock")
        if block is None:
            addresses = sorted(pod.ip for pod in peer_pods(peer, namespace, world))
            if addresses:
                matches.append(f"ip {side} {{ {', '.join(addresses)} }} ")
        elif ":" not in block["cidr"]:  # the cluster has no IPv6
            hidden = block.get("except") or []
            matches.append(f"ip {side} {block['cidr']} " + (f"ip {side} != {{ {', '.join(hidden)} }} " if hidden else ""))
    return matches


def port_match(port, pod):
    """What the port must be; None for a name that the pod `pod` does not give to any port."""
    protocol = port.get("protocol", "TCP").lower()
    if "port" not in port:
        return f"meta l4proto {protocol} "
    number = pod.ports.get((protocol, port["port"])) if isinstance(port["port"], str) else port["port"]
    if number is None:
        return None
    return f"{protocol} dport {number}-{port['endPort']} " if "endPort" in port else f"{protocol} dport {number} "


def rule_matches(rule, direction, pod, namespace, world):
    """All that one rule of a policy lets through, as matches of nftables."""
    peers, side = (rule.get("from"), "saddr") if direction == "ingress" else (rule.get("to"), "daddr")
    for port in rule.get("ports") or [None]:
        if direction == "egress" and port is not None and isinstance(port.get("port"), str):
            # The name is the other pod's, and each pod may mean another number by it.
            for other in [other for peer in peers or [{"namespaceSelector": {}}] if "ipBlock" not in peer
                          for other in peer_pods(peer, namespace, world)]:
                match = port_match(port, other)
                if match is not None:
                    yield f"ip daddr {other.ip} {match}"
            continue
        match = "" if port is None else port_match(port, pod)
        if match is not None:
            yield from (peer + match for peer in peer_matches(peers, namespace, world, side))


def applies(policy, direction, pod):
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])
    return (policy["metadata"]["namespace"] == pod.namespace and direction.capitalize() in types
            and selects(spec.get("podSelector") or {}, pod.labels))


def chain(direction, pod, world):
    """The chain that a pod's packets in one direction pass, or None where no policy speaks of them and all may pass."""
    policies = [policy for policy in world.policies if applies(policy, direction, pod)]
    if not policies:
        return None
    side = "saddr" if direction == "ingress" else "daddr"
    matches = [f"ip {side} {pod.ip} "]  # a pod always reaches itself, also through a service
    for policy in policies:
        for rule in policy["spec"].get(direction) or []:
            matches += rule_matches(rule, direction, pod, policy["metadata"]["namespace"], world)
    return [f"{match}return" for match in dict.fromkeys(matches)] + ["counter drop"]


def ruleset(world):
    """The table of nftables, as text that replaces the one before it. A packet between two pods passes a chain of each."""
    chains, forward, to_node = {}, ["ct state established,related accept"], ["ct state established,related accept"]
    for pod in sorted(world.pods, key=lambda pod: pod.ip):
        for direction, side in (("egress", "saddr"), ("ingress", "daddr")):
            rules = chain(direction, pod, world)
            if rules is None:
                continue
            name = f"{direction}_{pod.ip.replace('.', '_')}"
            chains[name] = rules
            forward.append(f"ip {side} {pod.ip} jump {name}")
            if direction == "egress":
                to_node.append(f"ip {side} {pod.ip} jump {name}")
    chains["forward"] = ["type filter hook forward priority 0; policy accept;", *forward]
    chains["input"] = ["type filter hook input priority 0; policy accept;", *to_node]
    lines = ["table inet netpol", "delete table inet netpol", "table inet netpol {"]
    for name, rules in chains.items():
        lines += [f"  chain {name} {{", *(f"    {rule}" for rule in rules), "  }"]
    return "\n".join(lines + ["}"]) + "\n"


def pod_of(item, addresses):
    """A Pod from an object of the API, or None. `addresses` (uid -> address) knows new pods before the API does."""
    meta, spec, status = item["metadata"], item["spec"], item["status"]
    ip = addresses.get(meta["uid"]) or status.get("podIP")
    if not ip or spec.get("hostNetwork") or status.get("phase") not in ("Pending", "Running"):
        return None
    containers = spec["containers"] + (spec.get("initContainers") or [])
    ports = {(port.get("protocol", "TCP").lower(), port["name"]): port["containerPort"]
             for container in containers for port in container.get("ports") or [] if "name" in port}
    return Pod(meta["namespace"], meta["name"], ip, meta.get("labels") or {}, ports)


def world_of(lists, addresses):
    """The World from the API's answers. An address that was given away again belongs to the pod that has it now."""
    holders = {ip: uid for uid, ip in addresses.items()}
    pods = []
    for item in lists["pods"]:
        pod = pod_of(item, addresses)
        if pod is not None and holders.get(pod.ip, item["metadata"]["uid"]) == item["metadata"]["uid"]:
            pods.append(pod)
    namespaces = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in lists["namespaces"]}
    return World(pods, namespaces, lists["policies"])


class Keeper:
    """Keeps the table in force. `addresses` is what the plugin told: uid of a pod -> its address."""

    def __init__(self, api):
        self._api = api
        self._addresses = {}
        self._applied = None

    def learn(self, message):
        self._addresses = {uid: ip for uid, ip in self._addresses.items() if ip != message["ip"]}
        self._addresses[message["uid"]] = message["ip"]

    def refresh(self):
        """Raises ApiError or CalledProcessError where it fails; the table before stays in force."""
        lists = {name: self._api.items(path) for name, path in PATHS.items()}
        wanted = ruleset(world_of(lists, self._addresses))
        if wanted != self._applied:
            subprocess.run(["nft", "-f", "-"], input=wanted.encode(), check=True)
            self._applied = wanted
            print(f"{wanted.count(' jump ')} jumps", flush=True)


def serve(arguments):
    keeper = Keeper(Api(arguments.server, arguments.pki))
    keeper.refresh()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(SOCKET)
        listening.listen(64)
        while True:
            asking = None
            if select.select([listening], [], [], POLL_SECONDS)[0]:
                asking, _ = listening.accept()
                keeper.learn(json.loads(asking.recv(MESSAGE_BYTES_MAX)))
            try:
                keeper.refresh()
                if asking:
                    asking.sendall(b"{}")
            except (ApiError, OSError, subprocess.CalledProcessError) as error:
                print(f"netpol: {error}", file=sys.stderr, flush=True)
            finally:
                if asking:
                    asking.close()  # without an answer the pod does not start, and the kubelet tries again


def plugin(command):
    """One call of the container network interface."""
    if command == "VERSION":
        print(json.dumps({"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}))
    if command != "ADD":
        return 0
    result = json.load(sys.stdin)["prevResult"]
    names = dict(part.split("=", 1) for part in os.environ["CNI_ARGS"].split(";"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.settimeout(20)
        asking.connect(SOCKET)
        asking.sendall(json.dumps({"uid": names["K8S_POD_UID"], "ip": result["ips"][0]["address"].split("/")[0]}).encode())
        if not asking.recv(MESSAGE_BYTES_MAX):
            print(json.dumps({"cniVersion": "0.4.0", "code": 100, "msg": "the network policies are not in force"}))
            return 1
    print(json.dumps(result))
    return 0


def main():
    if "CNI_COMMAND" in os.environ:
        return plugin(os.environ["CNI_COMMAND"])
    parser = argparse.ArgumentParser(description="Enforces NetworkPolicies on the node of the test cluster.")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--server", required=True, help="host:port of the API")
    parser.add_argument("--pki", required=True, type=Path, help="folder with ca.crt, admin.crt and admin.key")
    return serve(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
