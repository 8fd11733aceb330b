"""Who is measured: PostgreSQL itself, pgbouncer and pgweir, all with trust on loopback and 20 backends.

Trust, because a password would add the cost of 50 logins to every short run.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess

import services
import throwaway

DATABASE = "bench"
USER = "bench"
SCALE = 10
BACKENDS = 20
IDLE_CLIENTS = 3000

POSTGRES = {
    "shared_buffers": "256MB",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "jit": "off",
}
PGWEIR = """
[listen]
address = "127.0.0.1:0"
auth = "trust"
max_clients = {clients}
[server]
host = "127.0.0.1"
port = {port}
[pool]
mode = "transaction"
size = {backends}
max_overflow = 0
[[users]]
name = "{user}"
auth = "trust"
[log]
format = "json"
# "info", because the line that says "ready" is one.
level = "info"
"""
PGBOUNCER = """
[databases]
{database} = host=127.0.0.1 port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {backends}
max_client_conn = {clients}
log_connections = 0
log_disconnections = 0
{prepared}
"""


@dataclasses.dataclass
class Contender:
    name: str
    port: int
    # The process whose time and memory are accounted; none for PostgreSQL itself.
    pid: int | None = None
    skips: frozenset = frozenset()

    @property
    def url(self):
        return f"postgres://{USER}@127.0.0.1:{self.port}/{DATABASE}?sslmode=disable"


class Cluster(throwaway.Postgres):
    """The cluster that all are measured with, and how they share its machine."""

    def __init__(self, home, shared):
        super().__init__(home, POSTGRES, auth="trust")
        self.services = shared or services.OneShell()


@contextlib.contextmanager
def postgres(home, shared=None):
    """A cluster with pgbench's tables, read into memory."""
    with Cluster(home, shared) as server:
        server.services.put("postgresql", server.process.pid)
        server.sql(f"CREATE ROLE {USER} LOGIN")
        server.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}")
        url = Contender("direct", server.port).url
        subprocess.run(["pgbench", "-i", "-q", "-s", str(SCALE), url], check=True, capture_output=True)
        server.sql("SELECT count(*), sum(length(filler)) FROM pgbench_accounts", DATABASE)
        server.sql("CHECKPOINT")
        yield server


class Pgbouncer:
    """pgbouncer before the cluster. It refuses to be root."""

    def __init__(self, program):
        self.program = program
        version = re.search(r"(\d+)\.(\d+)(?:\.\d+)?", output([program, "--version"]))
        self.version = version[0]
        # Before 1.21 prepared statements did not survive transaction mode.
        self.prepares = (int(version[1]), int(version[2])) >= (1, 21)

    @contextlib.contextmanager
    def start(self, home, server):
        port, config, users = throwaway.free_port(), home / "pgbouncer.ini", home / "users.txt"
        users.write_text(f'"{USER}" ""\n')
        config.write_text(PGBOUNCER.format(
            database=DATABASE, port=server.port, own_port=port, users=users, backends=BACKENDS,
            clients=IDLE_CLIENTS + 200, prepared="max_prepared_statements = 200" if self.prepares else "",
        ))
        log = home / "pgbouncer.log"
        command = throwaway.command_for_server([self.program, config], unprivileged=True)
        with log.open("wb") as sink:
            process = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd="/")
        try:
            throwaway.wait_until(lambda: throwaway.accepts(port), process, "pgbouncer", log)
            server.services.put("pgbouncer", process.pid)
            skips = frozenset() if self.prepares else frozenset({"prepared"})
            yield Contender("pgbouncer", port, process.pid, skips)
        finally:
            throwaway.stop(process)


class Pgweir:
    """pgweir before the cluster."""

    def __init__(self, program, more="", name="pgweir"):
        self.program = program
        self.more = more
        self.name = name
        self.version = output([program, "--version"]).split()[-1]

    def config(self, server):
        whole = PGWEIR.format(port=server.port, backends=BACKENDS, user=USER, clients=IDLE_CLIENTS + 200)
        return whole + self.more

    def accepts(self, home, server, more):
        """Whether this build knows what `more` configures."""
        file = home / "check.toml"
        file.write_text(self.config(server) + more)
        return subprocess.run([self.program, "check", file], capture_output=True).returncode == 0

    @contextlib.contextmanager
    def start(self, home, server):
        with throwaway.Pgweir(home, self.config(server), self.program) as pgweir:
            server.services.put(self.name, pgweir.process.pid)
            yield Contender(self.name, pgweir.port, pgweir.process.pid)


def output(command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def proxies(pgbouncer, pgweir):
    """The proxies that are installed or built, and a sentence for each that is not."""
    found, absent = [], []
    program = shutil.which(pgbouncer) or shutil.which(pgbouncer, path="/usr/sbin:/usr/local/sbin")
    if program:
        found.append(Pgbouncer(program))
        if not found[0].prepares:
            absent.append(f"pgbouncer {found[0].version} keeps no prepared statements (1.21 does): not in that row.")
    else:
        absent.append("pgbouncer is not installed.")
    if pathlib.Path(pgweir).exists():
        found.append(Pgweir(pgweir))
    else:
        absent.append(f"{os.path.relpath(pgweir)} is not built.")
    return found, absent
