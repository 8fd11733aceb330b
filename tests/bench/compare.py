"""Two builds or configurations of pgweir against each other, to a fraction of a per cent.

Throughput of one after the other differs by a tenth from second to second, because the machine does. So both run at the
same time, each with half of the clients, and share one core, whose moods then are the same for both; what is compared
is the processor time that a transaction takes in each. What that is of the time that a transaction takes the whole
machine is what throughput loses where processors are what limits it.
"""

import contextlib
import dataclasses
import os
import pathlib
import statistics
import subprocess

import measure

CORE = 0
# For a second worker there is no room on one core.
PROCESS = "\n[process]\nworkers = 1\n"
WORKLOADS = ("simple", "extended", "prepared")


@dataclasses.dataclass
class Pair:
    """CPU time of a transaction in each, and of the whole machine for it, in µs."""

    one: float
    other: float
    machine: float


def share_a_core(contenders):
    for contender in contenders:
        for thread in pathlib.Path(f"/proc/{contender.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), {CORE})


def busy_seconds():
    """Of all processors, since the machine started."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def at_once(contenders, workload, seconds):
    _, options = measure.WORKLOADS[workload]
    half = ["pgbench", "-n", "-c", str(measure.CLIENTS // 2), "-j", "1", "-T", str(seconds), *options]
    before, busy = [measure.cpu_seconds(contender.pid) for contender in contenders], busy_seconds()
    runs = [
        subprocess.Popen([*half, contender.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for contender in contenders
    ]
    printed = [run.communicate() for run in runs]
    busy = busy_seconds() - busy
    spent = [measure.cpu_seconds(contender.pid) - so_far for contender, so_far in zip(contenders, before)]
    counts = [measure.transactions(*text, contender.name) for text, contender in zip(printed, contenders)]
    each = [seconds / count * 1e6 for seconds, count in zip(spent, counts)]
    return Pair(*each, busy / sum(counts) * 1e6)


def pairs(contenders, workload, rounds, seconds, progress):
    """`rounds` runs of both at once, beginning with another one each time."""
    share_a_core(contenders)
    for contender in contenders:
        measure.pgbench(contender, workload, 1)
    found = []
    for number in range(rounds):
        progress(f"{workload}: {' and '.join(contender.name for contender in contenders)}, {number + 1} of {rounds}")
        if number % 2:
            found.append(at_once(contenders, workload, seconds))
        else:
            turned = at_once(contenders[::-1], workload, seconds)
            found.append(Pair(turned.other, turned.one, turned.machine))
    return found


def lost(found):
    """What the first of the two takes more, of the machine's time for a transaction: a share of each run."""
    return [(pair.one - pair.other) / pair.machine for pair in found]


def medians(found):
    return [statistics.median(getattr(pair, field) for pair in found) for field in ("one", "other", "machine")]
