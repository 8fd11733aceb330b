"""PostgreSQL's own regression suite: the source of the installed server, fetched with apt and built once.

The source comes from where the installed server came from, with this machine's own apt configuration: the entry of
that package as `deb-src`, in a list and state of our own, so that the machine's are not touched.
"""

import os
import pathlib
import re
import shutil
import subprocess

import throwaway

CACHE = throwaway.ROOT / ".cache/regress"
# What the tests read and load.
PARTS = ["sql", "expected", "data", "parallel_schedule", "resultmap", "pg_regress"]
PARTS += ["regress.so", "refint.so", "autoinc.so"]


class NoSuite(Exception):
    """The suite could not be fetched or built; the text says why."""


def call(command, **options):
    """Output of a command that must succeed."""
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    if ran.returncode:
        raise NoSuite(f"{' '.join(map(str, command))}\n{(ran.stdout + ran.stderr)[-2000:]}")
    return ran.stdout


def ready():
    """The folder of the built suite; the first time takes a minute."""
    package = f"postgresql-{throwaway.postgres_bin().parts[-2]}"
    name, version = installed(package)
    made = CACHE / version
    if not (made / "pg_regress").exists():
        shutil.rmtree(CACHE / "work", ignore_errors=True)
        (CACHE / "work").mkdir(parents=True)
        built = build(fetch(package, name, version))
        shutil.rmtree(made, ignore_errors=True)
        collect(built, CACHE / "work/suite")
        (CACHE / "work/suite").rename(made)
        shutil.rmtree(CACHE / "work")
    return made


def installed(package):
    """Name and version of the source package of an installed package."""
    shown = call(["dpkg-query", "-W", "-f", "${source:Package} ${source:Version}", package])
    name, version = shown.split()
    return name, version


def origins(package, version):
    """(version, URI, suite, component) of every place that offers the package, the installed version first."""
    found = []
    for line in call(["apt-cache", "madison", package]).splitlines():
        offered, place = [field.strip() for field in line.split("|")[1:]]
        place = re.fullmatch(r"(\S+) (\S+)/(\S+) \S+ Packages", place)
        if place:
            found.append((offered, *place.groups()))
    if not found:
        raise NoSuite(f"apt knows no origin of {package}: run apt-get update")
    return sorted(found, key=lambda origin: origin[0] != version)


def fetch(package, name, version):
    """Downloads and unpacks the source. A mirror may have dropped the installed version: then the next one listed."""
    work = CACHE / "work"
    failures = []
    for number, (offered, uri, suite, component) in enumerate(origins(package, version)):
        here = work / str(number)
        here.mkdir()
        try:
            download(here, f"{name}={offered}", f"deb-src {uri} {suite} {component}\n")
        except NoSuite as reason:
            failures.append(str(reason))
            continue
        archive = next(here.glob("*.orig.tar.*"))
        (work / "source").mkdir()
        call(["tar", "-xf", archive, "-C", work / "source", "--strip-components=1"])
        return work / "source"
    raise NoSuite("no source of the server:\n" + "\n".join(failures))


def download(here, what, entry):
    (here / "lists/partial").mkdir(parents=True)
    (here / "sources.list").write_text(entry)
    options = {
        "Dir::Etc::SourceList": here / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": here / "lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        # Without it apt downloads as a user of its own, who cannot write here.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    call([*apt, "update"], cwd=here)
    call([*apt, "source", "--only-source", "--download-only", what], cwd=here)


def build(source):
    """Configures without what the tests do not need: they load one library into the installed server."""
    jobs = f"-j{os.cpu_count() or 1}"
    call(["./configure", "-q", "--without-readline", "--without-zlib"], cwd=source)
    call(["make", "-s", jobs, "-C", "src/test/regress"], cwd=source)
    return source / "src/test/regress"


def collect(built, target):
    target.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (built / part).is_dir() else shutil.copy
        copy(built / part, target / part)


def tests(folder):
    """Names of all tests, in the order of the schedule."""
    text = (pathlib.Path(folder) / "parallel_schedule").read_text()
    return [name for line in re.findall(r"^test:(.*)$", text, re.MULTILINE) for name in line.split()]
