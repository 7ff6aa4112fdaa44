"""The command: what is run, in which order, and where the results go."""

import argparse
import json
import time
from pathlib import Path

import jax

from . import cases, page, plots, report, studies
from .machine import describe
from .measuring import first_line, measure
from .peers import PEERS, why_absent
from .problems import Missing

FULL = {
    "gap": lambda say: studies.gaps(512, 8, {"uniform": range(1, 7), "accumulating": range(1, 6)}, say),
    "precision": lambda say: studies.precision(
        1024, 16, [10.0**-e for e in (2, 4, 6, 8, 10, 12, 14)], [32, 48, 64, 96, 128], say
    ),
    "memory": lambda say: studies.memory([512, 1024, 2048], 16, say),
}
QUICK = {
    "gap": lambda say: studies.gaps(256, 8, {"uniform": (1, 3, 5), "accumulating": (1, 3)}, say),
    "precision": lambda say: studies.precision(256, 16, [1e-2, 1e-6, 1e-12], [64], say),
    "memory": lambda say: studies.memory([512], 16, say, ("truncax", "jnp", "gram")),
}
# Seconds for each function, and rounds in turn.
TIMING = {"full": {"budget": 1.0, "rounds": 2}, "quick": {"budget": 0.3, "rounds": 1}}


def arguments(argv):
    p = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Full against truncated, and against peers, on made and on real matrices. Accuracy is checked "
        "before anything is timed. Writes results.json, results.md and plots, as the results come.",
        epilog="Peers that are not installed are skipped: pip install '.[bench]'; torch and primme on their own.",
    )
    p.add_argument("--quick", action="store_true", help="the short run: three minutes instead of 24 to 37 (2 cores)")
    p.add_argument("--only", metavar="NAME", nargs="+", help="only these problems or studies (see --list)")
    p.add_argument("--peers", metavar="NAME", nargs="+", choices=list(PEERS), help="only these ways of solving them")
    p.add_argument("--list", action="store_true", help="list problems, studies and ways, and run nothing")
    p.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("benchmarks/results"), help="default: %(default)s"
    )
    p.add_argument("--docs", action="store_true", help="write docs/benchmarks.md and its plots too")
    p.add_argument("--from", dest="source", metavar="FILE", type=Path, help="run nothing: report this results.json")
    options = p.parse_args(argv)
    names = [*cases.CASES, *cases.TINY, *FULL]
    if unknown := [name for name in options.only or () if name not in names]:
        p.error(f"--only: unknown {', '.join(unknown)}; see --list")
    return options


def main(argv=None):
    options = arguments(argv)
    if options.list:
        return show()
    finish(run(options) if options.source is None else json.loads(options.source.read_text()), options)
    return 0


def show():
    for name, case in cases.CASES.items():
        print(f"{name:16} {'quick and full' if case.quick else 'full'}")
    for name in FULL:
        print(f"{name:16} quick and full, a study")
    for name, peer in PEERS.items():
        absent = "" if peer.module is None else why_absent(peer.module) or ""
        print(f"{name:16} {peer.title}{', skipped: ' + absent if absent else ''}")
    return 0


def chosen(options):
    """The problems and the studies of this run."""
    if options.only:
        known = cases.CASES | cases.TINY
        picked = {name: known[name] for name in options.only if name in known}
        return picked, {name: f for name, f in (QUICK if options.quick else FULL).items() if name in options.only}
    picked = {name: case for name, case in cases.CASES.items() if case.quick or not options.quick}
    return picked, QUICK if options.quick else FULL


def run(options):
    """Everything, one after the other; a failure is a line, and what came before it is already written."""
    profile = "quick" if options.quick else "full"
    start = time.perf_counter()
    results = {"machine": describe(), "profile": profile, "seconds": 0.0}
    results |= {"problems": {}, "rows": [], "studies": {}, "skipped": []}
    options.output.mkdir(parents=True, exist_ok=True)
    picked, asked = chosen(options)
    for key, peer in PEERS.items():
        if peer.module is not None and (absent := why_absent(peer.module)):
            results["skipped"].append((peer.title, absent))
            print(f"{key}: skipped, {absent}", flush=True)

    def write():
        results["seconds"] = time.perf_counter() - start
        report.write_json(results, options.output / "results.json")

    try:
        for number, (name, case) in enumerate(picked.items(), 1):
            problem_of(name, case, f"[{number}/{len(picked) + len(asked)}]", results, options, profile, start)
            write()
        for number, (name, study) in enumerate(asked.items(), len(picked) + 1):
            say = speaker(f"[{number}/{len(picked) + len(asked)}] {name}", start)
            try:
                with jax.enable_x64(True):
                    results["studies"][name] = study(say)
            except Exception as failure:
                say(f"FAILED, {first_line(failure)}")
                results["skipped"].append((f"study `{name}`", first_line(failure)))
            write()
    except KeyboardInterrupt:
        print("interrupted: reporting what there is", flush=True)
        results["skipped"].append(("the rest", "interrupted"))
    write()
    return results


def problem_of(name, case, place, results, options, profile, start):
    say = speaker(f"{place} {name}", start)
    try:
        with case.precision():
            say("making the matrix and its reference gradient")
            problem = case.make()
            facts = {"title": problem.title, "k": problem.k, "gap": problem.gap, "reference": problem.reference}
            results["problems"][name] = facts | {"single": case.single}
            results["rows"] += measure(name, problem, say, only=options.peers, **TIMING[profile])
    except Missing as reason:
        say(f"skipped, {reason}")
        results["skipped"].append((f"`{name}`", str(reason)))
    except Exception as failure:
        say(f"FAILED, {first_line(failure)}")
        results["skipped"].append((f"`{name}`", first_line(failure)))
    jax.clear_caches()


def speaker(head, start):
    return lambda text: print(f"{time.perf_counter() - start:5.0f} s {head}: {text}", flush=True)


def finish(results, options):
    """Markdown and plots, in the folder of the output and, if asked, in the docs."""
    options.output.mkdir(parents=True, exist_ok=True)
    text = "# Benchmarks\n\n" + report.markdown(results)
    (options.output / "results.md").write_text(text)
    print("\n" + report.glance(results), flush=True)
    figures = []
    try:
        for folder in [options.output, *([page.FIGURES] if options.docs else [])]:
            figures = plots.draw(results, folder)
        if options.docs and not plots.draw_front(results, page.FRONT):
            print(f"{page.FRONT.name} stays as it was: exp-1024 or larger was not timed by truncax and by jnp")
    except ImportError:
        print("no plots: matplotlib is not installed")
    if options.docs:
        page.write_page(results, figures)
    print(f"\nwritten: {options.output / 'results.json'}, results.md{', plots' if figures else ''}")
