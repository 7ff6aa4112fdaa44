"""The results as JSON and as Markdown."""

import json

from truncax.command.verdict import three

from .measuring import scientific
from .peers import PEERS

# A gradient with a larger error than this is not what was asked for: less exact; beyond WRONG it is wrong.
EXACT = {False: 1e-6, True: 1e-2}
WRONG = 0.1


def write_json(results, path):
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")


def exact(row, problem):
    error = row.get("gradient_error")
    return row["status"] == "ok" and error is not None and error <= EXACT[problem["single"]]


def remark(row, problem):
    """What a reader must know before comparing times."""
    if row["status"] != "ok":
        return f"{row['status']}: {row['note']}"
    if "gradient_error" not in row:
        words = "no gradient"
    elif row["gradient_error"] is None:
        words = "**NaN gradient**"
    elif row["gradient_error"] > WRONG:
        words = "**wrong gradient**"
    else:
        words = "" if exact(row, problem) else "**inexact gradient**"
    return ", ".join(filter(None, [words, "" if sound(row, problem) else "**inexact values or vectors**"]))


def milliseconds(x):
    if x is None:
        return ""
    return f"{three(x / 1e3)} s" if x >= 1e3 else f"{three(x)} ms"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def rows_of(results, name):
    return {row["peer"]: row for row in results["rows"] if row["problem"] == name}


def glance(results):
    """Value and gradient: ours, JAX's two, and how much is gained over the fastest gradient that is exact."""
    lines = []
    for name, problem in results["problems"].items():
        rows = rows_of(results, name)
        mine = ours(rows, problem)
        if mine is None:
            continue
        others = [r for key, r in rows.items() if not key.startswith("truncax") and exact(r, problem)]
        timed = [r for r in others if "gradient_ms" in r]
        rival = min(timed, key=lambda r: r["gradient_ms"], default=None)
        forward = [
            r for key, r in rows.items() if not key.startswith("truncax") and "value_ms" in r and sound(r, problem)
        ]
        swift = min(forward, key=lambda r: r["value_ms"], default=None)
        gain = "no other is exact" if rival is None else f"{three(rival['gradient_ms'] / mine['gradient_ms'])}"
        lines.append(
            (
                f"`{name}`",
                problem["k"],
                f"{problem['gap']:.0e}",
                milliseconds(mine["value_ms"]),
                milliseconds(mine["gradient_ms"]),
                scientific(mine["gradient_error"]),
                cell(rows.get("jnp"), problem),
                cell(rows.get("gram"), problem),
                gain + ("" if rival is None else f" ({PEERS[rival['peer']].title})"),
                ""
                if swift is None
                else f"{three(swift['value_ms'] / mine['value_ms'])} ({PEERS[swift['peer']].title})",
            )
        )
    head = (
        *("problem", "k", "gap", "truncax: value", "value and gradient", "gradient error"),
        *("jnp.linalg: value and gradient", "eigh(A^H A): the same", "gain of the gradient", "gain of the value"),
    )
    return table(head, lines)


def ours(rows, problem):
    """Our fastest row that is exact, of the default and the shifted one."""
    found = [rows[key] for key in ("truncax", "truncax-shift") if key in rows and "gradient_ms" in rows[key]]
    return min((r for r in found if exact(r, problem)), key=lambda r: r["gradient_ms"], default=None)


def sound(row, problem):
    """Whether values and vectors are what was asked for."""
    errors = row.get("value_error"), row.get("residual")
    return all(error is not None and error <= EXACT[problem["single"]] for error in errors)


def cell(row, problem):
    if row is None or "gradient_ms" not in row:
        return "-" if row is None or row["status"] != "failed" else "failed"
    return ", ".join(filter(None, [milliseconds(row["gradient_ms"]), remark(row, problem)]))


def details(results):
    """Every row, with its accuracy."""
    lines = []
    for name, problem in results["problems"].items():
        for key, row in rows_of(results, name).items():
            if row["status"] != "ok":
                lines.append((f"`{name}`", PEERS[key].title, *[""] * 8, remark(row, problem)))
                continue
            compiling = row["compile_value_s"] + row["compile_gradient_s"]
            sizes = row["memory_gradient"] or row["memory_value"]
            lines.append(
                (
                    f"`{name}`",
                    PEERS[key].title,
                    milliseconds(row.get("value_ms")),
                    milliseconds(row.get("gradient_ms")),
                    scientific(row["residual"]),
                    scientific(row["value_error"]),
                    scientific(row["gradient_error"]) if "gradient_error" in row else "",
                    f"{compiling:.1f} s" if compiling else "",
                    f"{sizes / 1e6:.1f} MB" if sizes else "",
                    f"{row.get('runs', 0)}, {row.get('spread', 1):.1f}",
                    remark(row, problem),
                )
            )
    head = (
        *("problem", "way", "value", "value and gradient", "residual", "value error", "gradient error"),
        *("compiling", "program's memory", "runs, spread", "remark"),
    )
    return table(head, lines)


def problems(results):
    head = ("name", "problem", "k", "gap", "the gradient is compared with")
    rows = [(f"`{n}`", p["title"], p["k"], f"{p['gap']:.1e}", p["reference"]) for n, p in results["problems"].items()]
    return table(head, rows)


def machine(results):
    return table(("", ""), results["machine"].items())


def gap_table(results):
    peers = ("truncax", "jnp", "gram", "matfree")
    rows = results["studies"].get("gap", [])
    lines = []
    for below, gap in dict.fromkeys((row["below"], row["gap"]) for row in rows):
        found = {row["peer"]: row for row in rows if (row["below"], row["gap"]) == (below, gap)}
        cells = [
            f"{milliseconds(found[k]['gradient_ms'])}, {scientific(found[k]['gradient_error'])}" if k in found else ""
            for k in peers
        ]
        mine = found.get("truncax", {})
        lines.append((below, f"{gap:.0e}", *cells, mine.get("products", ""), mine.get("steps", "")))
    head = ("below the gap", "gap", *(f"{PEERS[k].title}: time, error" for k in peers), "our products", "our steps")
    return table(head, lines)


def skipped(results):
    return "\n".join(f"- {what}: {why}." for what, why in results["skipped"]) or "Nothing."


def markdown(results):
    """All of it, in one page."""
    note = (
        f"Profile: {results['profile']}, {results['seconds'] / 60:.0f} minutes. Medians of warm runs, in turn in one "
        "process, compile time apart. Errors are relative to the largest value, of gradients in the Frobenius norm. "
        "Spread: the slowest over the fastest run."
    )
    parts = [
        ("## The machine", machine(results) + "\n\n" + note),
        ("## At a glance", glance(results)),
        ("## The gap", gap_table(results)),
        ("## Every way", details(results)),
        ("## The problems", problems(results)),
        ("## Left out", skipped(results)),
    ]
    return "\n\n".join(f"{head}\n\n{body}" for head, body in parts) + "\n"
