#!/usr/bin/python3
"""Volumes of the test cluster, made when they are claimed: what a storage provider is elsewhere.

Every claim of the storage class `standard`, which is the default, gets a folder of the node. Only root may write into it until Kubernetes
has given it to the pod's fsGroup. When the claim is deleted, so are the volume and the folder.
"""
import argparse
import json
import shutil
import sys
import threading
from pathlib import Path

from api import Api, ApiError

CLASS = "standard"
PROVISIONER = "starling.test/folder"
POLL_SECONDS = 0.3
STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": PROVISIONER, "volumeBindingMode": "Immediate",
    "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "reclaimPolicy": "Delete",
}
VOLUMES = "/api/v1/persistentvolumes"


def volume(claim, folder, node):
    """The volume for a claim, as an object of the API."""
    meta, spec = claim["metadata"], claim["spec"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{meta['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]}, "accessModes": spec["accessModes"],
            "storageClassName": CLASS, "persistentVolumeReclaimPolicy": "Delete", "local": {"path": str(folder)},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta["namespace"], "name": meta["name"],
                         "uid": meta["uid"]},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def provide(api, folder, node):
    """One look at all claims and volumes."""
    for claim in api.items("/api/v1/persistentvolumeclaims"):
        if claim["spec"].get("storageClassName") != CLASS or claim["status"].get("phase") != "Pending" or claim["spec"].get("volumeName"):
            continue
        wanted = volume(claim, folder / f"pvc-{claim['metadata']['uid']}", node)
        Path(wanted["spec"]["local"]["path"]).mkdir(mode=0o755, parents=True, exist_ok=True)
        api.create(VOLUMES, wanted)
    for item in api.items(VOLUMES):
        ours = item["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER
        if ours and item["status"].get("phase") in ("Released", "Failed"):
            shutil.rmtree(item["spec"]["local"]["path"], ignore_errors=True)
            api.delete(f"{VOLUMES}/{item['metadata']['name']}")


def main():
    parser = argparse.ArgumentParser(description="Makes the volumes that are claimed in the test cluster.")
    parser.add_argument("--server", required=True, help="host:port of the API")
    parser.add_argument("--pki", required=True, type=Path, help="folder with ca.crt, admin.crt and admin.key")
    parser.add_argument("--folder", required=True, type=Path, help="where the volumes' folders are made")
    parser.add_argument("--node", required=True)
    arguments = parser.parse_args()
    api = Api(arguments.server, arguments.pki)
    api.create("/apis/storage.k8s.io/v1/storageclasses", STORAGE_CLASS)
    never = threading.Event()
    while True:
        try:
            provide(api, arguments.folder, arguments.node)
        except ApiError as error:
            print(f"volumes: {error}", file=sys.stderr, flush=True)
        never.wait(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
