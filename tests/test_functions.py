"""``matrix_function`` against block matrices and high precision."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg
from profiles import crossed
from references import error, hermitian, random

from truncax import matrix_function
from truncax.numerics import derivative, divided

SPLITS = [0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2]


def inner(w, x):
    return jnp.sum((jnp.conj(w) * x).real)


def directional(f, h, *directions):
    """``D^n f(h)[directions]`` for an analytic f, as the corner of f of a block matrix: exact at any degeneracy."""
    x = h
    for d in directions:
        d = np.kron(np.eye(len(x) // len(d)), d)
        x = np.block([[x, d], [np.zeros_like(x), x]])
    return f(x)[: len(h), -len(h) :]


@jax.jit
def up_to_second(h, d, e):
    def f(h):
        return matrix_function(jnp.exp, h)

    def along(f, d):
        return lambda h: jax.jvp(f, (h,), (d,))[1]

    def reverse(h):
        return jax.grad(lambda h: inner(e, f(h)))(h)

    return {
        "value": f(h),
        "first": along(f, d)(h),
        "first reverse": inner(jnp.conj(d), reverse(h)),
        "second": along(along(f, d), e)(h),
        "second forward over reverse": inner(jnp.conj(d), along(reverse, d)(h)),
        "second reverse over reverse": inner(jnp.conj(d), jax.grad(lambda h: inner(jnp.conj(d), reverse(h)))(h)),
    }


def clustered(size, split, complex_, rng):
    """A cluster of ``size`` values next to 1, and four others."""
    values = np.concatenate([1 + split * np.arange(size), [2.0, 2.5, 0.3, -0.5]])
    return hermitian(rng, values, complex_)


def check_the_exponential(size, complex_):
    for i, split in enumerate(SPLITS):
        rng = np.random.default_rng(i)
        h = clustered(size, split, complex_, rng)
        d, e = (hermitian(rng, rng.normal(size=len(h)), complex_) for _ in range(2))
        got, exp = up_to_second(h, d, e), scipy.linalg.expm
        first, second, again = directional(exp, h, d), directional(exp, h, d, e), directional(exp, h, d, d)
        assert error(got["value"], exp(h)) <= 1e-13
        assert error(got["first"], first) <= 1e-12, split
        assert error(got["second"], second) <= 1e-12, split
        size = np.linalg.norm(e)
        assert abs(got["first reverse"] - inner(e, first)) <= 1e-12 * size * np.linalg.norm(first), split
        for name in ("second forward over reverse", "second reverse over reverse"):
            assert abs(got[name] - inner(e, again)) <= 1e-12 * size * np.linalg.norm(again), (name, split)


@crossed("size, complex_", [2, 3, 5, 60], [False, True], rows=5)
def test_the_exponential_at_clusters(size, complex_):
    check_the_exponential(size, complex_)


def exact_differences(f, values, indices):
    """Divided differences in 60 digits; ties are split by 1e-25."""
    with mpmath.workdps(60):
        x = [mpmath.mpf(float(values[i])) * (1 + mpmath.mpf(10) ** -25 * n) for n, i in enumerate(indices)]
        x = [value + mpmath.mpf(10) ** -30 * n for n, value in enumerate(x)]
        table = [f(value) for value in x]
        for order in range(1, len(x)):
            table = [(table[i + 1] - table[i]) / (x[i + order] - x[i]) for i in range(len(x) - order)]
        return float(table[0])


DECADES = np.sort(np.r_[10.0 ** np.arange(-12, 1), 2e-12, 3e-9, 0.5, 0.5 + 1e-13, 1.0])
AROUND = np.sort(np.r_[-1.0, -1e-15, 0.0, 1e-16, 1e-4, 1e-3, 1.001e-3, 0.3, 0.3 + 1e-9, 1.0, 1.0])
# A function, the same in mpmath, eigenvalues, and how fast it can change.
FUNCTIONS = {
    "exp": (jnp.exp, mpmath.exp, AROUND, 1),
    "log over decades": (jnp.log, mpmath.log, DECADES, 1),
    "inverse root over decades": (lambda x: x**-0.5, lambda x: 1 / mpmath.sqrt(x), DECADES, 1),
    "a smooth step": (lambda x: jnp.tanh(20 * x), lambda x: mpmath.tanh(20 * x), AROUND, 20),
    "a step between the nodes": (
        lambda x: jnp.tanh(1e5 * (x - 0.01)),
        lambda x: mpmath.tanh(100000 * (x - mpmath.mpf(0.01))),
        AROUND,
        1e5,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_divided_differences_in_high_precision(name):
    """Relative to what rounding of the values leaves, also for steep functions and for values over many decades."""
    f, exact, values, steep = FUNCTIONS[name]
    first = np.asarray(divided.first_differences(f, values).values)
    second = np.asarray(divided.second_differences(f, values))
    size = np.abs(f(values)) + np.abs(values * divided.derivative_of(f)(values))
    rng, k, eps = np.random.default_rng(0), len(values), np.finfo(float).eps
    for i in range(k):
        for j in range(i, k):
            expected = exact_differences(exact, values, (i, j))
            apart = abs(values[i] - values[j])
            quotient = (size[i] + size[j]) / apart if apart > 1e-7 * abs(values[j]) else 0
            bound = 64 * eps * (abs(expected) + steep + quotient)
            assert abs(first[i, j] - expected) <= bound, (values[i], values[j])
    if name == "a step between the nodes":
        return  # its second differences are zeros beside rounding errors
    for i, m, j in np.sort(rng.integers(0, k, (60, 3)), axis=1):
        expected = exact_differences(exact, values, (i, m, j))
        apart = max(abs(values[i] - values[j]), 1e-8 * abs(values[j]))
        quotient = (size[i] + size[j]) / apart**2 if apart > 1e-3 else 0
        scale = abs(expected) + steep**2 + (abs(first[i, m]) + abs(first[m, j])) / apart + quotient
        assert abs(second[i, m, j] - expected) <= 1e3 * eps * scale, values[[i, m, j]]
        assert second[i, m, j] == second[j, i, m] == second[m, j, i]


def test_a_guarded_quotient_is_caught(mutate):
    """Differences below a threshold as zero or as f', above it by the quotient: wrong near ties, at first order."""

    def guarded(integral, numerator, denominator, noise, close):
        small = abs(denominator) <= 1e-12
        quotient = numerator / jnp.where(small, 1, denominator)
        return divided.Differences(jnp.where(small, integral, quotient), noise)

    mutate(divided, "_chosen", guarded)
    mutate(derivative, "first_differences", divided.first_differences)
    with pytest.raises(AssertionError):
        check_the_exponential(3, False)


