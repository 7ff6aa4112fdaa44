"""``python -m benchmarks``: one small problem from end to end, its references, and what is written."""

import argparse
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from benchmarks import cases, cli, made, measuring, page, peers, report, studies
from benchmarks.problems import Missing
from benchmarks.references import hermitian, singular

EPS = np.finfo(float).eps
PEERS = ("truncax", "jnp", "propack", "arpack")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the command leaves behind, from one small problem."""
    folder = tmp_path_factory.mktemp("results")
    assert cli.main(["--quick", "--only", "exp-64", "--peers", *PEERS, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def results(run):
    return json.loads((run / "results.json").read_text())


def test_every_way_is_right_before_it_is_timed(results):
    gap = results["problems"]["exp-64"]["gap"]
    rows = report.rows_of(results, "exp-64")
    assert set(rows) == set(PEERS)
    for name, row in rows.items():
        assert row["status"] == "ok", row
        assert row["value_error"] <= 100 * EPS
        assert row["value_ms"] > 0
        if name in ("truncax", "jnp"):
            assert row["gradient_error"] <= 100 * EPS / gap
            assert row["gradient_ms"] > 0
            assert row["compile_gradient_s"] > 0


def test_the_tables_and_the_page(results, run, tmp_path, monkeypatch):
    text = (run / "results.md").read_text()
    for part in ("At a glance", "exp-64", "PROPACK", results["machine"]["processor"], "no gradient"):
        assert part in text
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    page.PAGE.write_text(f"# Mine\n\nkept\n\n{page.MARK}\n\nold")
    page.write_page(results, ["time"])
    written = page.PAGE.read_text()
    assert written.startswith("# Mine\n\nkept\n\n" + page.MARK)
    assert "old" not in written.split(page.MARK)[1].split("##")[0]
    assert "benchmarks/time.svg" in written


def test_plots(results, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import plots

    assert plots.draw(results, tmp_path) == ["time"]
    assert (tmp_path / "time.svg").stat().st_size > 1000


def test_the_picture_of_the_first_page_shows_the_gain(results, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import plots

    path = tmp_path / "front.svg"
    assert not plots.draw_front(results, path)  # no matrix is large enough
    times = {"exp-512": (1, 1), "exp-1024": (30, 400), "exp-1024-k64": (1, 1), "exp-2048": (200, 1000)}
    rows = [
        {"problem": name, "peer": peer, "gradient_ms": ms}
        for name, both in times.items()
        for peer, ms in zip(("truncax", "jnp"), both, strict=True)
    ]
    assert plots.draw_front({"problems": times, "rows": rows}, path)
    assert re.findall(r">([\d.]+ x)<", path.read_text()) == ["13 x", "5.0 x"]


def test_a_picture_without_its_sizes_stays_as_it_was(results, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(page, "FIGURES", tmp_path / "benchmarks")
    monkeypatch.setattr(page, "FRONT", tmp_path / "front.svg")
    for module, name in ((page, "write_page"), (report, "markdown"), (report, "glance")):
        monkeypatch.setattr(module, name, lambda *_: "")
    options = argparse.Namespace(output=tmp_path / "out", docs=True)
    for times, drawn in (({}, False), ({"truncax": 30, "jnp": 400}, True)):
        rows = [{"problem": "exp-1024", "peer": peer, "gradient_ms": ms} for peer, ms in times.items()]
        cli.finish(results | {"problems": ["exp-1024"], "rows": rows}, options)
        assert page.FRONT.exists() is drawn
        assert ("front.svg stays as it was" in capsys.readouterr().out) is not drawn


def test_what_is_wrong_is_shown_and_what_fails_stops_nothing(monkeypatch):
    problem = cases.TINY["exp-64"].make()

    def broken(problem):
        raise RuntimeError("no such luck\nand more")

    def factors(*_):
        U, S, Vh = np.linalg.svd(problem.parameter)
        return U[:, :4], S[:4], Vh[:4]

    def prepared(gradient):
        return lambda _: peers.Prepared(factors, lambda *_: (0.0, gradient))

    everyone = {
        "broken": broken,
        "wrong": prepared(2 * problem.gradient),
        "nan": prepared(np.full_like(problem.gradient, np.nan)),
        "right": prepared(problem.gradient),
    }
    found = {name: peers.Peer(name, prepare, lambda _: None) for name, prepare in everyone.items()}
    found["absent"] = peers.Peer("absent", broken, lambda _: None, "no_such_module")
    monkeypatch.setattr(measuring, "PEERS", found)
    said = []
    rows = {r["peer"]: r for r in measuring.measure("exp-64", problem, said.append, budget=0.01)}
    facts = {"single": False}
    assert set(rows) == set(everyone)  # what is absent is no row
    assert rows["broken"]["note"] == "RuntimeError: no such luck"
    words = {name: report.remark(row, facts) for name, row in rows.items()}
    assert words["wrong"] == "**wrong gradient**"
    assert words["nan"] == "**NaN gradient**"
    assert words["right"] == ""
    json.dumps(list(rows.values()), allow_nan=False)
    assert any("FAILED" in line for line in said)


def test_a_problem_whose_package_is_missing_is_a_line(monkeypatch, tmp_path, capsys):
    def make():
        raise Missing("needs a package")

    monkeypatch.setitem(cases.TINY, "exp-64", cases.Case(make))
    assert cli.main(["--only", "exp-64", "--output", str(tmp_path)]) == 0
    assert "skipped, needs a package" in capsys.readouterr().out
    assert "needs a package" in (tmp_path / "results.md").read_text()


def test_the_list_names_everything(capsys):
    assert cli.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in [*cases.CASES, *cli.FULL, *peers.PEERS])
    with pytest.raises(SystemExit):
        cli.main(["--only", "nonsense"])


def test_the_sparse_references_agree_with_full_decompositions():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((24, 15)) * (rng.random((24, 15)) < 0.4)
    X, Y = rng.standard_normal((24, 2)), rng.standard_normal((15, 2))
    values, gap, gradient = singular(scipy.sparse.csr_array(a), 3, X, Y)
    exact = made.closed_form(a, X @ Y.T, 3)
    assert np.max(np.abs(values - exact.singular_values[:3])) <= 100 * EPS * values[0]
    error = np.max(np.abs(gradient - exact.gradient[scipy.sparse.csr_array(a).tocoo().coords]))
    assert error <= 1e4 * EPS / gap  # conjugate gradients to 1e-13

    h = a[:15] + a[:15].T + 20 * np.diag(np.arange(15.0))
    w, c = np.array([1.0, 2.0]), rng.standard_normal(15)
    values, gap, q, z = hermitian(scipy.sparse.csc_array(h), 2, -50.0, w, c)
    roots, vectors = np.linalg.eigh(h)
    assert np.max(np.abs(values - roots[:2])) <= 100 * EPS * roots[-1]
    for j in range(2):
        others = np.delete(np.arange(15), j)
        along = vectors[:, others].T @ (2 * w[j] * c * q[:, j]) / (roots[j] - roots[others])
        scale = np.max(np.abs(along))
        assert np.max(np.abs(z[:, j] - vectors[:, others] @ along)) <= 1000 * EPS * scale * roots[-1] / (
            roots[1] - roots[0]
        )


def test_a_loss_and_its_gradient_are_those_of_the_reference():
    problem = made.laplacian(6, 2)
    dense = np.asarray(problem.dense(jnp.asarray(problem.parameter)))
    assert np.max(np.abs(dense - problem.host().toarray())) == 0
    step, rng = 1e-5, np.random.default_rng(0)
    along = rng.standard_normal(36)

    def value(potential):
        values, vectors = np.linalg.eigh(dense + np.diag(potential - problem.parameter))
        return float(problem.loss((jnp.asarray(values[:2]), jnp.asarray(vectors[:, :2])), problem.weights))

    slope = (value(problem.parameter + step * along) - value(problem.parameter - step * along)) / (2 * step)
    assert abs(slope - problem.gradient @ along) <= 1e-6 * abs(slope)  # of order step^2 / gap^2


def test_the_study_of_gaps(monkeypatch):
    monkeypatch.setattr(studies, "GAP_PEERS", ("gram",))
    rows = studies.gaps(24, 3, {"uniform": (1,), "accumulating": (2,)}, print)
    assert [(r["below"], round(r["gap"] * 2, 6)) for r in rows] == [("uniform", 0.1), ("accumulating", 0.01)]
    for row in rows:
        assert row["gradient_error"] <= 1000 * EPS / row["gap"]
    assert cli.QUICK.keys() == cli.FULL.keys()
