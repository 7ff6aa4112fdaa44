"""Gauge invariance of a loss, measured from its cotangent; phases that a derivative goes through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import adjoint, mm
from profiles import crossed
from references import error, finite_difference, hermitian, matrix, random

import truncax
from truncax import fix_gauge, gauge_defect

# A pair and a triple, in a random basis.
VALUES = np.r_[2.0, 1.5, 1.5, 1.0, 1.0, 1.0, 0.9 * np.linspace(1, 0.5, 8)]
K = 6
BOTH = ("tsvd", "singular_subspaces")
HERMITIAN = ("teigh", "invariant_subspace")


def inner(w, x):
    return jnp.sum((jnp.conj(w) * x).real)


def left_and_right(r):
    """``(U, middle, Vh)`` of any result, its values as they came."""
    if isinstance(r, truncax.TEighResult):
        return r.eigenvectors, r.eigenvalues, adjoint(r.eigenvectors)
    if isinstance(r, truncax.InvariantSubspace):
        return r.Q, r.H, adjoint(r.Q)
    return r


def reconstructed(r):
    left, middle, right = left_and_right(r)
    return mm(left * middle[None, :].astype(left.dtype) if middle.ndim == 1 else mm(left, middle), right)


def of_values(r):
    middle = left_and_right(r)[1]
    return jnp.sum(jnp.exp(middle)) if middle.ndim == 1 else jnp.sum(jnp.abs(middle) ** 2)


# Invariant at a tie for vectors and for subspaces; for subspaces alone; for neither.
ALWAYS = {
    "projector": lambda r, w: inner(w, mm(left_and_right(r)[0], adjoint(left_and_right(r)[0]))),
    "polar": lambda r, w: inner(w, mm(left_and_right(r)[0], left_and_right(r)[2])),
    "values": lambda r, w: of_values(r),
}
SUBSPACES = {"reconstruction": lambda r, w: inner(w, reconstructed(r))}
NEVER = {
    "single vectors": lambda r, w: jnp.sum(jnp.abs(left_and_right(r)[0][:, 2]) ** 2 * jnp.arange(14.0)),
    "phases": lambda r, w: inner(w[:, :K], left_and_right(r)[0]),
}


@crossed("function, complex_", [*BOTH, *HERMITIAN], [False, True], rows=5)
def test_the_defect_separates_invariant_losses_from_others(function, complex_):
    decompose = getattr(truncax, function)

    @jax.jit
    def defects(a, w):
        r = decompose(a, K, solver=truncax.Dense())
        losses = {**ALWAYS, **SUBSPACES, **NEVER}
        return {name: gauge_defect(r, jax.grad(loss)(r, w)) for name, loss in losses.items()}

    for seed in range(10):
        rng = np.random.default_rng(seed)
        a = hermitian(rng, VALUES, complex_) if function in HERMITIAN else matrix(rng, (14, 14), VALUES, complex_)
        whole = function in ("singular_subspaces", "invariant_subspace")
        for name, defect in defects(a, random(rng, (14, 14), complex_)).items():
            # U Vh turns with two bases that are free apart: of subspaces it is U polar(C) Vh that does not.
            invariant = name in ALWAYS or (whole and name in SUBSPACES)
            invariant = invariant and (name, function) != ("polar", "singular_subspaces")
            assert defect <= 1e-10 if invariant else defect >= 1e-3, (name, seed, float(defect))


def defect_of(loss, result, **options):
    return float(gauge_defect(result, jax.grad(loss)(result), **options))


def test_what_is_separated_is_not_free():
    """Without a multiplet single real vectors are fine; ``rtol`` says from where on values count as equal."""
    rng = np.random.default_rng(0)
    values = np.r_[2.0, 1.5 + 1e-6, 1.5, 1.0, 0.9 * np.linspace(1, 0.5, 8)]
    w = random(rng, (12, 12))
    result = truncax.tsvd(matrix(rng, (12, 12), values), 4)

    def reconstruction(r):
        return inner(w, mm(r.U * r.S[None, :], r.Vh))

    assert defect_of(reconstruction, result) <= 1e-12
    assert defect_of(reconstruction, result, rtol=1e-5) >= 1e-3
    assert defect_of(lambda r: r.U[0, 1] * r.Vh[1, 2], result) <= 1e-12
    complex_result = truncax.tsvd(matrix(rng, (12, 12), values, True), 4)
    # LAPACK makes the first row real, where a phase has no first-order effect on the real part.
    assert defect_of(lambda r: r.U[1, 1].real, complex_result) >= 1e-3
    assert defect_of(lambda r: (r.U[0, 1] * r.Vh[1, 2]).real, complex_result) <= 1e-12


def test_the_defect_is_relative_and_has_no_derivative():
    rng = np.random.default_rng(1)
    a = jnp.asarray(matrix(rng, (12, 12), np.r_[1.5, 1.5, 0.9 * np.linspace(1, 0.5, 10)]).astype("float32"))
    result = truncax.tsvd(a, 2, solver=truncax.Dense())
    cotangent = jax.grad(lambda r: r.U[0, 0] + r.S[1])(result)
    defect = gauge_defect(result, cotangent)
    assert defect.dtype == jnp.float32
    small = jax.tree.map(lambda x: x * 1e-25, cotangent)
    np.testing.assert_allclose(gauge_defect(result, small), defect, rtol=1e-5)
    assert gauge_defect(result, jax.tree.map(jnp.zeros_like, cotangent)) == 0
    np.testing.assert_allclose(gauge_defect(result, (cotangent.U, cotangent.S, None)), defect, rtol=1e-6)
    gradient = jax.grad(lambda a: gauge_defect(truncax.tsvd(a, 2, solver=truncax.Dense()), cotangent))(a)
    assert jnp.all(gradient == 0)


@pytest.mark.parametrize("function", ["tsvd", "invariant_subspace"])
def test_batches_of_the_defect(function):
    rng = np.random.default_rng(2)
    batch = jnp.asarray(np.stack([hermitian(rng, VALUES, True) for _ in range(2)]))
    results = getattr(truncax, function)(batch, K, solver=truncax.Dense())
    cotangents = jax.tree.map(lambda x: x**2, results)
    defects = jax.jit(gauge_defect)(results, cotangents)
    for i in range(2):
        one = gauge_defect(*(jax.tree.map(lambda x, i=i: x[i], tree) for tree in (results, cotangents)))
        np.testing.assert_allclose(defects[i], one, rtol=1e-12)
        assert one > 1e-3


def numpy_fixed(u, vh=None):
    rows = np.argmax(np.abs(u), axis=0)
    phase = u[rows, np.arange(u.shape[1])]
    phase = np.conj(phase) / np.abs(phase)
    return u * phase, None if vh is None else np.conj(phase)[:, None] * vh


@crossed("function, complex_", ["teigh", "tsvd"], [False, True], rows=3)
def test_losses_of_fixed_phases_match_finite_differences(function, complex_):
    rng = np.random.default_rng(3)
    values = np.r_[2.0, 1.7, 1.3, 0.8 * np.linspace(1, 0.5, 9)]
    shape = (12, 12) if function == "teigh" else (12, 15)
    a = hermitian(rng, values, complex_) if function == "teigh" else matrix(rng, shape, values, complex_)
    d = hermitian(rng, rng.normal(size=12), complex_) if function == "teigh" else random(rng, shape, complex_)
    w, v = random(rng, (12, 3), complex_), random(rng, (3, shape[1]), complex_)

    def fixed(a):
        return fix_gauge(getattr(truncax, function)(a, 3, solver=truncax.Dense()))

    def of_result(r):
        left, _, right = left_and_right(r)
        return inner(w, left) ** 2 + inner(v, right)

    def reference(a):
        if function == "teigh":
            u = numpy_fixed(np.linalg.eigh(a)[1][:, ::-1][:, :3])[0]
            vh = u.conj().T
        else:
            u, _, vh = np.linalg.svd(a)
            u, vh = numpy_fixed(u[:, :3], vh[:3])
        return np.sum((w.conj() * u).real) ** 2 + np.sum((v.conj() * vh).real)

    @jax.jit
    def all_of_them(a, d):
        value, tangent = jax.jvp(lambda a: of_result(fixed(a)), (a,), (d,))
        gradient, product = jax.jvp(jax.grad(lambda a: of_result(fixed(a))), (a,), (d,))
        r = getattr(truncax, function)(a, 3, solver=truncax.Dense())
        defects = [gauge_defect(r, jax.grad(f)(r)) for f in (lambda r: of_result(fix_gauge(r)), of_result)]
        return fixed(a), value, tangent, jnp.sum((gradient * d).real), jnp.sum((product * d).real), defects

    r, value, tangent, slope, curvature, (invariant, free) = all_of_them(a, d)
    left = left_and_right(r)[0]
    largest = np.asarray(left)[np.argmax(np.abs(left), axis=0), np.arange(3)]
    np.testing.assert_allclose(largest, np.abs(largest), atol=1e-15)
    np.testing.assert_allclose(reconstructed(r), reconstructed(getattr(truncax, function)(a, 3)), atol=1e-13)
    np.testing.assert_allclose(value, reference(a), rtol=1e-12)
    for got in (tangent, slope):
        np.testing.assert_allclose(got, finite_difference(reference, a, d), rtol=1e-7)
    twice = finite_difference(lambda x: finite_difference(reference, x, d), a, d)
    np.testing.assert_allclose(curvature, twice, rtol=1e-5)
    assert invariant <= 1e-12
    if complex_:
        assert free >= 1e-3


def test_fixed_phases_of_batches_and_pytrees():
    rng = np.random.default_rng(4)
    batch = jnp.asarray(np.stack([matrix(rng, (8, 9), np.linspace(2, 1, 8), True) for _ in range(2)]))
    results = truncax.tsvd(batch, 3)
    fixed = fix_gauge(results)
    for i in range(2):
        one = fix_gauge(jax.tree.map(lambda x, i=i: x[i], results))
        assert all(error(x[i], y) <= 1e-15 for x, y in zip(fixed, one, strict=True))

    weights = jnp.asarray(hermitian(rng, np.linspace(1, 2, 6)))

    def matvec(x):
        y = weights @ jnp.concatenate([x["a"].ravel(), x["b"]])
        return {"a": y[:4].reshape(2, 2), "b": y[4:]}

    operator = truncax.linear_operator(matvec, like={"a": jnp.ones((2, 2)), "b": jnp.ones(2)}, hermitian=True)
    exact = numpy_fixed(np.linalg.eigh(weights)[1][:, ::-1][:, :2])[0]
    for result in (truncax.teigh(operator, 2), truncax.tsvd(operator, 2)):
        vectors = fixed[0] if isinstance(fixed := fix_gauge(result), truncax.TSVDResult) else fixed.eigenvectors
        np.testing.assert_allclose(jnp.concatenate([vectors["a"].reshape(4, 2), vectors["b"]]), exact, atol=1e-12)
        cotangent = jax.tree.map(jnp.ones_like, result)
        assert gauge_defect(result, cotangent).shape == ()


def test_bad_arguments_of_the_gauge_functions():
    r, q = truncax.tsvd(jnp.eye(4), 2), truncax.invariant_subspace(jnp.eye(4), 2)
    for call, kind, message in (
        (lambda: fix_gauge(q), TypeError, "the basis of a subspace is free"),
        (lambda: fix_gauge(tuple(r)), TypeError, "result must be what tsvd, teigh or teig"),
        (lambda: gauge_defect(tuple(r), r), TypeError, "result must be what"),
        (lambda: gauge_defect(r, r.U), TypeError, r"a tuple like the result, \(U, S, Vh\)"),
        (lambda: gauge_defect(r, (r.U[:2], None, None)), ValueError, "cotangent of U must have the shape"),
        (lambda: gauge_defect(q, q, rtol=1e-3), ValueError, "rtol has no use for subspaces"),
        (lambda: gauge_defect(r, r, rtol=-1.0), ValueError, "rtol must be positive"),
    ):
        with pytest.raises(kind, match=message):
            call()
