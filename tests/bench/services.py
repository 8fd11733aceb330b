"""Puts each program into a control group of its own, as services are on a machine that they share.

Linux divides processors among groups before it divides them within one. systemd's units with CPUWeight= and containers
are such groups, so this is how PostgreSQL, a proxy and an application mostly meet. Started from one shell they are
divided otherwise: with autogroups (sched(7)) each backend of PostgreSQL is a group, because it is a session, while a
proxy and the load it is measured with are one together.
"""

import contextlib
import os
import pathlib


class NoGroups(Exception):
    """Control groups of processors cannot be made here; the text says why."""


class Services:
    """The groups of one run, with this process in the one that makes the load; they are gone with the run."""

    described = "PostgreSQL, each proxy and pgbench are services of their own"

    def __init__(self):
        self.root = controller()
        self.made = []
        self.put("pgbench", os.getpid())

    def put(self, name, pid):
        """Puts the process, whoever it has started and whoever it will start into the group `name`."""
        group = self.root / f"pgweir-bench-{os.getpid()}-{name}"
        try:
            if group not in self.made:
                group.mkdir()
                self.made.append(group)
            (group / "cgroup.procs").write_text(str(pid))
            for child in children(pid):
                # Some are there for an instant only.
                with contextlib.suppress(ProcessLookupError):
                    (group / "cgroup.procs").write_text(str(child))
        except OSError as reason:
            raise NoGroups(str(reason)) from reason

    def close(self):
        """Leaves the groups, and removes those that nobody is in."""
        with contextlib.suppress(OSError):
            (self.root / "cgroup.procs").write_text(str(os.getpid()))
        for group in self.made:
            with contextlib.suppress(OSError):
                group.rmdir()


class OneShell:
    """No groups: everybody stays where the run was started."""

    def __init__(self, reason=None):
        self.described = "all are started from one shell" + (f" ({reason})" if reason else "")

    def put(self, name, pid):
        """Leaves the process where it is."""

    def close(self):
        """Nothing was made."""


def as_services():
    """Groups, or where there are none, and with the reason, no groups."""
    try:
        return Services()
    except NoGroups as reason:
        return OneShell(f"no control groups: {reason}")


def controller():
    """Where groups of processors are made: the controller of version 1, or the root of version 2."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        path = pathlib.Path(path)
        if kind == "cgroup" and "cpu" in options.split(","):
            return path
        if kind == "cgroup2" and "cpu" in (path / "cgroup.subtree_control").read_text().split():
            return path
    raise NoGroups("no mount has the controller cpu")


def children(pid):
    """Those that its first thread has started."""
    return map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
