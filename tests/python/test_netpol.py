"""What tests/kubernetes/cluster/netpol.py makes of NetworkPolicies: the rules of nftables, without a cluster."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kubernetes" / "cluster"))

import netpol  # noqa: E402
from netpol import Pod, World  # noqa: E402

SERVER = Pod("swarm", "server", "10.0.0.1", {"app": "server"}, {("tcp", "api"): 30304, ("udp", "api"): 53})
SECOND = Pod("swarm", "second", "10.0.0.2", {"app": "server"}, {("tcp", "api"): 31000})
FRIEND = Pod("swarm", "friend", "10.0.0.3", {"app": "friend"})
GUEST = Pod("other", "guest", "10.0.0.4", {"app": "friend"})
PODS = [SERVER, SECOND, FRIEND, GUEST]
NAMESPACES = {"swarm": {"team": "a"}, "other": {"team": "b"}}


def policy(selector, namespace="swarm", **spec):
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": selector, **spec}}


def chain(direction, pod, *policies):
    """The rules between that for the pod itself and the drop at the end."""
    rules = netpol.chain(direction, pod, World(PODS, NAMESPACES, list(policies)))
    if rules is None:
        return None
    assert rules[0] == f"ip {'saddr' if direction == 'ingress' else 'daddr'} {pod.ip} return"
    assert rules[-1] == "counter drop"
    return rules[1:-1]


def ingress(*rules, pod=SERVER, selector=None):
    return chain("ingress", pod, policy(selector or {}, policyTypes=["Ingress"], ingress=list(rules)))


def egress(*rules, pod=FRIEND):
    return chain("egress", pod, policy({}, policyTypes=["Egress"], egress=list(rules)))


def test_a_pod_that_no_policy_selects_is_free():
    assert chain("ingress", SERVER) is None
    assert ingress(selector={"matchLabels": {"app": "friend"}}) is None
    assert chain("ingress", GUEST, policy({}, policyTypes=["Ingress"])) is None  # it is in another namespace
    assert chain("egress", SERVER, policy({}, policyTypes=["Ingress"])) is None


def test_a_policy_without_rules_lets_nothing_in():
    assert ingress() == []
    assert chain("ingress", SERVER, policy({}, policyTypes=["Ingress"], ingress=None)) == []


def test_without_types_a_policy_is_for_ingress_and_for_egress_if_it_has_rules_for_it():
    assert chain("ingress", SERVER, policy({})) == []
    assert chain("egress", SERVER, policy({})) is None
    assert chain("ingress", SERVER, policy({}, egress=[{}])) == []
    assert chain("egress", SERVER, policy({}, egress=[{}])) == ["return"]


def test_an_empty_rule_lets_all_in():
    assert ingress({}) == ["return"]
    assert ingress({"from": [], "ports": []}) == ["return"]


def test_pods_are_meant_in_the_own_namespace_unless_namespaces_are_selected():
    friends = {"podSelector": {"matchLabels": {"app": "friend"}}}
    assert ingress({"from": [friends]}) == ["ip saddr { 10.0.0.3 } return"]
    assert ingress({"from": [{**friends, "namespaceSelector": {}}]}) == ["ip saddr { 10.0.0.3, 10.0.0.4 } return"]
    assert ingress({"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}) == ["ip saddr { 10.0.0.4 } return"]
    assert ingress({"from": [{**friends, "namespaceSelector": {"matchLabels": {"team": "c"}}}]}) == []


def test_peers_that_nobody_is_open_nothing():
    assert ingress({"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}], "ports": [{"port": 1}]}) == []


def test_a_block_of_addresses_has_exceptions():
    assert ingress({"from": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]}) == ["ip saddr 10.20.0.0/16 return"]
    block = {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "192.168.0.0/16"]}
    assert egress({"to": [{"ipBlock": block}], "ports": [{"port": 443}]}) == [
        "ip daddr 0.0.0.0/0 ip daddr != { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 443 return"]
    assert ingress({"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}) == []


def test_ports_are_numbers_ranges_protocols_or_all_of_one():
    assert ingress({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 1, "endPort": 9}, {"protocol": "SCTP"}]}) == [
        "tcp dport 80 return", "udp dport 53 return", "tcp dport 1-9 return", "meta l4proto sctp return"]


def test_a_named_port_of_ingress_is_the_pod_s_own():
    rule = {"ports": [{"port": "api"}]}
    assert ingress(rule) == ["tcp dport 30304 return"]
    assert ingress(rule, pod=SECOND) == ["tcp dport 31000 return"]
    assert ingress(rule, pod=FRIEND) == []
    assert ingress({"ports": [{"port": "api", "protocol": "UDP"}]}) == ["udp dport 53 return"]


def test_a_named_port_of_egress_is_that_of_each_pod_at_the_other_end():
    each = ["ip daddr 10.0.0.1 tcp dport 30304 return", "ip daddr 10.0.0.2 tcp dport 31000 return"]
    assert egress({"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": "api"}]}) == each
    assert egress({"ports": [{"port": "api"}]}) == each
    assert egress({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "api"}]}) == []


def test_each_peer_is_let_to_each_port_and_policies_add_up():
    one = policy({}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}, {"ipBlock": {"cidr": "10.1.0.0/16"}}],
                               "ports": [{"port": 1}, {"port": 2}]}])
    two = policy({"matchLabels": {"app": "server"}}, ingress=[{"ports": [{"port": 3}]}])
    assert chain("ingress", SERVER, one, two) == [
        "ip saddr { 10.0.0.3 } tcp dport 1 return", "ip saddr 10.1.0.0/16 tcp dport 1 return",
        "ip saddr { 10.0.0.3 } tcp dport 2 return", "ip saddr 10.1.0.0/16 tcp dport 2 return", "tcp dport 3 return"]


@pytest.mark.parametrize("operator, values, labels, expected", [
    ("In", ["a", "b"], {"x": "a"}, True), ("In", ["a"], {"x": "c"}, False), ("In", ["a"], {}, False),
    ("NotIn", ["a"], {"x": "c"}, True), ("NotIn", ["a"], {}, True), ("NotIn", ["a"], {"x": "a"}, False),
    ("Exists", None, {"x": ""}, True), ("Exists", None, {}, False),
    ("DoesNotExist", None, {}, True), ("DoesNotExist", None, {"x": ""}, False),
])
def test_expressions_select(operator, values, labels, expected):
    assert netpol.selects({"matchExpressions": [{"key": "x", "operator": operator, "values": values}]}, labels) is expected


def test_egress_holds_for_the_node_as_well_and_ingress_only_for_what_is_forwarded():
    text = netpol.ruleset(World(PODS, NAMESPACES, [
        policy({"matchLabels": {"app": "friend"}}, policyTypes=["Egress"]), policy({"matchLabels": {"app": "friend"}}, policyTypes=["Ingress"])]))
    forward, to_node = text.split("chain forward {")[1].split("chain input {")
    assert "ip saddr 10.0.0.3 jump egress_10_0_0_3" in forward and "ip daddr 10.0.0.3 jump ingress_10_0_0_3" in forward
    assert "ip saddr 10.0.0.3 jump egress_10_0_0_3" in to_node and "ingress" not in to_node
    assert forward.index("ct state established,related accept") < forward.index("jump")
    assert text.startswith("table inet netpol\ndelete table inet netpol\n")  # replaced as one


def item(uid, name, ip, phase="Running", **spec):
    return {"metadata": {"namespace": "swarm", "name": name, "uid": uid}, "status": {"phase": phase, **({"podIP": ip} if ip else {})},
            "spec": {"containers": [{"ports": [{"name": "api", "containerPort": 1}, {"containerPort": 9}]}], **spec}}


def pods_of(items, addresses):
    lists = {"pods": items, "namespaces": [{"metadata": {"name": "swarm"}}], "policies": []}
    return [(pod.name, pod.ip) for pod in netpol.world_of(lists, addresses).pods]


def test_a_new_pod_is_known_by_its_address_before_the_api_knows_it():
    assert pods_of([item("u1", "one", None, "Pending")], {}) == []
    assert pods_of([item("u1", "one", None, "Pending")], {"u1": "10.0.0.9"}) == [("one", "10.0.0.9")]


def test_an_address_belongs_to_the_pod_that_got_it_last():
    both = [item("u1", "old", "10.0.0.9"), item("u2", "new", None, "Pending")]
    assert pods_of(both, {"u2": "10.0.0.9"}) == [("new", "10.0.0.9")]


def test_pods_that_ended_or_have_the_node_s_address_are_left_out():
    assert pods_of([item("u1", "a", "10.0.0.9", "Succeeded"), item("u2", "b", "10.20.0.2", hostNetwork=True)], {}) == []


def test_ports_of_sidecars_have_names_too():
    sidecar = {"ports": [{"name": "metrics", "containerPort": 2, "protocol": "UDP"}]}
    pod = netpol.pod_of(item("u1", "one", "10.0.0.9", initContainers=[sidecar]), {})
    assert pod.ports == {("tcp", "api"): 1, ("udp", "metrics"): 2}
