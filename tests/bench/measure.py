"""One measurement each: a short pgbench run, and what idle clients cost."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from contenders import DATABASE, IDLE_CLIENTS, SCALE, USER

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = 50
THREADS = 2
# Latencies are logged for this share of transactions, which costs pgbench next to nothing.
SAMPLED = 0.05
SETTLE_SECONDS = 2
# Queries of each of the first clients, until what is kept for all of them has its size.
WARMING = 200

ROWS = f"""\\set first random(1, {SCALE * 100_000 - 1000})
SELECT aid, bid, abalance, filler FROM pgbench_accounts WHERE aid BETWEEN :first AND :first + 999;
"""
WORKLOADS = {
    "simple": ("-S simple", ["-S", "-M", "simple"]),
    "extended": ("-S extended", ["-S", "-M", "extended"]),
    "prepared": ("-S prepared", ["-S", "-M", "prepared"]),
    "rows": ("1000-row results", ["-M", "simple", "-f", "rows.sql"]),
}


class MeasureFailed(Exception):
    """pgbench or an idle client did not get through."""


@dataclasses.dataclass
class Run:
    tps: float
    # CPU time of the proxy per transaction, in µs; none for PostgreSQL itself.
    cpu: float | None
    # Milliseconds of the sampled transactions.
    latencies: list


def cpu_seconds(pid):
    """Time on a processor that the threads of the process have had, to the nanosecond."""
    threads = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def transactions(printed, complaint, name):
    """How many pgbench has done, by what it printed."""
    count = re.search(r"transactions actually processed: (\d+)", printed)
    if not count or not int(count[1]):
        raise MeasureFailed(f"pgbench through {name}: {complaint.strip()[-500:]}")
    return int(count[1])


def pgbench(contender, workload, seconds):
    _, options = WORKLOADS[workload]
    with tempfile.TemporaryDirectory(prefix="pgweir-bench-") as home:
        (pathlib.Path(home) / "rows.sql").write_text(ROWS)
        command = ["pgbench", "-n", "-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds), *options]
        command += ["--log", f"--sampling-rate={SAMPLED}", contender.url]
        before = cpu_seconds(contender.pid) if contender.pid else 0
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        after = cpu_seconds(contender.pid) if contender.pid else 0
        tps = re.search(r"tps = ([\d.]+)", done.stdout)
        count = transactions(done.stdout, done.stderr, f"{contender.name}, {workload}")
        if done.returncode or not tps:
            raise MeasureFailed(f"pgbench through {contender.name}, {workload}: {done.stderr.strip()[-500:]}")
        latencies = [
            int(line.split()[2]) / 1000
            for log in pathlib.Path(home).glob("pgbench_log.*")
            for line in log.read_text().splitlines()
        ]
    cpu = (after - before) / count * 1e6 if contender.pid else None
    return Run(float(tps[1]), cpu, latencies)


def zones():
    """As many time zones, all different."""
    return [f"Etc/GMT{hours:+d}" for hours in range(-14, 13) if hours] + [f"<Z{n:02}>{n % 12}" for n in range(24)]


def settings(contender, seconds, different):
    """Transactions per second of as many pgbench processes, each with settings of its own or all with the same."""
    command = ["pgbench", "-n", "-S", "-c", "1", "-j", "1", "-T", str(seconds), contender.url]
    processes = []
    for number, zone in enumerate(zones()[:CLIENTS]):
        own = {"PGAPPNAME": f"app {number}", "PGTZ": zone} if different else {"PGAPPNAME": "app", "PGTZ": "UTC"}
        processes.append(subprocess.Popen(
            command, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ))
    total = 0
    for process in processes:
        printed, complaint = process.communicate()
        tps = re.search(r"tps = ([\d.]+)", printed)
        if process.returncode or not tps:
            raise MeasureFailed(f"pgbench through {contender.name}: {complaint.strip()[-500:]}")
        total += float(tps[1])
    return total


def memory_kb(pid):
    """What the process has allocated, in KB. Pages of its program's file are the machine's cache, and come one by one
    as code is first run, whoever the client."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss_Anon:\s+(\d+) kB", rollup, re.MULTILINE)[1])


class IdleClients:
    """A process that holds sessions open; every step waits for its word."""

    def __init__(self, contender, count):
        command = [sys.executable, HERE / "idle_clients.py", contender.port, USER, DATABASE, count]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.expect("open")

    def expect(self, word):
        if self.process.stdout.readline().strip() != word:
            self.close()
            raise MeasureFailed(f"idle clients: no '{word}'")

    def query(self):
        self.process.stdin.write("query\n")
        self.process.stdin.flush()
        self.expect("queried")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def idle_memory(contender):
    """KB for each idle client: just logged in, and after one query in each."""
    # What the first clients allocate once and for all is not the cost of the others.
    first = IdleClients(contender, 50)
    for _ in range(WARMING):
        first.query()
    first.close()
    time.sleep(SETTLE_SECONDS)
    base = memory_kb(contender.pid)
    crowd = IdleClients(contender, IDLE_CLIENTS)
    try:
        time.sleep(SETTLE_SECONDS)
        fresh = (memory_kb(contender.pid) - base) / IDLE_CLIENTS
        crowd.query()
        time.sleep(SETTLE_SECONDS)
        return fresh, (memory_kb(contender.pid) - base) / IDLE_CLIENTS
    finally:
        crowd.close()
