"""Join tokens on Kubernetes: `starling spire-tokens` beside SPIRE's real server fills a Secret, and a node joins with what is in it. The API of
Kubernetes is made here, with the one verb that is needed; the kubelet, too."""
import base64
import http.client
import http.server
import json
import os
import signal
import ssl
import subprocess
import threading
import unittest
from pathlib import Path

import spire
from swarm import STARLING, WITHIN, Process, free_port, words

NAMESPACE = "swarm"
SECRET = "sn-identity"
POD_TOKEN = "token-of-this-pod"
GO_BUFFER = 2048  # of an answer: what is longer is chunked, as Go's server does it


def merged(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merged(target.get(key), value)
    return target


class Api:
    """An API server that holds Secrets and lets one service account patch those that `allowed` names, and nothing else."""

    def __init__(self, folder):
        self.account = Path(folder, "account")
        self.account.mkdir(parents=True)
        (self.account / "token").write_text(POD_TOKEN, encoding="ascii")
        (self.account / "namespace").write_text(NAMESPACE, encoding="ascii")
        ca = Path(folder, "ca")
        done = subprocess.run([STARLING, "identity", "dev-ca", str(ca), "--issue", "/api:api"], capture_output=True, text=True, timeout=WITHIN, check=False)
        assert done.returncode == 0, done.stderr
        (self.account / "ca.crt").write_bytes((ca / "ca-cert.pem").read_bytes())
        self.lock, self.secrets, self.requests = threading.Lock(), {}, []
        self.allowed = {SECRET}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca / "api-cert.pem", ca / "api-key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def create(self, name):
        """An empty Secret, with the long list of who set what that real ones have."""
        metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:x": "y" * 1000}}]}
        self.secrets[name] = {"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "metadata": metadata}

    def data(self, key, name=SECRET):
        """What the Secret holds, "" for nothing."""
        with self.lock:
            return base64.b64decode(self.secrets[name].get("data", {}).get(key, "")).decode()

    def _answer(self, verb, path, headers, body):
        name = path.partition("?")[0].removeprefix(f"/api/v1/namespaces/{NAMESPACE}/secrets/")
        if headers.get("authorization") != f"Bearer {POD_TOKEN}":
            return 401, {"kind": "Status", "message": "Unauthorized"}
        if verb != "PATCH" or name not in self.allowed:
            return 403, {"kind": "Status", "message": f'User "sa" cannot {verb.lower()} resource "secrets" named "{name}"'}
        if name not in self.secrets:
            return 404, {"kind": "Status", "message": f'secrets "{name}" not found'}
        if headers.get("content-type") != "application/merge-patch+json":
            return 415, {"kind": "Status", "message": "not a merge patch"}
        self.secrets[name] = merged(self.secrets[name], json.loads(body))
        return 200, self.secrets[name]

    def _handler(self):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                with api.lock:
                    status, told = api._answer(self.command, self.path, self.headers, body)
                    api.requests.append((self.command, self.path, status))
                    text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                if len(text) > GO_BUFFER:
                    self.send_header("transfer-encoding", "chunked")
                    text = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (text[:GO_BUFFER], text[GO_BUFFER:])) + b"0\r\n\r\n"
                else:
                    self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PATCH = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        return Handler

    def tail(self):
        return f"--- API\n{self.requests[-10:]}"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Program:
    """A starling with a health page."""

    def __init__(self, folder, argv):
        Path(folder).mkdir(exist_ok=True)
        self.port, self.log = free_port(), Path(folder, "log.txt")
        self.argv = [STARLING, *argv, "--health-port", str(self.port)]
        self.process = None

    def start(self):
        self.process = Process(self.argv, self.log, dict(os.environ))

    def page(self, target="/readyz"):
        if not self.process.running():
            raise AssertionError(f"{self.argv[:2]} ended with {self.process.child.returncode}\n{self.tail()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def await_page(self, status, *said):
        """Until /readyz answers so and says all that."""
        def answers():
            got = self.page()
            return got[0] == status and all(one in got[1] for one in said)
        spire.until(answers, f"{self.argv[1]} to answer {status} {said}", also=self.tail)

    def text(self):
        return self.log.read_text(encoding="utf-8")

    def tail(self):
        return f"--- {self.log}\n{self.process.tail(30) if self.process else ''}"

    def close(self):
        if self.process and self.process.running():
            self.process.kill()


class Tokens(spire.Case):
    def api(self):
        api = self.begin(Api(self.folder / "api"))
        api.create(SECRET)
        return api

    def keeper(self, server, api, **settings):
        """`settings` of the file, in place of what is usual."""
        entry = {"path": "/swarm/sn", "parent": "/swarm/sn-agent", "selectors": ["unix:uid:0"], "dns_names": ["swarm-network-node"], "x509_svid_ttl": "1h"}
        config = {"trust_domain": server.trust_domain, "token_ttl": "1h", "entries": [entry], "tokens": [{"agent": "/swarm/sn-agent", "secret": SECRET}]} | settings
        file = self.folder / "tokens.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        keeper = self.begin(Program(self.folder / "keeper", ["spire-tokens", *words({
            "config": file, "server_socket": server.socket, "kube_host": "127.0.0.1", "kube_port": api.port, "service_account_dir": api.account})]))
        return keeper

    def node(self, server):
        """An SN whose Secret is mounted, empty as yet."""
        self.mounted, self.mounts = self.folder / "identity", 0
        self.mount({})
        return self.begin(Program(self.folder / "sn", ["sn", "--sentinel", "--allow-loopback", *words({
            "state_dir": self.folder / "sn" / "state", "host_ip": "127.0.0.1", "listen_address": "127.0.0.1", "sn_api_port": 0,
            "join_token_file": self.mounted / "token", "spire_bundle": self.mounted / "bundle.pem", "server_address": "127.0.0.1",
            "server_port": server.port, "spire_trust_domain": server.trust_domain})]))

    def mount(self, files):
        """As the kubelet does it: files are links into a folder that is swapped as a whole."""
        self.mounts += 1
        folder = self.mounted / f"..{self.mounts}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="ascii")
        (self.mounted / "..tmp").symlink_to(folder.name)
        (self.mounted / "..tmp").rename(self.mounted / "..data")
        for name in files:
            if not (self.mounted / name).is_symlink():
                (self.mounted / name).symlink_to(f"..data/{name}")

    def test_a_node_joins_with_the_token_of_its_secret_and_finds_a_new_one_there(self):
        server, api = self.server(ca_ttl="24h", svid_ttl="1h"), self.api()
        other = server.create_entry("/swarm/sn-agent", "/swarm/other", "unix:uid:7")
        node, keeper = self.node(server), self.keeper(server, api)
        node.start()
        node.await_page(503, "waits for a join token in")
        keeper.start()
        keeper.await_page(200, f"secret {NAMESPACE}/{SECRET}: ready")
        first = api.data("token")
        self.assertEqual(api.data("bundle.pem"), server.bundle())

        self.mount({"token": first, "bundle.pem": api.data("bundle.pem")})
        node.await_page(200, "identity: ready, valid until")
        second = spire.until(lambda: api.data("token") != first and api.data("token"), "another token", also=keeper.tail)
        keeper.await_page(200)
        self.assertEqual(keeper.text().count("has a new join token, as its node has used the old one"), 1, keeper.text())

        entries = {entry["spiffe_id"]["path"]: entry for entry in server.entries() if not entry["parent_id"]["path"].startswith("/spire/agent")}
        self.assertEqual(set(entries), {"/swarm/sn", "/swarm/other"})
        self.assertEqual(entries["/swarm/other"]["id"], other)
        self.assertEqual(entries["/swarm/sn"]["dns_names"], ["swarm-network-node"])
        self.assertEqual(entries["/swarm/sn"]["selectors"], [{"type": "unix", "value": "uid:0"}])

        for program in (keeper, node):  # Both start again, with what they have.
            program.process.kill()
            program.start()
            program.await_page(200)
        self.assertEqual(api.data("token"), second)
        self.assertEqual(len(json.loads(server.do("agent", "list", "-output", "json"))["agents"]), 1)
        for token in (first, second, POD_TOKEN):
            self.assertNotIn(token, keeper.text() + node.text())
        self.assertEqual({verb for verb, _, _ in api.requests}, {"PATCH"})
        keeper.process.signal(signal.SIGTERM)
        self.assertEqual(keeper.process.child.wait(WITHIN), 0)

    def agents(self, server):
        return {agent["id"]["path"] for agent in json.loads(server.do("agent", "list", "-output", "json"))["agents"]}

    def joined(self, server, api, **settings):
        """An SN that has joined, its keeper, and the token that its Secret has since; it is mounted."""
        node, keeper = self.node(server), self.keeper(server, api, **settings)
        keeper.start()
        keeper.await_page(200)
        first = api.data("token")
        self.mount({"token": first, "bundle.pem": api.data("bundle.pem")})
        node.start()
        node.await_page(200, "identity: ready, valid until")
        return node, keeper, self.refilled(api, keeper, first)

    def awaited(self, api, keeper, spent):
        token = spire.until(lambda: api.data("token") != spent and api.data("token"), "another token", also=keeper.tail)
        keeper.await_page(200)
        return token

    def refilled(self, api, keeper, spent):
        token = self.awaited(api, keeper, spent)
        self.mount({"token": token, "bundle.pem": api.data("bundle.pem")})
        return token

    def test_a_restart_keeps_the_agent_and_an_eviction_takes_the_new_token(self):
        server, api = self.server(ca_ttl="24h", svid_ttl="1h"), self.api()
        node, keeper, second = self.joined(server, api)
        first_agent = self.agents(server)
        self.assertEqual(len(first_agent), 1)
        for _ in range(2):  # Its Secret has another token than its agent came from.
            node.process.kill()
            node.start()
            node.await_page(200, "identity: ready, valid until")
            self.assertEqual(self.agents(server), first_agent)
        self.assertEqual(api.data("token"), second)

        node.process.kill()
        server.do("agent", "evict", "-spiffeID", f"spiffe://{server.trust_domain}{first_agent.pop()}")
        node.start()
        node.await_page(200, "identity: ready, valid until")
        self.assertEqual(self.agents(server), {f"/spire/agent/join_token/{second}"})
        self.assertEqual(node.text().count("makes another agent"), 1, node.text())

        # While its mount has no newer token than that it ends, and says why.
        self.awaited(api, keeper, second)  # An agent that is evicted before anybody saw it leaves its token as if it was unused.
        node.process.kill()
        server.do("agent", "evict", "-spiffeID", f"spiffe://{server.trust_domain}/spire/agent/join_token/{second}")
        node.start()
        self.assertNotEqual(node.process.child.wait(WITHIN), 0)
        self.assertIn("agent-refused", node.text())
        self.assertIn("the join token that was spent for this agent", node.text())
        third = self.refilled(api, keeper, second)
        node.start()
        node.await_page(200, "identity: ready, valid until")
        self.assertEqual(self.agents(server), {f"/spire/agent/join_token/{third}"})
        for token in (second, third):
            self.assertNotIn(token, node.text())

    def test_a_server_that_lost_its_volume_gets_its_node_back(self):
        server, api = self.server(ca_ttl="24h", svid_ttl="1h"), self.api()
        node, keeper, second = self.joined(server, api)
        node.process.kill()
        bundle = api.data("bundle.pem")
        server.kill()
        for lost in ("data.sqlite3", "keys.json", "journal.pem"):
            (server.directory / lost).unlink(missing_ok=True)
        server.start()
        spire.until(lambda: api.data("bundle.pem") not in ("", bundle), "the bundle of the new CA", also=keeper.tail)
        node.start()  # The kubelet has brought nothing as yet.
        node.await_page(503, "is not believed")
        self.refilled(api, keeper, second)
        node.await_page(200, "identity: ready, valid until")
        self.assertIn("none of the CAs that it has now has signed the agent's certificate", node.text())
        self.assertEqual(len(self.agents(server)), 1)

    def test_an_entry_that_was_changed_is_put_right(self):
        server, api = self.server(ca_ttl="24h", svid_ttl="1h"), self.api()
        keeper = self.keeper(server, api)
        keeper.start()
        keeper.await_page(200)

        def entry():
            return next(one for one in server.entries() if one["spiffe_id"]["path"] == "/swarm/sn")
        before = entry()
        keeper.process.kill()
        keeper = self.keeper(server, api, entries=[{"path": "/swarm/sn", "parent": "/swarm/sn-agent", "selectors": ["unix:uid:65532"], "dns_names": ["sn", "b"]}])
        keeper.start()
        keeper.await_page(200)
        after = entry()
        self.assertEqual(after["id"], before["id"])
        self.assertEqual(after["selectors"], [{"type": "unix", "value": "uid:65532"}])
        self.assertEqual(set(after["dns_names"]), {"sn", "b"})
        self.assertEqual(keeper.text().count("is put right"), 1)

    def test_a_new_ca_of_the_server_reaches_the_secret(self):
        server, api = self.server(), self.api()
        keeper = self.keeper(server, api)
        keeper.start()
        keeper.await_page(200)
        token, old = api.data("token"), api.data("bundle.pem")
        spire.until(lambda: api.data("bundle.pem") != old, "another bundle", also=keeper.tail)
        self.assertIn(api.data("bundle.pem").strip(), server.bundle())
        self.assertEqual(api.data("token"), token)

    def test_what_is_missing_is_named(self):
        server, api = self.server(ca_ttl="24h", svid_ttl="1h"), self.api()
        api.allowed = {"another"}
        keeper = self.keeper(server, api)
        server.kill()
        keeper.start()
        keeper.await_page(503, "spire-server-unreachable", server.socket)
        server.start()
        keeper.await_page(503, "kube-forbidden", f"verb patch on secrets with the resourceNames [{SECRET}]")
        api.allowed = {SECRET}
        kept = api.secrets.pop(SECRET)
        keeper.await_page(503, f"the Secret {NAMESPACE}/{SECRET} is missing", "create it empty")
        api.secrets[SECRET] = kept
        keeper.await_page(200)
        self.assertTrue(api.data("token"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
