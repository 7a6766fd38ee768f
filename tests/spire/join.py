"""Nodes that attest themselves to SPIRE's server with a join token, as HPE's do: no agent runs beside them."""
import os
import subprocess
import time
import unittest
from pathlib import Path

import spire
from spire_swarm import SpireSwarm
from swarm import STARLING, WITHIN, Swarm, words

SVID_SECONDS = 20
OUTAGE = 2 * SVID_SECONDS
AT_ONCE = 20  # seconds in which a slow machine, too, ends a node for which waiting is of no use; a patient one takes minutes


class JoinSwarm(SpireSwarm):
    """Every process has a token of its own, each given in another way: as a flag, in the environment, in a file."""

    def __init__(self, directory, server, **settings):
        self.server, self.tokens, self.given = server, {}, {}
        self.bundle = server.directory / "bundle.pem"
        self.bundle.write_text(server.bundle(), encoding="utf-8")
        super().__init__(directory, self, **settings)

    def issue(self):
        for name, path in {"sn": "/swarm/sn"}.items() | {name: f"/swarm/{name}/sl" for name in self.names}.items():
            self.tokens[name] = self.server.token(f"/node/{name}")
            self.server.create_entry(f"/node/{name}", path, f"swarm:node-type:{name}")
        self.given["sn"] = {"join_token": self.tokens["sn"]}
        self.environment_of["a"] = {"SPIRE_JOIN_TOKEN": self.tokens["a"]}
        file = self.directory / "token"
        self.directory.mkdir()
        file.write_text(f"{self.tokens['b']}\n", encoding="ascii")
        self.given["b"] = {"join_token_file": file}

    def forget_tokens(self):
        """Whoever is started from now on has but its state."""
        self.given, self.environment_of = {}, {}
        (self.directory / "token").unlink()

    def flags_of_identity(self, stem):
        if stem == "operator":  # Only nodes attest themselves.
            return self.operator_files()
        return {"server_address": "127.0.0.1", "server_port": self.server.port, "spire_trust_domain": self.server.trust_domain,
                "spire_bundle": self.bundle, **self.given.get(stem, {})}

    def command(self, name, argv):
        return argv


class Join(spire.Case):
    def setUp(self):
        self.spire = self.server(ca_ttl="1h", svid_ttl=f"{SVID_SECONDS}s", agent_ttl="20m")

    def train(self):
        swarm = self.begin(JoinSwarm(self.folder / "swarm", self.spire, nodes=2, min_peers=2, grace=None))
        swarm.start()
        swarm.wait_round(2)
        return swarm

    def wait_rotated(self, swarm):
        before = {name: swarm.counts(name)["starling_identity_rotations_total"] for name in swarm.processes}
        swarm.wait(lambda: all(swarm.metrics(name).get("starling_identity_rotations_total", 0) > before[name] for name in before), "new certificates")

    def secrets_are_kept(self, swarm):
        """A token is nowhere but in the state, which is the owner's alone, as is every key; and no process of the swarm shows it."""
        for path in (path for path in swarm.directory.rglob("*") if path.is_file() and path.name != "token"):
            content = path.read_bytes()
            held = [name for name, token in swarm.tokens.items() if token.encode() in content]
            if held or b"PRIVATE KEY" in content:
                self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)
            if held:
                self.assertEqual(path.name, "spire-agent.json")
        for name, process in swarm.processes.items():
            pid = process.child.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            self.assertEqual(len(children), 0 if name == "sn" else 1)
            for one in (pid, *children):
                for place in ("cmdline", "environ"):
                    shown = Path(f"/proc/{one}/{place}").read_bytes()
                    self.assertNotIn(swarm.tokens[name].encode(), shown, f"{place} of {name}")
                    self.assertNotIn(b"PRIVATE KEY", shown)

    def test_attested_renewed_and_started_again_without_a_token(self):
        swarm = self.train()
        self.secrets_are_kept(swarm)
        self.wait_rotated(swarm)
        swarm.forget_tokens()
        for name in list(swarm.processes):
            swarm.processes[name].kill()
        swarm.start_sn()
        number = swarm.sealed()
        for name in swarm.names:
            swarm.start_node(name)
        swarm.wait_round(number + 3)
        self.wait_rotated(swarm)
        self.secrets_are_kept(swarm)
        swarm.wait_end()
        self.assertEqual({swarm.processes[name].child.returncode for name in swarm.names}, {0})

    def test_an_outage_of_twice_the_life_of_a_certificate(self):
        swarm = self.train()
        swarm.forget_tokens()
        everyone = list(swarm.processes)
        self.spire.kill()
        began = time.monotonic()

        def named(words_of, status):
            pages = [swarm.page(name, "/readyz") for name in everyone]
            return all(page[0] in status and any(line.startswith("identity: ") and words_of in line for line in page[1].splitlines()) for page in pages)

        spire.until(lambda: named("SPIRE", (200, 503)), "the server's absence in /readyz of all", also=swarm.tail)
        spire.until(lambda: named("the certificate of this node has expired", (503,)), "the end of all certificates", also=swarm.tail)
        spire.until(lambda: time.monotonic() - began > OUTAGE, "the end of the outage", within=OUTAGE + WITHIN)
        spire.until(lambda: named("SPIRE", (503,)), "the same as before", also=swarm.tail)
        self.assertEqual([name for name in everyone if not swarm.processes[name].running()], [])
        self.spire.start()
        spire.until(lambda: all(swarm.metrics(name).get("starling_identity_trouble") == 0 for name in everyone), "the end of all trouble", also=swarm.tail)
        number = swarm.sealed()
        swarm.wait_round(number + 3)
        swarm.wait_end()
        self.assertEqual({swarm.processes[name].child.returncode for name in swarm.names}, {0})

    def test_a_spent_token_ends_the_node_at_once_with_one_line(self):
        swarm = self.train()
        token = swarm.tokens["a"]
        argv = [STARLING, "sl", "--name", "c", "--contract", swarm.training, "--sn", "https://127.0.0.1:1", "-joinToken", token, "-serverAddress",
                "127.0.0.1", "-serverPort", str(self.spire.port), "-trustDomain", self.spire.trust_domain, "-insecureBootstrap",
                *words({"state_dir": self.folder / "c", "health_port": 0, "sl_fs_port": 0})]
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN, check=False, env=dict(os.environ))
        took = time.monotonic() - began
        self.assertNotEqual(done.returncode, 0)
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("starling sl: ")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertRegex(said[0], r"^starling sl: join-token-spent: .* Next: make a new join token")
        self.assertNotIn(token, done.stdout + done.stderr)
        self.assertLess(took, AT_ONCE)
        print(f"a spent token: {took:.2f} s", flush=True)
        number = swarm.sealed()
        swarm.wait_round(number + 2)  # Whoever has the identity that the token gave keeps it.


if __name__ == "__main__":
    unittest.main(verbosity=2)
