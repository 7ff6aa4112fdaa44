"""Mutation evidence: the library is broken on purpose, one line at a time, and the suite must see each of the breaks.

``python tests/mutants.py [--only NAME ...] [--list] [--jobs 1]`` puts each mutant of the two tables beside it into a
copy of ``src`` and runs the tests that are to catch it. Before that they must pass on the copy as it is. It ends with a
Markdown table, and with code 1 if a mutant survived.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mutants_of_rules import MUTANTS_OF_RULES, Mutant
from mutants_of_solvers import MUTANTS_OF_SOLVERS

MUTANTS = [*MUTANTS_OF_RULES, *MUTANTS_OF_SOLVERS]
TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src"
# A mutant may make an iteration endless; what is not over by then has been caught.
LIMIT = 300
PASSED, FAILED = 0, 1


class Outcome(NamedTuple):
    """The exit code of pytest, None if it had to be ended; the failed test and its message."""

    code: int | None
    test: str
    message: str
    seconds: float


def mutated(mutant: Mutant, text: str) -> str:
    """``text`` with the mutant in it; a stale mutant is an error."""
    found = text.count(mutant.old)
    if found != 1:
        raise ValueError(f"{mutant.name}: its old text occurs {found} times in {mutant.file}, not once")
    if mutant.old == mutant.new:
        raise ValueError(f"{mutant.name}: nothing is changed")
    return text.replace(mutant.old, mutant.new)


def run(source: Path, tests: tuple[str, ...], cache: Path, limit: float | None) -> Outcome:
    """Run ``tests`` on the library in ``source``, up to the first failure."""
    command = [sys.executable, "-m", "pytest", "-x", "-rf", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
    own = {"PYTHONPATH": str(source), "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    own |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-o", "addopts=--strict-markers", *(f"tests/{test}" for test in tests)],
        cwd=TESTS.parent,
        env=os.environ | own | {"COLUMNS": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Outcome(None, tests[0], f"no end within {limit:.0f} s", time.perf_counter() - began)
    failed = re.search(r"^FAILED tests/(\S+?\.py::.*?)(?: - (.*))?$", output, re.MULTILINE)
    test, message = failed.groups("") if failed else ("", output[-2000:])
    return Outcome(process.returncode, test, message, time.perf_counter() - began)


def check_where(source: Path) -> None:
    """The library that is tested must be the one in ``source``."""
    found = subprocess.run(
        [sys.executable, "-c", "import truncax; print(truncax.__file__)"],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if not found.startswith(str(source)):
        raise SystemExit(f"PYTHONPATH does not decide which truncax is imported: it is {found}")


def tried(mutant: Mutant, folder: Path, cache: Path, limit: float) -> Outcome:
    """What becomes of the tests of a mutant."""
    source = folder / mutant.name
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    file = source / "truncax" / mutant.file
    file.write_text(mutated(mutant, file.read_text()))
    outcome = run(source, mutant.tests, cache, limit)
    shutil.rmtree(source)
    if outcome.code not in (PASSED, FAILED, None):
        raise SystemExit(f"{mutant.name}: pytest ended with code {outcome.code}, not with a test:\n{outcome.message}")
    return outcome


def cell(text: str, width: int = 90) -> str:
    """One cell of a Markdown table."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= width else text[: width - 4] + " ..."


def row(mutant: Mutant, outcome: Outcome) -> str:
    verdict = "**SURVIVED**" if outcome.code == PASSED else f"`{outcome.test}`"
    cells = (mutant.name, mutant.says, f"`{mutant.file}`", verdict, cell(outcome.message) if outcome.code else "")
    return f"| {' | '.join(cells)} | {outcome.seconds:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", nargs="+", help="the mutants whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="the mutants and their tests; nothing runs")
    parser.add_argument("--jobs", type=int, default=1, help="mutants that are tried at once (1)")
    arguments = parser.parse_args()
    chosen = [m for m in MUTANTS if not arguments.only or any(part in m.name for part in arguments.only)]
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.name}: {mutant.says} ({mutant.file})\n    {' '.join(mutant.tests)}")
        return 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        source = folder / "unmutated"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        check_where(source)
        for mutant in chosen:
            mutated(mutant, (SOURCE / "truncax" / mutant.file).read_text())
        sound = run(source, tuple(sorted({test for m in chosen for test in m.tests})), cache, None)
        if sound.code != PASSED:
            raise SystemExit(f"the tests must pass on the library as it is: {sound.test} {sound.message}")
        print(f"{len(chosen)} mutants; their tests pass without them ({sound.seconds:.0f} s)", flush=True)
        outcomes = []
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for mutant, outcome in zip(chosen, pool.map(lambda m: tried(m, folder, cache, LIMIT), chosen), strict=True):
                outcomes.append(outcome)
                verdict = "SURVIVED" if outcome.code == PASSED else "caught"
                print(f"{len(outcomes):3d} {mutant.name}: {verdict} ({outcome.seconds:.0f} s)", flush=True)
    print("\n| mutant | what it breaks | file | caught by | which says | s |\n|---|---|---|---|---|---|")
    for mutant, outcome in zip(chosen, outcomes, strict=True):
        print(row(mutant, outcome))
    survived = [m.name for m, outcome in zip(chosen, outcomes, strict=True) if outcome.code == PASSED]
    print(f"\n{len(chosen) - len(survived)} of {len(chosen)} caught in {time.perf_counter() - began:.0f} s")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
