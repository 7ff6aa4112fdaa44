"""Plots of the results, as SVG; needs matplotlib."""

from .peers import PEERS

SIZE = (6.4, 4.0)
COLORS = {
    **{"truncax": "C0", "truncax-shift": "C9", "jnp": "C3", "gram": "C1", "matfree": "C2", "torch": "C4"},
    **{"torch-lowrank": "C6", "propack": "C7", "arpack": "C5", "primme": "C8"},
}


def draw(results, folder):
    """Write what there is to draw; returns the names of the files, without the ending."""
    plt = pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, plot in PLOTS.items():
        figure, axis = plt.subplots(figsize=SIZE)
        if plot(axis, results):
            axis.legend(fontsize=7)
            figure.tight_layout()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            written.append(name)
        plt.close(figure)
    return written


def draw_front(results, path):
    """The picture of the first page: value and gradient, full against truncated, and the gain; whether it was drawn."""
    full, ours = (
        {r["n"]: r["gradient_ms"] / 1e3 for r in of_size(results, key) if r.get("gradient_ms") and r["n"] >= 1024}
        for key in ("jnp", "truncax")
    )
    sizes = sorted(full.keys() & ours)
    if not sizes:
        return False
    plt, gray = pyplot(), "#808080"  # which is read on white and on black
    parts = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    with plt.rc_context(dict.fromkeys(parts, gray) | {"axes.spines.top": False, "axes.spines.right": False}):
        figure, axis = plt.subplots(figsize=(7.2, 3), layout="constrained")
        for times, name, color in ((full, "jnp.linalg.svd,\nsliced", "C3"), (ours, "truncax.tsvd(a, 16)", "C0")):
            axis.loglog(sizes, [times[n] for n in sizes], "o-", color=color)
            axis.text(sizes[-1] * 1.08, times[sizes[-1]], name, color=color, va="center")
        for n in sizes:
            axis.plot([n, n], [ours[n], full[n]], color=gray, lw=0.7, zorder=0)
            gain = full[n] / ours[n]
            axis.text(n * 1.03, (ours[n] * full[n]) ** 0.5, f"{gain:.{int(gain < 10)}f} x", va="center")
        axis.set(xlim=(sizes[0] / 1.2, sizes[-1] * 1.9), xlabel="rows and columns", ylabel="value and gradient, s")
        axis.set_xticks(sizes, sizes)
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        figure.savefig(path, metadata={"Date": None}, transparent=True)
        plt.close(figure)
    return True


def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "truncax", "svg.fonttype": "none", "font.size": 9, "axes.grid": True}
    return plt


def curve(axis, rows, x, y, **style):
    """One line through the rows that have both; whether there were any."""
    points = sorted((r[x], r[y]) for r in rows if r.get(x) is not None and r.get(y) is not None)
    if points:
        axis.loglog(*zip(*points, strict=True), marker="o", markersize=3, **style)
    return bool(points)


def of_size(results, key):
    """The rows of a peer on ``exp-N``, k = 16, with their n."""
    sized = {
        name: int(name.split("-")[1]) for name in results["problems"] if name.startswith("exp-") and "k" not in name
    }
    return [r | {"n": sized[r["problem"]]} for r in results["rows"] if r["problem"] in sized and r["peer"] == key]


def time_against_n(axis, results):
    """Solid with the gradient, dotted the value alone."""
    drawn = False
    for key, peer in PEERS.items():
        rows = of_size(results, key)
        color = COLORS.get(key, "black")
        full = curve(axis, rows, "n", "gradient_ms", color=color, label=f"{peer.title}, value and gradient")
        value = curve(axis, rows, "n", "value_ms", color=color, ls=":", label=None if full else f"{peer.title}, value")
        drawn = drawn or full or value
    axis.set(xlabel="n", ylabel="ms", title="dense n x n, exp, k = 16 (dotted: the value alone)")
    return drawn


def work_precision(axis, results, x, y, label):
    rows = results["studies"].get("precision", [])
    drawn = [
        curve(axis, [r for r in rows if r["curve"] == c], x, y, label=c)
        for c in dict.fromkeys(r["curve"] for r in rows)
    ]
    axis.set(xlabel="ms", ylabel=label, title=f"{label} against time, dense, exp, k = 16")
    return any(drawn)


def of_gap(results, **wanted):
    rows = results["studies"].get("gap", [])
    return [r for r in rows if all(r[name] == value for name, value in wanted.items())]


def error_against_gap(axis, results):
    """Solid: the discarded values evenly spread; dotted: piled up at the gap."""
    drawn = False
    for key, peer in PEERS.items():
        for below, style in (("uniform", "-"), ("accumulating", ":")):
            rows = of_gap(results, peer=key, below=below)
            look = {"color": COLORS.get(key, "black"), "ls": style, "label": f"{peer.title}, {below}"}
            drawn = curve(axis, rows, "gap", "gradient_error", **look) or drawn
    gaps = sorted({r["gap"] for r in of_gap(results)})
    axis.loglog(gaps, [2.2e-16 / gap for gap in gaps], "k--", lw=0.8, label="eps / gap")
    axis.set(xlabel="gap at the cut, relative to the largest value", ylabel="relative error of the gradient")
    return drawn


def work_against_gap(axis, results):
    drawn = False
    for below, style in (("uniform", "-"), ("accumulating", ":")):
        rows = of_gap(results, peer="truncax", below=below)
        forward = curve(axis, rows, "gap", "products", color="C0", ls=style, label=f"products, forward, {below}")
        solve = curve(axis, rows, "gap", "steps", color="C3", ls=style, label=f"steps of the derivative, {below}")
        drawn = drawn or forward or solve
    axis.set(xlabel="gap at the cut, relative to the largest value", ylabel="count", title="truncax: work")
    return drawn


def memory_against_n(axis, results):
    rows = results["studies"].get("memory", [])
    rows = [r | {"MB": r["peak"] / 1e6, "matrix MB": r["matrix"] / 1e6} for r in rows]
    for key in dict.fromkeys(r["peer"] for r in rows):
        curve(axis, [r for r in rows if r["peer"] == key], "n", "MB", color=COLORS[key], label=PEERS[key].title)
    if rows:
        curve(axis, rows, "n", "matrix MB", color="black", ls="--", label="the matrix itself")
    axis.set(xlabel="n", ylabel="MB above the start", title="peak of memory, value and gradient (PROPACK: value)")
    return bool(rows)


PLOTS = {
    "time": time_against_n,
    "precision_value": lambda axis, r: work_precision(axis, r, "value_ms", "residual", "residual"),
    "precision_gradient": lambda axis, r: work_precision(
        axis, r, "gradient_ms", "gradient_error", "error of the gradient"
    ),
    "gap_error": error_against_gap,
    "gap_work": work_against_gap,
    "memory": memory_against_n,
}
CAPTIONS = {
    "time": "Time against n",
    "precision_value": "Residual of the value against time, where tol, depth or power steps vary",
    "precision_gradient": "Error of the gradient against time of value and gradient",
    "gap_error": "Error of the gradient against the gap at the cut",
    "gap_work": "Products and steps against the gap",
    "memory": "Peak of memory against n",
}
