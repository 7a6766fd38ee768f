"""Brings our images into the cluster: a fixture of the tests that run them."""
import kube
from swarm import HOME

cluster = kube.cluster()
for image in ("starling", "starling-client", "keras", "spire-server", "gateway"):
    cluster.load(HOME / "build" / "images" / f"{image}.tar")
    print(image, flush=True)