def test_arrays_that_f_closes_over_have_derivatives():
    """``d/dt`` and ``d2/dt2`` of ``f(t, H(t))``, and their mixture, at a tie; also an integer that is traced."""
    rng = np.random.default_rng(0)
    h, e = (jnp.asarray(x) for x in (clustered(3, 0, False, rng), hermitian(rng, rng.normal(size=7))))

    def ours(t, n):
        return inner(e, matrix_function(lambda x: n * jnp.exp(-t * x), t * h))

    def exact(t, n):
        return n * inner(e, jax.scipy.linalg.expm(-t * t * h))

    def orders(f):
        first = jax.grad(f)
        return jax.jit(lambda t, n: (f(t, n), first(t, n), jax.grad(first)(t, n)))

    for got, expected in zip(orders(ours)(0.7, 3), orders(exact)(0.7, 3), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_mixed_derivatives_of_second_order_in_h():
    """``d/dt d2/dH2`` in either order of nesting."""
    rng = np.random.default_rng(0)
    h, d, e = (
        jnp.asarray(x) for x in (clustered(3, 0, False, rng), *(hermitian(rng, rng.normal(size=7)) for _ in "de"))
    )

    def along(f):
        return lambda h, t: jax.jvp(lambda h: f(h, t), (h,), (d,))[1]

    def by(f):
        return lambda h, t: jax.jvp(lambda t: f(h, t), (t,), (1.0,))[1]

    def ours(h, t):
        return inner(e, matrix_function(lambda x: jnp.exp(-t * x), h))

    def exact(h, t):
        return inner(e, jax.scipy.linalg.expm(-t * h))

    expected = jax.jit(by(along(along(exact))))(h, 0.7)
    for nested in (by(along(along(ours))), along(along(by(ours))), along(by(along(ours)))):
        np.testing.assert_allclose(jax.jit(nested)(h, 0.7), expected, rtol=1e-12)


def test_a_third_derivative_raises():
    h = jnp.eye(3)

    def f(h):
        return matrix_function(jnp.exp, h)[0, 1]

    for third in (
        jax.jacfwd(jax.hessian(f)),
        jax.jacrev(jax.jacrev(jax.jacrev(f))),
        jax.jit(jax.jacfwd(jax.hessian(f))),
    ):
        with pytest.raises(NotImplementedError, match="no third derivative with respect to H"):
            third(h)


def test_transformations_of_a_matrix_function():
    """Batches, vmap of jit, checkpoint, and complex values of f."""
    rng = np.random.default_rng(1)
    batch = jnp.asarray(np.stack([clustered(2, 0, True, rng) for _ in range(2)]))
    w = jnp.asarray(random(rng, batch.shape, True))

    def loss(h, w):
        return inner(w, matrix_function(lambda x: jnp.exp(1j * x.astype(complex)), h))

    def hvp(h, w):
        wrapped = jax.checkpoint(lambda h: loss(h, w))
        return jax.jvp(jax.grad(wrapped), (h,), (w,))[1]

    plain = jnp.stack([jax.jit(hvp)(h, v) for h, v in zip(batch, w, strict=True)])
    assert error(jax.vmap(jax.jit(hvp))(batch, w), plain) <= 1e-13
    assert error(hvp(batch, w), plain) <= 1e-13
    d = np.asarray((w + jnp.conj(jnp.swapaxes(w, 1, 2))) / 2)
    exact = [directional(scipy.linalg.expm, 1j * np.asarray(h), 1j * e, 1j * e) for h, e in zip(batch, d, strict=True)]
    got = jax.jvp(
        lambda h: jax.jvp(lambda h: matrix_function(lambda x: jnp.exp(1j * x.astype(complex)), h), (h,), (d,))[1],
        (batch,),
        (d,),
    )
    assert error(got[1], np.stack(exact)) <= 1e-12


def test_precisions_of_a_matrix_function():
    h = jnp.asarray(clustered(3, 0, False, np.random.default_rng(2)))
    exact = scipy.linalg.expm(h)
    for dtype, bound in (("float16", 2e-3), ("float32", 8e-6), ("float64", 2e-14)):
        value, tangent = jax.jvp(lambda h: matrix_function(jnp.exp, h), (h.astype(dtype),), (jnp.eye(7, dtype=dtype),))
        assert value.dtype == tangent.dtype == dtype
        assert error(value, exact) <= bound
        assert error(tangent, exact) <= 4 * bound
    assert matrix_function(jnp.exp, jnp.eye(2, dtype=int)).dtype == float


@pytest.mark.parametrize(
    ("f", "h", "kind", "message"),
    [
        (jnp.exp, [[1.0]], TypeError, "H must be an array"),
        (jnp.exp, jnp.ones((2, 3)), ValueError, "square"),
        (jnp.exp, jnp.asarray([[1.0, 2.0], [0.0, 1.0]]), ValueError, "H must be Hermitian"),
        ("exp", jnp.eye(2), TypeError, "f must be a function"),
        (lambda x: jnp.concatenate([x, x]), jnp.eye(2), ValueError, "one number for each number"),
        (lambda x: x > 0, jnp.eye(2), TypeError, "floating-point or complex"),
    ],
)
def test_bad_arguments_of_a_matrix_function(f, h, kind, message):
    with pytest.raises(kind, match=message):
        matrix_function(f, h)
