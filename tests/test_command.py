"""The command ``python -m truncax``: what it reads, refuses and reports, and the answers it compares with."""

import dataclasses
import gzip
import io
import json
import math
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import scipy.sparse

import truncax
from truncax.__main__ import main
from truncax.command import cli, compare, ising, matrices
from truncax.command.alive import alive
from truncax.command.closed_form import closed_form
from truncax.command.loss import full_loss, random_weights, truncated_loss
from truncax.command.measure import measure, program_memory
from truncax.command.verdict import verdict

SHAPES = [(5, 8), (7, 7), (9, 6)]
DTYPES = ["float64", "complex128"]


def example(shape, dtype="float64", seed=0):
    """A matrix with simple singular values and a gap after each of them."""
    rng = np.random.default_rng(seed)
    r = min(shape)

    def columns(size):
        x = rng.standard_normal((size, r)) + (1j * rng.standard_normal((size, r)) if dtype[0] == "c" else 0)
        return np.linalg.qr(x)[0]

    return ((columns(shape[0]) * 0.7 ** np.arange(r)) @ columns(shape[1]).conj().T).astype(dtype)


def run_json(capsys, *argv):
    """The parsed object, after a check that it is strict JSON and alone on stdout."""

    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=refuse)


# Reading


def write(path, a):
    sparse = scipy.sparse.csr_array(a)
    name = path.name
    if name == "a.npy":
        np.save(path, a)
    elif name == "one.npz":
        np.savez(path, a)
    elif name == "named.npz":
        np.savez_compressed(path, matrix=a, beta=np.float64(0.4), labels=np.array(["x", "y"]), row=a[0])
    elif name == "sparse.npz":
        scipy.sparse.save_npz(path, sparse)
    elif name == "coo.npz":
        scipy.sparse.save_npz(path, sparse.tocoo())
    elif name == "dense.mtx":
        scipy.io.mmwrite(path, a)
    elif name == "sparse.mtx":
        scipy.io.mmwrite(path, sparse)
    elif name == "sparse.mtx.gz":
        scipy.io.mmwrite(path.with_suffix(""), sparse)
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    return path


FORMATS = ["a.npy", "one.npz", "named.npz", "sparse.npz", "coo.npz", "dense.mtx", "sparse.mtx", "sparse.mtx.gz"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMATS)
def test_reads_every_format(tmp_path, name, dtype):
    a = example((4, 6), dtype)
    a[0, 1] = 0
    loaded = matrices.read_matrix(write(tmp_path / name, a))
    assert isinstance(loaded.array, np.ndarray)
    np.testing.assert_allclose(loaded.array, a, rtol=1e-15)
    assert any("sparse" in note for note in loaded.notes) == (name.startswith(("sparse", "coo")))


@pytest.mark.parametrize(
    ("given", "asked", "expected"),
    [
        ("int32", None, "float64"),
        ("bool", None, "float64"),
        ("float16", None, "float64"),
        ("float32", None, "float32"),
        (">f8", None, "float64"),
        ("longdouble", None, "float64"),
        ("complex64", None, "complex64"),
        ("clongdouble", None, "complex128"),
        ("float64", "float32", "float32"),
        ("float32", "complex128", "complex128"),
    ],
)
def test_computing_dtype(given, asked, expected):
    assert matrices.computing_dtype(np.ones((2, 2), given), asked) == np.dtype(expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 3e-320, 1e-200, 1e200, 1.7e308])
def test_scaling_is_a_power_of_two(scale, dtype):
    a = example((6, 4), dtype)
    a = a / np.max(np.abs(a)) * scale
    b, exponent = matrices.scaled(a, np.dtype(dtype))
    assert 0.7 < np.linalg.norm(b, 2) < 1.5
    np.testing.assert_array_equal(np.ldexp(b.real, exponent), a.real)


def test_scaling_leaves_zero_alone():
    b, exponent = matrices.scaled(np.zeros((3, 2)), np.dtype("float32"))
    assert exponent == 0
    assert b.dtype == np.float32
    assert not b.any()


# Refusing


def saved(name, content, **named):
    """A function that makes a file of that name in a folder and returns its path."""

    def make(folder):
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif name.endswith(".npy"):
            np.save(path, content, allow_pickle=True)
        else:
            np.savez(path, **content)
        return path

    return make


