"""Servers that live as long as one run: a PostgreSQL cluster, and programs in front of it.

Everything listens on loopback on a free port, keeps its files in one temporary folder, and ends with this
process, also when this process is killed.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 10


class StartFailed(Exception):
    """A server did not come up; the text says which, and what it last wrote."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_on_signals():
    """Turns SIGTERM and SIGHUP into an ordinary exit, so that `with` blocks clean up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda signum, _frame: sys.exit(128 + signum))


def command_for_server(command, unprivileged):
    """`command` such that it dies with us, and runs as `postgres` where it refuses to be root."""
    identity = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    demote = identity if unprivileged and os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig=TERM", *demote, "--", *map(str, command)]


def give_to_server(path):
    """Lets the unprivileged server write to `path`."""
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def postgres_bin():
    """The folder of PostgreSQL's programs: PG_BIN, or the newest one's."""
    if chosen := os.environ.get("PG_BIN"):
        return pathlib.Path(chosen)
    folders = pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(folders, key=lambda path: float(path.parts[-3]), default=None)
    found = newest or shutil.which("postgres")
    if not found:
        raise StartFailed("PostgreSQL's server programs are missing: ./dev setup installs them")
    return pathlib.Path(found).parent


@contextlib.contextmanager
def folder():
    """A temporary folder that the unprivileged server can enter."""
    with tempfile.TemporaryDirectory(prefix="pgweir-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def stop(process, how=signal.SIGTERM):
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(ready, process, name, log):
    """Polls `ready` until it is true; a process that ends before that is an error with the end of its log."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = pathlib.Path(log).read_text(errors="replace")[-2000:]
            raise StartFailed(f"{name} {'ended' if ended else 'is not ready'}; its log ends with:\n{tail}")
        time.sleep(0.05)


class Postgres:
    """A fresh cluster with one superuser that logs in by password."""

    USER = "postgres"
    PASSWORD = "postgres"

    def __init__(self, home, settings=(), auth="scram-sha-256"):
        self.bin = postgres_bin()
        self.port = free_port()
        self.data = home / "postgres"
        self.log = home / "postgres.log"
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            **dict(settings),
        }
        self.auth = auth
        self.process = None

    def __enter__(self):
        self.data.mkdir(mode=0o700)
        give_to_server(self.data)
        self._initialise()
        command = [self.bin / "postgres", "-D", self.data]
        for key, value in self.settings.items():
            command += ["-c", f"{key}={value}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command_for_server(command, unprivileged=True), stdout=log, stderr=log, cwd="/"
            )
        try:
            ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            wait_until(lambda: subprocess.call(ready) == 0, self.process, "PostgreSQL", self.log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        stop(self.process, signal.SIGINT)

    def _initialise(self):
        password = self.data.parent / "password"
        password.write_text(self.PASSWORD)
        command = [self.bin / "initdb", "-D", self.data, "-U", self.USER, f"--pwfile={password}", "--no-sync"]
        command += [f"--auth={self.auth}", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(
            command_for_server(command, unprivileged=True), capture_output=True, text=True, cwd="/", check=False
        )
        if made.returncode:
            raise StartFailed(f"initdb: {made.stderr}")

    def sql(self, text, database="postgres"):
        """Runs `text` in psql as the superuser."""
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(self.port, database), "-c", text]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def url(self, port, database, user=None, password=None):
        """How to reach `database` at `port`, which may be that of something in front of this server."""
        user, password = user or self.USER, password or self.PASSWORD
        return f"postgres://{user}:{password}@127.0.0.1:{port}/{database}"


class Certificates:
    """A server's certificate for 127.0.0.1, who signed it, and a stranger who did not: paths of PEM files."""

    def __init__(self, home):
        self.home = home
        home.mkdir()
        self.root, _ = self._self_signed("root")
        self.stranger, _ = self._self_signed("stranger")
        self.cert, self.key = home / "server.crt", home / "server.key"
        request, extensions = home / "server.csr", home / "extensions"
        self._openssl("req", *self.NEW_KEY, "-keyout", self.key, "-out", request, "-subj", "/CN=127.0.0.1")
        extensions.write_text("subjectAltName=IP:127.0.0.1")
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", home / "root.key", "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", self.cert,
        )

    NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def _self_signed(self, name):
        cert, key = self.home / f"{name}.crt", self.home / f"{name}.key"
        self._openssl("req", "-x509", *self.NEW_KEY, "-keyout", key, "-out", cert, "-subj", f"/CN={name}", "-days", "2")
        return cert, key

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise StartFailed(f"openssl {arguments[0]}: {done.stderr}")


class Pgweir:
    """The program under test, with the configuration it is given; it logs JSON to a file."""

    def __init__(self, home, config, program=None):
        self.program = pathlib.Path(program or ROOT / "target/debug/pgweir")
        self.config = home / "proxy.toml"
        self.config.write_text(config)
        self.log = home / "pgweir.log"
        self.port = None
        self.process = None

    def __enter__(self):
        if not self.program.exists():
            raise StartFailed(f"{self.program} is not built")
        with self.log.open("wb") as log:
            command = command_for_server([self.program, "--config", self.config], unprivileged=False)
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(self._is_ready, self.process, "pgweir", self.log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        stop(self.process, signal.SIGINT)

    def _is_ready(self):
        """Reads the port from the line that says so; the configuration asked for any free one."""
        for line in self.log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                event = json.loads(line)
                fields = event.get("fields", event)
                address = re.search(r"127\.0\.0\.1:(\d+)", str(fields.get("addresses")))
                if fields.get("message") == "pgweir is ready" and address:
                    self.port = int(address.group(1))
        return self.port is not None
