"""One pass: the suite on a fresh cluster, straight or through pgweir."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import time

import throwaway

USER = "postgres"
DATABASE = "regression"
# As pg_regress creates it where it may.
PREPARE = [
    f"CREATE DATABASE {DATABASE} TEMPLATE template0",
    *(f"ALTER DATABASE {DATABASE} SET lc_{what} TO 'C'" for what in ("messages", "monetary", "numeric", "time")),
    f"ALTER DATABASE {DATABASE} SET bytea_output TO 'hex'",
    f"ALTER DATABASE {DATABASE} SET timezone_abbreviations TO 'Default'",
]
# A statement may wait for as long as other sessions of its group keep backends.
CONFIG = """
[listen]
address = "127.0.0.1:0"
auth = "trust"
[server]
host = "127.0.0.1"
port = {port}
[pool]
mode = "transaction"
size = {backends}
max_overflow = 0
timeout = "{limit}s"
[[users]]
name = "*"
[log]
format = "json"
level = "info"
"""


@dataclasses.dataclass
class Pass:
    """What a pass left: the folder of its result files, the tests that hung, and how long it took."""

    name: str
    results: pathlib.Path
    hung: list
    seconds: float


class PassFailed(Exception):
    """The suite did not run at all; the text says why."""


@dataclasses.dataclass
class Place:
    """Where passes run: one after the other at the same paths, which stand in some results."""

    suite: pathlib.Path
    output: pathlib.Path
    program: str
    limit: int
    tests: list

    def run(self, backends=None):
        """Through pgweir on so many backends; without a number straight at PostgreSQL."""
        name = f"{backends} backends" if backends else "direct"
        with throwaway.folder() as home, cluster(home) as server, contextlib.ExitStack() as stack:
            port = server.port
            if backends:
                config = CONFIG.format(port=server.port, backends=backends, limit=self.limit)
                stack.callback(self._keep, home / "pgweir.log", f"pgweir-{backends}.log")
                port = stack.enter_context(throwaway.Pgweir(home, config, self.program)).port
            started = time.monotonic()
            said = self._regress(home, server, port)
            seconds = time.monotonic() - started
            results = self.output / "results" / name.replace(" ", "-")
            shutil.copytree(home / "out/results", results)
            return Pass(name, results, hung(said), seconds)

    def _regress(self, home, server, port):
        """Output of pg_regress; its own verdicts are about expected/ and of no interest."""
        shutil.copytree(self.suite, home / "suite")
        (home / "out").mkdir()
        throwaway.give_to_server(home / "out")
        command = [
            home / "suite/pg_regress", "--use-existing", f"--dbname={DATABASE}", "--host=127.0.0.1", f"--port={port}",
            f"--user={USER}", f"--bindir={server.bin}", f"--dlpath={home}/suite", f"--inputdir={home}/suite",
            f"--outputdir={home}/out", f"--launcher=timeout -k 1 {self.limit}", *self._selection(home),
        ]
        # The server writes some result files itself, so the suite runs as the server's user.
        ran = subprocess.run(
            throwaway.command_for_server(command, unprivileged=True), cwd=home / "out", env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        if not (home / "out/results").is_dir() or ran.returncode not in (0, 1):
            raise PassFailed(ran.stdout[-2000:])
        return ran.stdout

    def _selection(self, home):
        return self.tests or [f"--schedule={home}/suite/parallel_schedule"]

    def _keep(self, log, name):
        if log.exists():
            shutil.copy(log, self.output / name)


@contextlib.contextmanager
def cluster(home):
    """A cluster whose sessions need no password, with the suite's database."""
    # As many prepared transactions as the suite brings to a server of its own.
    settings = {"max_prepared_transactions": 2, "max_connections": 100}
    with throwaway.Postgres(home, settings, auth="trust") as server:
        for command in PREPARE:
            server.sql(command)
        yield server


def environment():
    """Ours without what libpq would read: pg_regress sets what the tests expect."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def hung(said):
    """Tests whose psql `timeout` had to end: 124, or 137 where it did not listen."""
    how = r"exited with exit code (?:124|137)|was terminated by signal 9"
    ended = re.compile(rf"^(?:test )?\s*(\S+)\s.*\(test process (?:{how})")
    return [match[1] for match in map(ended.match, said.splitlines()) if match]