HUGE = b"%%MatrixMarket matrix coordinate real general\n100000 100000 1\n1 1 1.0\n"
WRONG_FILES = {
    "missing": (lambda folder: folder / "missing.npy", "no such file"),
    "folder": (lambda folder: (folder / "d.npy").mkdir() or folder / "d.npy", "directory"),
    "ending": (saved("a.csv", b"1,2\n3,4\n"), "allowed are .npy, .npz, .mtx and .mtx.gz"),
    "not npy": (saved("a.npy", b"hello\nworld"), "cannot be read"),
    "no bytes": (saved("a.npy", b""), "cannot be read"),
    "cut off": (saved("a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'"), "cannot be read"),
    "not zip": (saved("a.npz", b"PK\x03\x04 nothing"), "cannot be read"),
    "not mtx": (saved("a.mtx", b"1 2 3\n"), "cannot be read"),
    "damaged mtx": (saved("a.mtx", HUGE.replace(b"100000 100000 1", b"3 3 2")), "cannot be read"),
    "not gzip": (saved("a.mtx.gz", b"1 2 3\n"), "cannot be read"),
    "objects": (saved("a.npy", np.array([[1, None]], object)), "cannot be read"),
    "text": (saved("a.npy", np.array([["a", "b"]])), "must hold numbers"),
    "dates": (saved("a.npy", np.array([["2020-01-01"]], "datetime64[D]")), "must hold numbers"),
    "records": (saved("a.npy", np.zeros((2, 2), [("x", float)])), "must hold numbers"),
    "empty": (saved("a.npy", np.zeros((0, 3))), "empty"),
    "1-D": (saved("a.npy", np.ones(3)), "got shape (3,)"),
    "0-D": (saved("a.npy", np.float64(3)), "got shape ()"),
    "3-D": (saved("a.npy", np.ones((2, 3, 4))), "got shape (2, 3, 4)"),
    "3-D npz": (saved("a.npz", {"x": np.ones((2, 3, 4))}), "got shape (2, 3, 4)"),
    "NaN": (saved("a.npy", np.array([[1, np.nan], [np.inf, 0]])), "2 NaN or infinite"),
    "ambiguous": (saved("a.npz", {"x": np.eye(2), "y": np.eye(3)}), "x (float64, 2 x 2), y (float64, 3 x 3)"),
    "no matrix": (saved("a.npz", {"x": np.ones(2), "o": np.array([None])}), "x (float64, 2), o (Python objects)"),
    "no array": (saved("a.npz", {}), "no matrix of numbers"),
    "too large": (saved("a.mtx", HUGE), "74.5 GiB"),
}


def assert_refused(capsys, argv, message, code=2):
    assert main([str(x) for x in argv]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("truncax: error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_file_is_one_line_and_code_2(tmp_path, capsys, case):
    make, message = WRONG_FILES[case]
    assert_refused(capsys, [make(tmp_path)], message)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--rank", "0"], "between 1 and min(m, n) = 4"),
        (["--rank", "5"], "between 1 and min(m, n) = 4 for a matrix of 6 x 4, got 5"),
        (["--rank", "-1"], "--rank"),
        (["--rank", "two"], "--rank"),
        (["--seed", "-3"], "--seed"),
        (["--dtype", "float16"], "--dtype"),
        (["--dtype", "float64"], "the matrix is complex"),
        (["--unknown"], "unrecognized arguments"),
        (["another.npy"], "unrecognized arguments"),
    ],
)
def test_wrong_argument_is_one_line_and_code_2(tmp_path, capsys, argv, message):
    np.save(tmp_path / "a.npy", example((6, 4), "complex128"))
    assert_refused(capsys, [tmp_path / "a.npy", *argv], message)


def test_sparse_archive_with_an_index_outside_is_refused(tmp_path, capsys):
    parts = {"format": np.bytes_("csr"), "shape": (2, 2), "data": np.ones(2), "indptr": [0, 1, 2], "indices": [0, 999]}
    np.savez(tmp_path / "a.npz", **parts)
    assert_refused(capsys, [tmp_path / "a.npz"], "cannot be read")


