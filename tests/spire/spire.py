"""Real SPIRE: a server and its agents, on loopback, in one short directory (a Unix socket's path has 108 bytes at most). Programs that are to
have an identity are started by a name of their own (`workload`), which the agent sees as their path, as it would on any host.

STARLING_SPIRE: where spire-server, spire-agent and peer are; ./dev test builds them. Everything is stopped by its process id."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from swarm import STARLING, WITHIN, Process, free_port

SOCKET_BYTES_MAX = 100
pause = threading.Event().wait  # Never set: what is waited for is asked about again after it.


def binary(name):
    folder = os.environ.get("STARLING_SPIRE")
    if not folder or not Path(folder, name).is_file():
        raise AssertionError(f"STARLING_SPIRE has no {name}: run this by ./dev test, which builds it")
    return os.path.join(folder, name)


def until(ready, what, within=WITHIN, also=lambda: ""):
    """Asks until `ready()` is true, and answers what it gave; AssertionError after `within` seconds, with what `also` tells."""
    end = time.monotonic() + within
    while True:
        got = ready()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within} s\n{also()}")
        pause(0.1)


class Daemon:
    """A process of SPIRE that may be killed and started again, with its data kept."""

    def __init__(self, directory, argv, config):
        self.directory = Path(directory)
        self.log = self.directory / "log.txt"
        self.config = self.directory / "spire.conf"
        self.config.write_text(config, encoding="utf-8")
        self.argv = [*argv, "run", "-config", str(self.config)]
        self.process = None

    def start(self):
        self.process = Process(self.argv, self.log, dict(os.environ))
        until(self.healthy, f"{self.argv[0]} to be healthy", also=self.tail)

    def healthy(self):
        if not self.process.running():
            raise AssertionError(f"{self.argv[0]} ended with {self.process.child.returncode}:\n{self.tail()}")
        done = subprocess.run([self.argv[0], "healthcheck", "-socketPath", self.socket], capture_output=True, timeout=WITHIN, check=False)
        return done.returncode == 0

    def kill(self):
        self.process.kill()

    def pause(self):
        """It is there and answers nothing, until resume()."""
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def tail(self):
        return f"--- {self.log}\n{self.process.tail(40) if self.process else ''}"

    def close(self):
        if self.process and self.process.running():
            self.process.kill()


class Server(Daemon):
    """`ca_ttl` and `svid_ttl` as SPIRE writes them: 3m, 60s. It renews a CA for whose life less than a sixth is left, and looks every ten
    seconds; the next one is in the bundle from half its life on."""

    def __init__(self, directory, trust_domain, ca_ttl, svid_ttl, agent_ttl=None):
        Path(directory).mkdir(parents=True)
        self.trust_domain, self.port = trust_domain, free_port()
        self.socket = _socket(directory)
        super().__init__(directory, [binary("spire-server")], f"""
server {{
  bind_address = "127.0.0.1"
  bind_port = "{self.port}"
  socket_path = "{self.socket}"
  trust_domain = "{trust_domain}"
  data_dir = "{directory}"
  log_level = "DEBUG"
  ca_ttl = "{ca_ttl}"
  default_x509_svid_ttl = "{svid_ttl}"
  agent_ttl = "{agent_ttl or svid_ttl}"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{directory}/data.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{directory}/keys.json" }} }}
}}
""")

    def id(self, path):
        return f"spiffe://{self.trust_domain}{path}"

    def do(self, *arguments):
        """A command of the server's operator; answers its output."""
        done = subprocess.run([self.argv[0], *arguments, "-socketPath", self.socket], capture_output=True, text=True, timeout=WITHIN, check=False)
        if done.returncode != 0:
            raise AssertionError(f"spire-server {' '.join(arguments)}: {done.stderr.strip()}{done.stdout.strip()}\n{self.tail()}")
        return done.stdout

    def token(self, node):
        """A join token; who attests with it gets `node` (a path) as another name, the parent of entries."""
        return json.loads(self.do("token", "generate", "-spiffeID", self.id(node), "-output", "json"))["value"]

    def create_entry(self, node, path, selector, *more):
        """Answers the ID of the entry. `more`: -dns NAME, -hint WORD, -federatesWith TRUST_DOMAIN_ID, …"""
        told = self.do("entry", "create", "-parentID", self.id(node), "-spiffeID", self.id(path), "-selector", selector, *more, "-output", "json")
        result = json.loads(told)["results"][0]
        if result["status"]["code"] != 0:
            raise AssertionError(f"entry {path}: {result['status']['message']}")
        return result["entry"]["id"]

    def delete_entry(self, entry):
        self.do("entry", "delete", "-entryID", entry)

    def entries(self):
        return json.loads(self.do("entry", "show", "-output", "json"))["entries"]

    def bundle(self, form="pem"):
        return self.do("bundle", "show", "-format", form)

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def trust(self, other, trust_domain=None):
        """From now on this server's workloads with -federatesWith get the other's bundle as it is now; `trust_domain`: in place of its own."""
        file = self.file("federated.json", other.bundle("spiffe"))
        self.do("bundle", "set", "-id", f"spiffe://{trust_domain or other.trust_domain}", "-path", str(file), "-format", "spiffe")

    def mint(self, path, folder):
        """An SVID for the test itself: cert.pem, key.pem, bundle.pem in `folder`."""
        Path(folder).mkdir(exist_ok=True)
        self.do("x509", "mint", "-spiffeID", self.id(path), "-ttl", "1h", "-write", str(folder))
        return {"cert": Path(folder, "svid.pem"), "key": Path(folder, "key.pem"), "cacert": Path(folder, "bundle.pem")}


