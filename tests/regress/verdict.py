"""What differs between a direct run and one through pgweir, and whether that is explained."""

import dataclasses
import difflib
import pathlib
import re
import tomllib

EXPLAINED = pathlib.Path(__file__).with_name("explained.toml")
KEYS = {"test", "statement", "reason", "lines"}
CONTEXT = 3


class BadExplanation(Exception):
    """explained.toml is not as it must be; the text says where."""


@dataclasses.dataclass
class Explanation:
    """Changed lines that have a reason: they match one of `lines`, near a statement that is as it was."""

    statement: str
    lines: list

    def covers(self, hunk, change):
        near = any(line[0] == " " and self.statement in line for line in hunk)
        return near and any(line.fullmatch(change) for line in self.lines)


@dataclasses.dataclass
class Cell:
    """One test of one pass: the hunks that differ, how many of them nobody explained, and whether psql hung."""

    hunks: int = 0
    unexplained: int = 0
    hung: bool = False

    def __str__(self):
        if self.hung:
            return "hangs"
        if self.unexplained:
            return f"differs ({self.unexplained})"
        return "explained" if self.hunks else "equal"


def explanations():
    """Every entry of explained.toml by the name of its test."""
    found = {}
    for number, entry in enumerate(tomllib.loads(EXPLAINED.read_text()).get("difference", []), 1):
        if entry.keys() != KEYS or not all(entry.values()):
            raise BadExplanation(f"{EXPLAINED}: difference {number} needs {', '.join(sorted(KEYS))}, and nothing else")
        try:
            lines = [re.compile(line) for line in entry["lines"]]
        except re.error as mistake:
            raise BadExplanation(f"{EXPLAINED}: difference {number}: {mistake}") from mistake
        found.setdefault(entry["test"], []).append(Explanation(entry["statement"], lines))
    return found


def compare(ran, tests, explained, diffs):
    """Rows by test, each a cell by the name of the pass; writes what differs to a folder for each pass."""
    direct, *others = ran
    rows = {}
    for test in tests:
        expected = lines_of(direct, test)
        for other in others:
            hunks = hunks_of(expected, lines_of(other, test))
            known = explained.get(test, [])
            open_hunks = [hunk for hunk in hunks if not is_explained(hunk, known)]
            cell = Cell(len(hunks), len(open_hunks), test in other.hung)
            cell.unexplained += cell.hung and not cell.unexplained
            rows.setdefault(test, {})[other.name] = cell
            write(diffs / other.results.name / f"{test}.diff", hunks)
    return rows


def lines_of(one, test):
    path = one.results / f"{test}.out"
    # Results hold several encodings; this one loses nothing.
    return path.read_text(encoding="latin-1").splitlines() if path.exists() else ["(no result)"]


def hunks_of(expected, got):
    """Unified hunks, each the list of its lines."""
    hunks = []
    for line in difflib.unified_diff(expected, got, "direct", "pgweir", lineterm="", n=CONTEXT):
        if line.startswith("@@"):
            hunks.append([])
        if hunks:
            hunks[-1].append(line)
    return hunks


def is_explained(hunk, known):
    changes = [line for line in hunk if line[0] in "+-"]
    return all(any(explanation.covers(hunk, change) for explanation in known) for change in changes)


def write(path, hunks):
    if hunks:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for hunk in hunks for line in hunk), encoding="latin-1")


def table(rows, ran, everything):
    """A line for each test that differs somewhere, or for each one."""
    names = [other.name for other in ran[1:]]
    differs = lambda row: any(cell.hunks or cell.hung for cell in row.values())
    shown = {test: row for test, row in rows.items() if everything or differs(row)}
    lines = [("test", *names), *((test, *(str(row[name]) for name in names)) for test, row in shown.items())]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def summary(rows, ran):
    lines = []
    for other in ran[1:]:
        cells = [row[other.name] for row in rows.values()]
        equal = sum(not cell.hunks and not cell.hung for cell in cells)
        open_tests = sum(cell.unexplained > 0 for cell in cells)
        lines.append(
            f"{other.name}: {equal} of {len(cells)} equal, {len(cells) - equal - open_tests} explained, "
            f"{open_tests} differ ({sum(cell.unexplained for cell in cells)} hunks), {len(other.hung)} hung; "
            f"{other.seconds:.0f} s, direct {ran[0].seconds:.0f} s"
        )
    return "\n".join(lines)