def test_no_convergence_is_one_line_and_code_1(tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise truncax.ConvergenceError("no convergence: the residual is 1")

    monkeypatch.setattr(cli, "compare", fail)
    np.save(tmp_path / "a.npy", np.eye(3))
    assert_refused(capsys, [tmp_path / "a.npy"], "no convergence", code=1)


def test_as_a_module_it_needs_no_traceback_to_fail():
    done = subprocess.run(
        [sys.executable, "-m", "truncax", "missing.npy"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "truncax: error: missing.npy: no such file\n")


# Reporting


def test_json_of_a_file(tmp_path, capsys):
    path = write(tmp_path / "sparse.mtx.gz", example((9, 6), "complex128"))
    found = run_json(capsys, path, "--rank", 3)
    assert (found["shape"], found["dtype"], found["rank"]) == ([9, 6], "complex128", 3)
    assert found["cut_gap"] == pytest.approx(0.7**2 - 0.7**3)
    for side in ("truncated", "full"):
        assert found[side]["gradient_error"] < 1e-13
        assert found[side]["value_error"] < 1e-13
        assert found[side]["largest_residual"] < 1e-14
        assert found[side]["value_and_gradient"]["median_seconds"] > 0
    assert found["gradient_difference"] < 1e-13
    assert found["ising"] is None


def test_no_full_computes_no_full_svd(tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a full SVD")

    for name in ("full_loss", "full_loss_and_factors", "closed_form"):
        monkeypatch.setattr(compare, name, refuse)
    np.save(tmp_path / "a.npy", example((40, 7)).astype("float32"))
    found = run_json(capsys, tmp_path / "a.npy", "--no-full")
    assert found["full"] is None
    assert "--no-full" in found["full_reason"]
    assert found["truncated"]["gradient_error"] is None
    assert found["cut_gap_is_exact"] is False
    assert (found["dtype"], found["rank"]) == ("float32", 7)
    assert any("rank 7 by default" in note for note in found["notes"])


def test_table(tmp_path, capsys):
    np.save(tmp_path / "a.npy", example((6, 9)))
    assert main([str(tmp_path / "a.npy"), "--rank", "2", "--dtype", "float32"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    for name in ("time of the value", "time of value and gradient", "memory", "error of the gradient", "cut gap"):
        assert any(line.startswith(name) for line in lines)
    path = str(tmp_path / "a.npy")
    assert max(len(line) for line in lines if path not in line) <= 100
    assert out.split("\n\n")[-1].startswith("Value and gradient ")


def test_cut_in_a_multiplet_is_reported_with_other_ranks(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.diag([3.0, 2, 1, 1, 1, 0.5, 0.2]))
    found = run_json(capsys, tmp_path / "a.npy", "--rank", 4)
    assert found["cut_in_multiplet"] is True
    assert found["better_ranks"] == [2, 5]
    assert found["truncated"]["gradient_error"] is None
    assert "multiplet" in found["truncated"]["gradient_error_reason"]
    assert found["summary"].endswith("Use --rank 2 or 5.")


def test_rank_above_that_of_the_matrix(tmp_path, capsys):
    np.save(tmp_path / "a.npy", example((12, 2)) @ example((2, 9)))
    found = run_json(capsys, tmp_path / "a.npy", "--rank", 4)
    assert found["better_ranks"] == [2]
    assert "lower rank" in found["summary"]


def test_verdict_says_when_it_is_slower():
    def side(seconds):
        speed = measure(lambda x: x, jnp.ones(1), repeats=1, patience=1)[0]._replace(median=seconds)
        return compare.Side(speed, speed, compare.Quantity(0.0), compare.Quantity(3e-13), 1e-15)

    gap, none = compare.Quantity(0.1), compare.Quantity(0.0)
    slow = compare.Comparison((9, 9), "float64", 2, side(2.0), side(1.0), "Dense", 4, 0, 0.5, gap, False, none, [1, 3])
    assert "2.0 times slower" in verdict(slow)
    assert "gained on larger matrices" in verdict(slow)
    assert "5.0 times faster" in verdict(dataclasses.replace(slow, truncated=side(0.2)))


def test_measure():
    found, result = measure(lambda x: x + 1, jnp.ones(4), repeats=3, patience=10)
    assert found.runs == 3
    assert found.compile_seconds > 0
    np.testing.assert_array_equal(result, 2)
    assert measure(lambda x: x, jnp.ones(4), repeats=3, patience=0)[0].runs == 1
    assert program_memory(object()) is None


def test_alive_counts_on_a_terminal_and_ends_its_thread():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    threads, terminal, pipe = threading.active_count(), Terminal(), io.StringIO()
    with alive("step", terminal):
        assert threading.active_count() == threads + 1
    with pytest.raises(ValueError, match="inside"), alive("step", terminal):
        raise ValueError("inside")
    assert threading.active_count() == threads
    assert "\rstep ... 0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
    with alive("step", pipe):
        assert threading.active_count() == threads
    with alive("reading", pipe, announce=False):
        pass
    assert pipe.getvalue() == "step ...\n"


# The answers that it compares with


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spectrum", ["simple", "tied", "all"])
def test_closed_form_is_the_difference_quotient(shape, dtype, spectrum):
    k = {"simple": 3, "tied": 3, "all": min(shape)}[spectrum]
    a = example(shape, dtype)
    if spectrum == "tied":
        U, s, Vh = np.linalg.svd(a, full_matrices=False)
        a = (U * [1, 0.8, 0.8, *[0.3] * (len(s) - 3)]) @ Vh
    w = random_weights(shape, np.dtype(dtype), 1)
    gradient = closed_form(a, w, k).gradient
    h, rng = 1e-3, np.random.default_rng(2)
    for _ in range(4):
        d = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype[0] == "c" else 0)
        d /= np.linalg.norm(d)
        f = [closed_form(a + t * h * d, w, k).value for t in (-2, -1, 1, 2)]
        quotient = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
        # Fourth order: h^4 over the fifth power of the gap; the rounding error of f over h is smaller.
        gap = 0.1 if spectrum != "all" else 0.7 ** (k - 1)
        assert abs(quotient - np.sum(gradient * d).real) < 0.1 * (h / gap) ** 4 * np.linalg.norm(w)


@pytest.mark.parametrize(("shape", "dtype"), [((5, 8), "complex128"), ((7, 7), "float64"), ((9, 6), "complex128")])
def test_both_losses_agree_with_the_closed_form(shape, dtype):
    a, w = example(shape, dtype), random_weights(shape, np.dtype(dtype), 1)
    exact = closed_form(a, w, 3)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for loss in (truncated_loss, full_loss):
            value, gradient = jax.value_and_grad(loss)(jnp.asarray(a), jnp.asarray(w), 3)
            assert abs(value - exact.value) < 1e-13 * np.linalg.norm(w)
            assert np.linalg.norm(gradient - exact.gradient) < 1e-12 * np.linalg.norm(exact.gradient)


def test_closed_form_of_a_cut_multiplet_is_nan():
    assert np.all(np.isnan(closed_form(np.eye(3), np.ones((3, 3)), 2).gradient))
    assert np.all(np.isnan(closed_form(np.zeros((2, 1)), np.ones((2, 1)), 1).gradient))
    assert np.all(np.isfinite(closed_form(np.eye(3), np.ones((3, 3)), 3).gradient))


def test_transfer_matrix_is_the_sum_over_bonds():
    n, beta = 3, 0.3
    with jax.enable_x64(True):
        T = np.asarray(ising.transfer_matrix(jnp.asarray(beta), n))
    np.testing.assert_allclose(T, T.T, rtol=1e-15)
    spins = [[1 - 2 * (state >> i & 1) for i in range(n)] for state in range(2**n)]
    for i, s in enumerate(spins):
        for j, t in enumerate(spins):
            ring = sum(s[r] * s[(r + 1) % n] + t[r] * t[(r + 1) % n] for r in range(n)) / 2
            assert T[i, j] == pytest.approx(math.exp(beta * (ring + sum(map(math.prod, zip(s, t, strict=True))))))


@pytest.mark.parametrize("beta", [0.2, ising.BETA, math.log1p(math.sqrt(2)) / 2, 1.0])
def test_kaufman(beta):
    n, h = 5, 1e-5
    with jax.enable_x64(True):
        T = np.asarray(ising.transfer_matrix(jnp.asarray(beta), n))
    value, derivative = ising.kaufman(beta, n)
    assert value == pytest.approx(math.log(np.linalg.eigvalsh(T)[-1]), rel=1e-14)
    quotient = (ising.kaufman(beta + h, n)[0] - ising.kaufman(beta - h, n)[0]) / (2 * h)
    assert derivative == pytest.approx(quotient, rel=1e-8)


def test_derivative_of_log_lambda_agrees_with_kaufman():
    with jax.enable_x64(True):
        check = ising.check_against_kaufman(spins=7)
    assert check.value == pytest.approx(check.value_exact, rel=1e-13)
    assert check.derivative == pytest.approx(check.derivative_exact, rel=1e-12)


def test_ising_gradient_agrees_with_the_closed_form():
    # Ring of 8: 256 x 256, and the iterative solver. Rank 11 completes a multiplet and holds others.
    k = 11
    with jax.enable_x64(True):
        T = np.asarray(ising.transfer_matrix(jnp.asarray(ising.BETA), 8))
        a, _ = matrices.scaled(T, np.dtype("float64"))
        w = random_weights(a.shape, a.dtype, 0)
        value, gradient = jax.value_and_grad(truncated_loss)(jnp.asarray(a), jnp.asarray(w), k)
        value, gradient = float(value), np.asarray(gradient)
    exact = closed_form(a, w, k)
    s = exact.singular_values
    assert np.sum(s[: k - 1] - s[1:k] < 1e-14) >= 4
    assert s[k - 1] - s[k] > 1e-2
    assert abs(value - exact.value) < 1e-11 * np.linalg.norm(w)
    assert np.linalg.norm(gradient - exact.gradient) < 1e-9 * np.linalg.norm(exact.gradient)
