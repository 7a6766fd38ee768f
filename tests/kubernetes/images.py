"""The container images, unpacked from their archives and run: as the user and with the read-only root that Kubernetes gives them."""
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from oci import USER, Container, Image

HOME = Path(os.environ["STARLING_HOME"])
NAMES = ("starling", "starling-client", "sl-keras", "keras", "spire-server", "gateway")
OURS = ("starling", "starling-client", "sl-keras")
SHELLS = re.compile(r"(^|/)(sh|bash|dash|ash|busybox|toybox)$")
VERSION = re.search(r"project\(starling VERSION (\S+)", (HOME / "CMakeLists.txt").read_text()).group(1)
SPIRE = re.search(r"github.com/spiffe/spire v(\S+)", (HOME / "tests/spire/go/go.mod").read_text()).group(1)
GLIBC = re.compile(r"(libc|libm|libresolv|libdl|libpthread|librt)\.so\.\d|ld-linux-x86-64\.so\.2")


def needed(path):
    out = subprocess.run(["readelf", "--dynamic", "--wide", str(path)], check=True, capture_output=True, text=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", out)


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="starling_images_"))
        cls.folder.chmod(0o755)
        cls.images = {name: Image(name) for name in NAMES}
        cls.containers = {}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def container(self, name):
        if name not in self.containers:
            self.containers[name] = Container(self.images[name], self.folder / name)
        return self.containers[name]

    def temporary(self):
        return Path(tempfile.mkdtemp(dir=self.folder))

    def run_in(self, name, *command, **more):
        code, output, errors = self.container(name).run(*command, **more)
        self.assertEqual(code, 0, f"{name}: {command}: {output}{errors}")
        return output

    # --- what every image promises ----------------------------------------------------------------------------------------

    def test_every_image_runs_as_a_number_that_is_not_root_and_ends_on_sigterm(self):
        for name, image in self.images.items():
            config = image.config["config"]
            self.assertRegex(config["User"], rf"^{USER}:{USER}$", name)  # Kubernetes cannot tell who a name is.
            self.assertEqual(config["StopSignal"], "SIGUSR1" if name == "gateway" else "SIGTERM", name)
            self.assertEqual(image.reference, f"localhost/{name}:{SPIRE if name == 'spire-server' else VERSION}")
            labels = config["Labels"]
            self.assertEqual(labels["org.opencontainers.image.version"], image.reference.rpartition(":")[2])
            for label in ("title", "description", "licenses", "version", "revision", "created"):
                self.assertTrue(labels.get(f"org.opencontainers.image.{label}"), f"{name}: {label}")

    def test_what_ours_are_made_of_can_be_told_from_their_labels(self):
        commit = subprocess.run(["git", "-C", str(HOME), "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        for name in OURS:
            labels = self.images[name].config["config"]["Labels"]
            self.assertEqual(labels["org.opencontainers.image.revision"], commit)
            self.assertEqual(labels["org.opencontainers.image.version"], VERSION)

    def test_the_folders_to_write_in_belong_to_the_user(self):
        for name, paths in {"starling": ["var/lib/starling"], "starling-client": ["opt/starling"], "spire-server": ["tmp/spire-server/private"],
                            "sl-keras": ["var/lib/starling", "platform/swarmml/data", "platform/swarmml/model"]}.items():
            files = self.images[name].files()
            for path in paths:
                self.assertEqual((files[path].uid, files[path].gid, files[path].isdir()), (USER, USER, True), f"{name}: {path}")

    # --- starling ----------------------------------------------------------------------------------------------------------

    def test_the_binary_is_loaded_with_nothing_but_glibc(self):
        root = self.container("starling").root
        libraries = needed(root / "usr/bin/starling")
        self.assertIn("libc.so.6", libraries)
        for library in libraries:
            self.assertRegex(library, GLIBC)
        present = {Path(path).name for path in self.images["starling"].files()}
        self.assertLessEqual(set(libraries), present)

    def test_there_is_no_shell_and_no_other_program(self):
        for name in ("starling", "starling-client"):
            files = self.images[name].files()
            self.assertEqual([path for path in files if SHELLS.search(path)], [])
            programs = [path for path, info in files.items() if info.isfile() and info.mode & 0o111 and ".so" not in path]
            self.assertEqual(programs, ["usr/bin/starling"])
            self.assertEqual([path for path, info in files.items() if info.mode & 0o6000], [])

    def test_starling_runs_on_a_read_only_root(self):
        self.assertEqual(self.run_in("starling", "/usr/bin/starling", "version"), f"starling {VERSION}\n")
        data = self.temporary()
        text = self.run_in("starling", "/usr/bin/starling", "identity", "dev-ca", "ca", "--issue", "/swarm/sn:sn",
                           writable=[(data, "/var/lib/starling")])
        self.assertIn("spiffe://starling.local/swarm/sn", text)
        self.assertEqual((data / "ca" / "ca-cert.pem").stat().st_uid, USER)

    def test_names_of_other_machines_are_resolved(self):
        root = self.container("starling").root
        (root / "etc/hosts").write_text("127.0.0.1 sn.example\n")  # Kubernetes mounts it.
        authority = self.temporary()
        self.run_in("starling", "/usr/bin/starling", "identity", "dev-ca", "ca", "--issue", "/swarm/operator:me",
                    writable=[(authority, "/var/lib/starling")])
        files = ["--cert", "ca/me-cert.pem", "--key", "ca/me-key.pem", "--cacert", "ca/ca-cert.pem"]
        causes = []
        for host in ("sn.example", "nowhere.invalid"):
            code, output, errors = self.container("starling").run(
                "/usr/bin/starling", "training", "list", "--sn", f"{host}:{free_port()}", *files, writable=[(authority, "/var/lib/starling")])
            self.assertEqual((code, output), (1, ""), errors)
            causes.append(errors)
        self.assertIn("connection-refused", causes[0])
        self.assertNotIn("connection-refused", causes[1])

    # --- the client --------------------------------------------------------------------------------------------------------

    def test_the_client_comes_into_a_stock_framework_image(self):
        volume = self.temporary()
        line = self.run_in("starling-client", writable=[(volume, "/opt/starling")])
        self.assertEqual(line, f"client {VERSION} installed: starling, examples, swarm, swarmlearning; PYTHONPATH=/opt/starling\n")
        self.run_in("starling-client", writable=[(volume, "/opt/starling")])  # a restarted init container
        program = "import starling, swarm, swarmlearning.tf, keras; print(starling.__file__, keras.backend.backend())"
        out = self.run_in("keras", "python3", "-c", program, writable=[(volume, "/opt/starling")], environment={"PYTHONPATH": "/opt/starling"})
        self.assertEqual(out.split(), ["/opt/starling/starling/__init__.py", "jax"])

    def test_a_client_that_cannot_be_written_says_so_in_one_line(self):
        code, output, errors = self.container("starling-client").run()
        self.assertEqual((code, output), (1, ""))
        self.assertRegex(errors, r"^starling client install: .*Read-only file system.*\n$")

    def test_the_framework_image_has_nothing_of_ours(self):
        self.assertEqual([path for path in self.images["keras"].files() if re.search(r"(bin|packages|python)/(starling|swarm)", path)], [])

    # --- learning node and framework in one ---------------------------------------------------------------------------------

    def test_the_learning_image_has_node_client_and_framework(self):
        self.assertEqual(self.run_in("sl-keras", "/usr/bin/starling", "version"), f"starling {VERSION}\n")
        out = self.run_in("sl-keras", "python3", "-c", "import swarmlearning.tf, swarm, keras; print(swarmlearning.__file__)")
        self.assertEqual(out, "/usr/share/starling/python/swarmlearning/__init__.py\n")
        config = self.images["sl-keras"].config["config"]
        self.assertEqual(config["Entrypoint"], ["/usr/bin/starling", "sl"])
        self.assertIn("opt/starling/examples/mnist/train_keras.py", self.images["sl-keras"].files())

    def test_bytecode_is_believed_whatever_the_time_stamps(self):
        for module in ("keras", "json"):
            program = f"import {module}, struct; print(struct.unpack('<I', open({module}.__cached__, 'rb').read()[4:8])[0])"
            self.assertEqual(self.run_in("sl-keras", "python3", "-c", program), "1\n")  # by hash, and not compared with the source

    # --- what stands beside it -----------------------------------------------------------------------------------------------

    def test_spire_server_starts_as_the_official_image_does(self):
        config = self.images["spire-server"].config["config"]
        self.assertEqual(config["Entrypoint"], ["/opt/spire/bin/spire-server", "run"])
        for path in ("/opt/spire/bin/spire-server", "/spire/bin/spire-server"):
            code, output, errors = self.container("spire-server").run(path, "--version")
            self.assertIn("1.", output + errors)
            self.assertEqual(code, 0)
        files = self.images["spire-server"].files()
        self.assertTrue(files["spire/bin/spire-server"].islnk())

    def test_the_gateway_passes_connections_on_by_their_name(self):
        servers = {name: NamedServer(name, self.temporary()) for name in ("a.example", "b.example")}
        for server in servers.values():
            self.addCleanup(server.close)
        folder = self.temporary()
        port = free_port()
        rules = "".join(f"  use_backend {name[0]} if {{ req.ssl_sni -i {name} }}\n" for name in servers)
        backends = "".join(f"backend {name[0]}\n  server one 127.0.0.1:{server.port}\n" for name, server in servers.items())
        (folder / "haproxy.cfg").write_text(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend public\n  bind 127.0.0.1:{port}\n  tcp-request inspect-delay 5s\n"
            f"  tcp-request content accept if {{ req.ssl_hello_type 1 }}\n{rules}{backends}")
        process = self.container("gateway").start(writable=[(folder, "/etc/haproxy")], stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        for name in servers:
            self.assertEqual(certificate_name(port, name, process), name)

    # --- bills of materials ---------------------------------------------------------------------------------------------------

    def bill(self, name):
        return json.loads(self.images[name].bill.read_text())

    def test_every_image_carries_the_bill_that_lies_beside_it(self):
        for name in NAMES:
            inside = (self.container(name).root / "usr/share/starling/sbom.json").read_text()
            self.assertEqual(inside, self.images[name].bill.read_text(), name)

    def test_a_bill_is_cyclonedx(self):
        for name in NAMES:
            bill = self.bill(name)
            self.assertEqual((bill["bomFormat"], bill["specVersion"], bill["version"]), ("CycloneDX", "1.5", 1))
            self.assertRegex(bill["serialNumber"], r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
            self.assertRegex(bill["metadata"]["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            subject = bill["metadata"]["component"]
            self.assertEqual((subject["type"], subject["name"]), ("container", name))
            references = [component["bom-ref"] for component in bill["components"]]
            self.assertEqual(len(references), len(set(references)), name)
            self.assertGreater(len(references), 2)
            for component in bill["components"]:
                self.assertIn(component["type"], ("library", "application"))
                self.assertTrue(component["name"] and component["version"])
                self.assertRegex(component["purl"], r"^pkg:(deb|pypi|golang|generic)/[^@]+@.+")

    def test_every_library_that_the_binary_links_is_listed(self):
        # From the other side: what the dynamically linked twin loads, and the headers that only compile.
        out = subprocess.run(["ldd", os.environ["STARLING_BIN"]], check=True, capture_output=True, text=True).stdout
        sources = {source_of(path) for path in re.findall(r"=> (/\S+) ", out)}
        self.assertLessEqual({"grpc", "abseil", "protobuf", "openssl", "sqlite3", "gcc-12", "glibc"}, sources)
        sources |= {source_of(header) for header in ("/usr/include/boost/version.hpp", "/usr/include/CLI/CLI.hpp", "/usr/include/nlohmann/json.hpp",
                                                     "/usr/include/spdlog/spdlog.h", "/usr/include/fmt/format.h")}
        for name in ("starling", "starling-client", "sl-keras"):
            listed = {item["value"] for component in self.bill(name)["components"] for item in component.get("properties", ())
                      if item["name"] == "starling:source"}
            self.assertEqual(sources - listed, set(), name)

    def test_our_version_and_commit_are_listed(self):
        for name in OURS:
            own = [component for component in self.bill(name)["components"] if component["name"] == "starling"]
            self.assertEqual([component["version"] for component in own], [VERSION])
            self.assertEqual(own[0]["properties"][0]["value"], self.images[name].config["config"]["Labels"]["org.opencontainers.image.revision"])

    def test_python_packages_and_go_modules_are_listed(self):
        for name in ("keras", "sl-keras"):
            versions = {component["purl"] for component in self.bill(name)["components"]}
            for line in (HOME / "python/requirements-demo.txt").read_text().splitlines():
                if line.split("==")[0] in ("keras", "jax", "jaxlib", "numpy"):
                    self.assertIn("pkg:pypi/" + line.replace("==", "@"), versions)
        modules = {component["name"] for component in self.bill("spire-server")["components"]}
        self.assertIn("google.golang.org/grpc", modules)

    def test_the_licences_of_what_is_linked_are_inside(self):
        files = self.images["starling"].files()
        for package in ("starling", "libssl-dev", "libgrpc-dev", "libboost1.74-dev"):
            self.assertIn(f"usr/share/doc/{package}/copyright", files)

    def test_only_a_setting_says_which_registry(self):
        for file in sorted((HOME / "deploy/images").glob("*/Containerfile")):
            text = file.read_text()
            stages = {"scratch", *re.findall(r"^FROM \S+ AS (\S+)", text, re.M)}
            for parent in re.findall(r"^FROM (\S+)", text, re.M):
                self.assertTrue(parent in stages or re.fullmatch(r"\$\{[A-Z]+\}", parent), f"{file}: {parent}")
            for default in re.findall(r"^ARG (?:BASE|STARLING|KERAS)=(\S+)", text, re.M):
                self.assertRegex(default, r"^(localhost/)?[a-z-]+:[a-z0-9.-]+$")

    # --- the same again --------------------------------------------------------------------------------------------------------

    def test_another_build_has_the_same_digests(self):
        folder = self.temporary()
        subprocess.run([str(HOME / "deploy/images/build"), "--output", str(folder), "starling", "starling-client"], check=True,
                       stdout=subprocess.DEVNULL)
        for name in ("starling", "starling-client"):
            again = json.loads(read_member(folder / f"{name}.tar", "index.json"))
            self.assertEqual(again["manifests"][0]["digest"], self.images[name].digest)


def read_member(archive, name):
    return subprocess.run(["tar", "-xOf", str(archive), name], check=True, capture_output=True, text=True).stdout


def source_of(path):
    """The Debian source package of the file."""
    names = {path, os.path.realpath(path), re.sub(r"^/usr/lib", "/lib", os.path.realpath(path))}
    out = subprocess.run(["dpkg-query", "--search", *names], capture_output=True, text=True).stdout
    package = out.split(":")[0]
    return subprocess.run(["dpkg-query", "--show", "--showformat=${source:Package}\n", package], check=True, capture_output=True,
                          text=True).stdout.split("\n")[0]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def certificate_name(port, name, process):
    """The name in the certificate that answers for `name` behind the gateway; tried until it listens."""
    context = ssl._create_unverified_context()
    while True:
        if process.poll() is not None:
            raise AssertionError(f"the gateway ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
                return tls.recv(100).decode()
        except ConnectionRefusedError:
            process_breath(process)


def process_breath(process):
    """A pause that the end of the process cuts short."""
    try:
        process.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        pass


class NamedServer:
    """Answers a TLS connection with its name."""

    def __init__(self, name, folder):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                        "-subj", f"/CN={name}", "-keyout", f"{folder}/key", "-out", f"{folder}/cert"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert", f"{folder}/key")
        self.name, self.context = name, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(plain, server_side=True) as tls:
                    tls.sendall(self.name.encode())
            except OSError:
                plain.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(timeout=60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
