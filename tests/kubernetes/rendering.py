"""What kustomize and Helm make of deploy/, as objects of the API. Needs STARLING_KUBE, and no cluster."""
import os
import shutil
import tempfile
from pathlib import Path

import kube
import yaml

HOME = Path(__file__).resolve().parent.parent.parent
KUSTOMIZE = HOME / "deploy" / "kubernetes"
CHART = HOME / "deploy" / "helm" / "starling"
IDENTITIES = ("spire-standalone", "pem", "spire-csi", "spire-legacy-token")
COMPONENTS = ("gpu", "monitoring", "nodeport")  # the gateway is part of two-organisations, whose names it leads to
KUBE_VERSION = "1.30.0"  # of a cluster that Helm does not ask


def tool(name, *arguments, **options):
    """Runs a program of STARLING_KUBE; answers the finished process."""
    return kube.run([Path(os.environ["STARLING_KUBE"]) / name, *arguments], **options)


def objects(text):
    return [item for item in yaml.safe_load_all(text) if item]


def overlay(folder):
    """The objects of an overlay of deploy/kubernetes: scenario, two-organisations/a …"""
    return objects(tool("kubectl", "kustomize", KUSTOMIZE / folder).stdout)


def scenario(identity="spire-standalone", components=()):
    """The scenario with another identity, and with these components."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KUSTOMIZE, folder, dirs_exist_ok=True)
        file = Path(folder, "scenario", "kustomization.yaml")
        text, old = file.read_text(encoding="utf-8"), "- ../identity/spire-standalone\n"
        assert old in text, file
        new = "".join(f"- ../{path}\n" for path in (f"identity/{identity}", *(f"components/{name}" for name in components)))
        file.write_text(text.replace(old, new), encoding="utf-8")
        return objects(tool("kubectl", "kustomize", file.parent).stdout)


def chart(*arguments, path=CHART):
    """The objects of the chart, in the namespace `swarm`; `arguments` are Helm's (--set …)."""
    return objects(tool("helm", "template", "starling", path, "-n", "swarm", "--kube-version", KUBE_VERSION, *arguments).stdout)


def pod_templates(items):
    """(name of the object, its pod's template) of all that make pods."""
    return [(f"{item['kind']} {item['metadata']['name']}", item["spec"]["template"]) for item in items
            if item["kind"] in ("StatefulSet", "Deployment", "Job", "DaemonSet")]


def containers(template):
    return template["spec"].get("initContainers", []) + template["spec"]["containers"]