class Agent(Daemon):
    """Attested by a join token, once; what it gives to whom is known by the path of the program that asks."""

    def __init__(self, directory, server, node):
        Path(directory).mkdir(parents=True)
        self.server, self.node, self.socket = server, node, _socket(directory)
        bundle = Path(directory, "bootstrap.pem")
        bundle.write_text(server.bundle(), encoding="utf-8")
        super().__init__(directory, [binary("spire-agent")], f"""
agent {{
  server_address = "127.0.0.1"
  server_port = "{server.port}"
  socket_path = "{self.socket}"
  trust_bundle_path = "{bundle}"
  trust_domain = "{server.trust_domain}"
  data_dir = "{directory}"
  log_level = "DEBUG"
  join_token = "{server.token(node)}"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{directory}" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true workload_size_limit = -1 }} }}
}}
""")

    @property
    def address(self):
        return f"unix://{self.socket}"

    def workload(self, name, program):
        """The path by which `program` is to be started to be the workload `name`."""
        path = self.directory / name
        if not path.exists():
            try:
                os.link(program, path)
            except OSError:  # another file system
                shutil.copy2(program, path)
        return str(path)

    def entry(self, name, path, *more, program=STARLING):
        """An entry for the workload `name`."""
        return self.server.create_entry(self.node, path, f"unix:path:{self.workload(name, program)}", *more)

    def wait_issued(self, entry):
        """Until it holds an SVID of the entry: it asks its server every five seconds."""
        until(lambda: f'"SVID updated" entry={entry} ' in self.log.read_text(encoding="utf-8"), f"an SVID of entry {entry}", also=self.tail)


class Peer:
    """A process of peer/ (see there). `events` are what it has said."""

    def __init__(self, agent, name, *arguments, files=None):
        """`files` in place of the agent's Workload API: cert, key, cacert."""
        self.name = name
        self.log = agent.directory / f"{name}.jsonl"
        self.read, self.seen = 0, []
        source = ["--cert", files["cert"], "--key", files["key"], "--bundle", files["cacert"]] if files else ["--socket", agent.address]
        argv = [agent.workload(name, binary("peer")), arguments[0], *map(str, source), *arguments[1:]]
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True)

    def events(self, *kinds):
        with open(self.log, encoding="utf-8") as file:
            file.seek(self.read)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break
                self.read += len(line.encode())
                self.seen.append(json.loads(line) if line.startswith("{") else {"event": "error", "error": line})
        return [event for event in self.seen if event["event"] in kinds]

    def wait(self, ready, what, within=WITHIN):
        """Until `ready()`, while the peer runs."""
        def look():
            ended = self.child.poll() is not None  # asked first: what it said at its end counts
            got = ready()
            if not got and ended:
                raise AssertionError(f"peer {self.name} ended while {what} was waited for:\n{self.tail()}")
            return got
        return until(look, what, within, self.tail)

    def address(self):
        """Where a serving peer listens."""
        return self.wait(lambda: self.events("listening"), f"peer {self.name} to listen")[0]["address"]

    def tail(self):
        return f"--- {self.log}\n" + "".join(self.log.read_text(encoding="utf-8").splitlines(True)[-20:])

    def close(self):
        if self.child.poll() is None:
            self.child.stdin.close()  # its sign to end
            try:
                self.child.wait(WITHIN)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.stdin.close()
        self.child.wait()


class Case(unittest.TestCase):
    """A test with SPIRE. What it began is ended after it, the last first; with a failure, the logs are shown."""

    def run(self, result=None):
        result = result if result is not None else self.defaultTestResult()
        self.begun = []
        bad = len(result.failures) + len(result.errors)
        with tempfile.TemporaryDirectory(prefix="spire-") as folder:
            self.folder = Path(folder)
            try:
                super().run(result)
            finally:
                for one in reversed(self.begun):
                    one.close()
                if len(result.failures) + len(result.errors) > bad:
                    for one in self.begun:
                        print(one.tail(), file=sys.stderr)
        return result

    def begin(self, one):
        self.begun.append(one)
        return one

    def server(self, trust_domain="swarm.test", ca_ttl="80s", svid_ttl="20s", folder=None, **more):
        server = self.begin(Server(self.folder / (folder or trust_domain), trust_domain, ca_ttl, svid_ttl, **more))
        server.start()
        return server

    def agent(self, server, node="/host"):
        agent = self.begin(Agent(self.folder / f"{server.trust_domain}-{node.strip('/')}", server, node))
        agent.start()
        return agent

    def peer(self, agent, name, *arguments):
        return self.begin(Peer(agent, name, *arguments))


def _socket(directory):
    path = str(Path(directory, "api.sock"))
    if len(path) > SOCKET_BYTES_MAX:
        raise AssertionError(f"{path} is too long for a Unix socket: set TMPDIR to a shorter folder")
    return path
