"""Turns measurements into the table of the performance budget, as Markdown."""

import math
import os
import pathlib
import statistics

import compare
from measure import WORKLOADS

# What pgweir must reach, as shares of direct and of pgbouncer.
THROUGHPUT = {"simple": (0.80, 1.10), "extended": (1.00, None), "prepared": (0.55, 1.15), "rows": (0.83, 1.45)}
CPU = ("simple", "extended", "prepared")
IDLE_KB = 0.9
SETTINGS = 0.90
# Of the throughput.
INSIGHT = 0.02
BEFORE = 0.03


def mark(verdicts):
    """Passed, missed, or not measured; what could not be judged does not count."""
    judged = [verdict for verdict in verdicts if verdict is not None]
    return "–" if not judged else "✓" if all(judged) else "✗ missed"


def figure(value, form):
    return "–" if value is None else format(value, form)


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


class Results:
    """Runs by workload and contender, in order of their rounds."""

    def __init__(self):
        self.runs = {}

    def add(self, workload, contender, run):
        self.runs.setdefault(workload, {}).setdefault(contender, []).append(run)

    def median(self, workload, contender, what):
        values = [what(run) for run in self.runs[workload].get(contender, [])]
        return statistics.median(values) if values and None not in values else None

    def ratios(self, workload, contender, other):
        """Of runs in the same round, which the machine's moods affect alike."""
        runs = self.runs[workload]
        return [a.tps / b.tps for a, b in zip(runs.get(contender, []), runs.get(other, []))]

    def ratio(self, workload, contender, other):
        ratios = self.ratios(workload, contender, other)
        return statistics.median(ratios) if ratios else None

    def percentile(self, workload, contender, percent):
        values = sorted(value for run in self.runs[workload].get(contender, []) for value in run.latencies)
        return values[min(len(values) - 1, len(values) * percent // 100)] if values else None


def reached(value, least):
    return None if value is None or least is None else value >= least


def throughput(results):
    def cell(workload, name):
        tps, ratio = results.median(workload, name, lambda run: run.tps), results.ratio(workload, name, "direct")
        return "–" if ratio is None else f"{tps:,.0f} · {ratio:.2f}"

    rows = []
    for workload in results.runs:
        title, _ = WORKLOADS[workload]
        of_direct, of_pgbouncer = THROUGHPUT[workload]
        direct, pgbouncer = (results.ratio(workload, "pgweir", name) for name in ("direct", "pgbouncer"))
        spread = results.ratios(workload, "pgweir", "direct")
        target = f"≥ {of_direct:.2f} of direct" + (f", ≥ {of_pgbouncer:.2f} × pgbouncer" if of_pgbouncer else "")
        rows.append([
            title,
            f"{results.median(workload, 'direct', lambda run: run.tps):,.0f}",
            cell(workload, "pgbouncer"),
            cell(workload, "pgweir"),
            f"{min(spread):.2f}–{max(spread):.2f}" if spread else "–",
            f"{figure(pgbouncer, '.2f')}",
            target,
            mark([reached(direct, of_direct), reached(pgbouncer, of_pgbouncer)]),
        ])
    head = ["tps · of direct", "direct", "pgbouncer", "pgweir", "spread", "× pgbouncer", "pgweir must reach", ""]
    return table(head, rows)


def processor(results):
    rows = []
    for workload in results.runs:
        theirs, ours = (results.median(workload, name, lambda run: run.cpu) for name in ("pgbouncer", "pgweir"))
        judged = workload in CPU
        fits = ours <= theirs if judged and None not in (ours, theirs) else None
        target = "≤ pgbouncer's" if judged else "–"
        rows.append([WORKLOADS[workload][0], figure(theirs, ".1f"), figure(ours, ".1f"), target, mark([fits])])
    return table(["CPU per transaction, µs", "pgbouncer", "pgweir", "pgweir must reach", ""], rows)


def latency(results):
    rows = []
    for workload in results.runs:
        cells = [
            " / ".join(figure(results.percentile(workload, name, percent), ".2f") for percent in (50, 95, 99))
            for name in ("direct", "pgbouncer", "pgweir")
        ]
        rows.append([WORKLOADS[workload][0], *cells])
    return table(["latency p50 / p95 / p99, ms", "direct", "pgbouncer", "pgweir"], rows)


def pair(title, names, found, most):
    """What the first of two takes more than the second, of the time that a transaction takes the machine."""
    rows = []
    for workload, runs in found.items():
        one, other, machine = compare.medians(runs)
        shares = compare.lost(runs)
        share, doubt = statistics.median(shares), standard_error(shares)
        rows.append([
            WORKLOADS[workload][0],
            *(f"{cpu:.2f}" for cpu in (one, other, machine)),
            f"{share:+.2%} ± {doubt:.2%}",
            f"≤ {most:.0%}",
            mark([share <= most]),
        ])
    heads = [f"CPU {name}, µs" for name in names]
    return table([title, *heads, "machine, µs", "throughput lost", "target", ""], rows)


def standard_error(values):
    """How far the median of so many values is probably from the truth, by their quartiles."""
    if len(values) < 2:
        return math.nan
    lower, _, upper = statistics.quantiles(values, n=4)
    return 1.253 * (upper - lower) / 1.349 / math.sqrt(len(values))


def settings(shares):
    """What clients with settings of their own keep of the throughput of clients with equal ones."""
    rows = []
    for name, pairs in shares.items():
        different, equal = (statistics.median(tps) for tps in zip(*pairs))
        kept = [of / whole for of, whole in pairs]
        share, doubt = statistics.median(kept), standard_error(kept)
        least = SETTINGS if name == "pgweir" else None
        rows.append([
            name,
            f"{equal:,.0f}",
            f"{different:,.0f}",
            f"{share:.2f} ± {doubt:.2f}",
            f"≥ {SETTINGS:.2f}" if least else "–",
            mark([reached(share, least)]),
        ])
    title = "-S simple, 50 processes, application name and time zone of each"
    return table([title, "equal, tps", "different, tps", "share", "target", ""], rows)


def migration(times, statements):
    """How long each has taken for the same statements, and how many times as long as without a proxy."""
    rows = []
    for name, seconds in times.items():
        ratio = statistics.median(own / direct for own, direct in zip(seconds, times["direct"]))
        rows.append([name, f"{statistics.median(seconds):.2f}", f"{ratio:.2f}"])
    return table([f"migration of {statements} statements", "s", "of direct"], rows)


def idle(memory):
    """`memory` gives for each proxy the KB of a fresh client and of one that has run a query."""
    rows = []
    for number, title in enumerate(("just logged in", "after one query")):
        theirs, ours = (memory[name][number] if name in memory else None for name in ("pgbouncer", "pgweir"))
        fits = None if ours is None else round(ours, 2) <= IDLE_KB
        rows.append([title, figure(theirs, ".2f"), figure(ours, ".2f"), f"≤ {IDLE_KB}", mark([fits])])
    return table(["memory per idle client, KB", "pgbouncer", "pgweir", "pgweir must reach", ""], rows)


def machine():
    """Processor, cores, memory and kernel in one line."""
    processors = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in processors.splitlines() if "model name" in line), "?")
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {gigabytes:.0f} GB, Linux {os.uname().release}"
