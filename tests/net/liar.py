"""Liars: proxies in front of one honest learning node of a chaos swarm, which alter what others get from it, or what it says to the SN.
They hold its certificate and its ledger key, so that to everybody else they are that node.

A lie is one of LIES, set and taken back at any time; None: honest."""
import base64
import http.client
import http.server
import json
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

from swarm import WITHIN, free_port

LIES = ("wrong bytes", "breaks off", "falls silent", "a byte a second")
CHUNK = 1 << 16
OTHER_ROOT = "sha256:" + 64 * "5"


def _context(identity, stem, client):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if client else ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity / f"{stem}-cert.pem", identity / f"{stem}-key.pem")
    context.load_verify_locations(identity / "ca-cert.pem")
    context.check_hostname = False  # Names are in the SPIFFE IDs; whoever the test's CA knows will do.
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = WITHIN

    def do_GET(self):
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        connection = http.client.HTTPSConnection(*proxy.target, context=proxy.outgoing, timeout=WITHIN)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")}
            connection.request(self.command, self.path, proxy.request_body(self.path, body) or None, headers)
            self.pass_on(proxy, connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # The node behind is gone, or whoever asked: both are told so.
        finally:
            connection.close()

    do_POST = do_GET

    def pass_on(self, proxy, answer):
        body = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        lie = proxy.lie_about(self.path, answer)
        if lie == "wrong bytes" and not self.path.endswith("/leaves"):
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1:]
        elif lie in ("breaks off", "falls silent"):
            body = body[:len(body) // 2]
        if lie == "a byte a second":
            for at in range(len(body)):
                self.wfile.write(body[at:at + 1])
                if proxy.over.wait(1):
                    break
        else:
            for at in range(0, len(body), CHUNK):
                self.wfile.write(body[at:at + CHUNK])
        if lie == "falls silent":
            self.rfile.read(1)  # until the other side has had enough
        if lie in LIES[1:]:
            self.close_connection = True

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        """On the connection's own thread: a slow handshake holds up nobody."""
        request.settimeout(WITHIN)
        try:
            with self.proxy.incoming.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)
        except OSError:
            pass  # It went away; whoever it was tries again.


class Proxy:
    """Answers on `port` as `as_whom` (a stem of the identity directory), and asks at `target` as `name`."""

    def __init__(self, identity, as_whom, name, target):
        self.lie = None
        self.over = threading.Event()
        self.target = ("127.0.0.1", target)
        self.incoming = _context(identity, as_whom, client=False)
        self.outgoing = _context(identity, name, client=True)
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def request_body(self, _path, body):
        return body

    def lie_about(self, path, answer):
        """The lie that is told in this answer: transfers are lied about, words are not."""
        transfer = path.startswith(("/v1/blobs/", "/merge/")) and answer.status in (200, 206)
        return self.lie if transfer else None


class LyingSource(Proxy):
    """Serves in the place of the learning node `name`: to be made before the node is started."""

    def __init__(self, swarm, name):
        behind = free_port()
        super().__init__(swarm.identity, name, name, behind)
        swarm.flags_of[name] = {"sl_fs_port": behind, "sl_fs_service": f"127.0.0.1:{self.port}"}


class LyingVoter(Proxy):
    """Stands between the learning node `name` and the SN: with the lie "other root", each of its votes is for a model that nobody has."""

    def __init__(self, swarm, name):
        super().__init__(swarm.identity, "sn", name, swarm.sn_port)
        self.key = Path(swarm.directory) / f"node-{name}" / "ledger-key.pem"
        swarm.flags_of[name] = {"sn_url": f"https://127.0.0.1:{self.port}"}

    def lie_about(self, _path, _answer):
        return None

    def request_body(self, path, body):
        if path != "/v1/entries" or not body or self.lie != "other root":
            return body
        return json.dumps({"entries": [self._altered(entry) for entry in json.loads(body)["entries"]]}).encode()

    def _altered(self, entry):
        header, payload, _ = entry.split(".")
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if said["type"] != "round-merged":
            return entry
        said["root"] = OTHER_ROOT
        signed = f"{header}.{_base64(json.dumps(said, separators=(',', ':')).encode())}"
        return f"{signed}.{_base64(self._signature(signed.encode()))}"

    def _signature(self, text):
        with tempfile.NamedTemporaryFile() as file:  # openssl needs to know the length of what it signs with Ed25519.
            file.write(text)
            file.flush()
            return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(self.key), "-in", file.name],
                                  capture_output=True, timeout=WITHIN, check=True).stdout


def _base64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
