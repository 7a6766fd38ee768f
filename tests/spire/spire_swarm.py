"""Swarms whose nodes and operator have their identities from a SPIRE agent, each by the name under which its program is started."""
import time

import swarm
from swarm import Swarm

MINTED_SECONDS = 8  # An SVID for the test itself outlives this: no CA signs that has less than a sixth of its life left.


class SpireSwarm(Swarm):
    def __init__(self, directory, agent, **settings):
        self.agent = agent
        self.entries = {}  # of nodes, `sn` and `operator`
        self.minted = (None, 0.0)
        super().__init__(directory, **settings)

    def agent_of(self, _name):
        """The agent beside the node, `sn` or `operator`."""
        return self.agent

    def entry_options(self, _name):
        return ()

    def issue(self):
        paths = {name: f"/swarm/{name}/sl" for name in self.names} | {"sn": "/swarm/sn", "operator": "/swarm/operator"}
        for name, path in paths.items():
            self.entries[name] = self.agent_of(name).entry(name, path, *self.entry_options(name))
        for name, entry in self.entries.items():
            self.agent_of(name).wait_issued(entry)
        self.tool = self.agent.workload("operator", swarm.STARLING)

    def flags_of_identity(self, stem):
        return {"socket_path": self.agent_of(stem).socket}

    def command(self, name, argv):
        return [self.agent_of(name).workload(name, argv[0]), *argv[1:]]

    def operator_files(self):
        files, until = self.minted
        if time.monotonic() > until:
            files = self.agent.server.mint("/swarm/operator", self.directory / "minted")
            self.minted = files, time.monotonic() + MINTED_SECONDS
        return files
