"""Bad input gets a clear error at once, that names the argument, what was given and what is allowed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import truncax
from truncax import Arpack, GolubKahan, Implicit, Lanczos, Propack, teigh, tsvd

A = np.arange(12.0).reshape(3, 4)
H = np.eye(5)
SINGULAR = [truncax.tsvd, truncax.singular_subspaces]
HERMITIAN = [truncax.teigh, truncax.invariant_subspace]

BAD = [
    (lambda f: f("matrix", 1), TypeError, r"a must be .* array.*str"),
    (lambda f: f([[1.0]], 1), TypeError, r"a must be .* array.*list: pass jax.numpy.asarray"),
    (lambda f: f(None, 1), TypeError, r"a must be .* array.*NoneType"),
    (lambda f: f(lambda x: x, 1), TypeError, r"a must be .* array.*function"),
    (lambda f: f(np.array([["x", "y"]]), 1), TypeError, r"a must be numeric.*<U1"),
    (lambda f: f(np.array([[None]]), 1), TypeError, r"a must be numeric.*object"),
    (lambda f: f(np.ones(5), 1), ValueError, r"a must have at least two dimensions.*\(5,\)"),
    (lambda f: f(np.float64(1.0), 1), ValueError, r"a must have at least two dimensions.*\(\)"),
    (lambda f: f(np.ones((2, 2), "longdouble"), 1), TypeError, r"a has dtype float128; allowed are float16"),
    (lambda f: f(np.ones((2, 2), "datetime64[s]"), 1), TypeError, r"a must be numeric"),
    (lambda f: f(H, 0), ValueError, r"k must be between 1 and min\(m, n\) = 5.*got 0"),
    (lambda f: f(H, 6), ValueError, r"k must be between 1 and min\(m, n\) = 5.*got 6"),
    (lambda f: f(H, -1), ValueError, r"k must be between 1"),
    (lambda f: f(np.zeros((0, 0)), 1), ValueError, r"k must be between 1 and min\(m, n\) = 0"),
    (lambda f: f(H, 2.0), TypeError, r"k must be an int, got 2.0"),
    (lambda f: f(H, True), TypeError, r"k must be an int, got True"),
    (lambda f: f(H, "2"), TypeError, r"k must be an int, got '2'"),
    (lambda f: f(H, None), TypeError, r"k must be an int"),
    (lambda f: jax.jit(lambda k: f(H, k))(2), TypeError, r"k must be a static Python int, got a traced value"),
    (lambda f: f(H, 1, which="XX"), ValueError, r"which must be one of 'LM'.*got 'XX'"),
    (lambda f: f(H, 1, which=None), ValueError, r"which must be one of"),
    (lambda f: f(H, 1, solver="lanczos"), TypeError, r"solver must be None or truncax\.Dense.*got 'lanczos'"),
    (lambda f: f(H, 1, solver=truncax.Dense), TypeError, r"solver must be None or truncax\.Dense\(\.\.\.\)"),
    (lambda f: f(H, 1, derivative="implicit"), TypeError, r"derivative must be None or truncax\.Implicit"),
    (lambda f: f(H, 1, derivative=Implicit(tol=-1.0)), ValueError, r"Implicit tol must be positive.*-1\.0"),
    (lambda f: f(H, 1, tol=0.0), ValueError, r"tol must be positive and below 1, got 0\.0; leave it out"),
    (lambda f: f(H, 1, tol=np.nan), ValueError, r"tol must be positive and below 1, got nan"),
    (lambda f: f(H, 1, tol=2.0), ValueError, r"tol must be positive and below 1, got 2\.0"),
    (lambda f: f(H, 1, derivative=Implicit(tol=5.0)), ValueError, r"Implicit tol must be positive and below 1.*5\.0"),
    (lambda f: f(H, 1, tol="small"), TypeError, r"tol must be a positive real number, got 'small'"),
    (lambda f: f(H, 1, tol=np.ones(2)), TypeError, r"tol must be a positive real number"),
    (lambda f: f(H, 1, tol=1e-3j), TypeError, r"tol must be a positive real number"),
    (lambda f: f(H, 1, on_failure="warn"), ValueError, r"on_failure must be one of 'raise', 'nan', 'keep', got 'warn'"),
    (lambda f: f(H, 1, v0=np.ones(4)), ValueError, r"v0 must have shape \(5,\).*got \(4,\)"),
    (lambda f: f(H, 1, v0=np.ones((4, 1))), ValueError, r"v0 must have shape \(5,\) or \(5, p\)"),
    (lambda f: f(H, 1, v0=1j * np.ones(5)), TypeError, r"v0 is complex"),
    (lambda f: f(H, 1, v0=np.ones(5), solver=truncax.Dense()), ValueError, r"Dense\(\) takes no start vector"),
    (lambda f: f(H, 1, key=jax.random.key(0), solver=truncax.Dense()), ValueError, r"Dense\(\) uses no random"),
    (lambda f: f(H, 1, key=3), TypeError, r"key must be one PRNG key"),
    (lambda f: f(H, 1, key=jax.random.split(jax.random.key(0))), TypeError, r"key must be one PRNG key"),
    (lambda f: f(np.full((5, 5), np.nan), 1), ValueError, r"a must be finite"),
    (lambda f: f(np.diag([1.0, np.inf]), 1), ValueError, r"a must be finite"),
    (lambda f: f(np.stack([H, H * np.nan]), 1), ValueError, r"a must be finite.* in 1 of 2 members"),
    (lambda f: f(H, 1, None), TypeError, r"positional"),
    (lambda f: f(H, 1, nonsense=1), TypeError, r"nonsense"),
]


@pytest.mark.parametrize("function", SINGULAR + HERMITIAN)
@pytest.mark.parametrize(("call", "kind", "message"), BAD, ids=range(len(BAD)))
def test_bad_input(function, call, kind, message):
    with pytest.raises(kind, match=message):
        call(function)


@pytest.mark.parametrize("function", HERMITIAN)
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda f: f(A, 1), ValueError, r"a must be square.*\(3, 4\)"),
        (lambda f: f(np.triu(np.ones((5, 5))), 1), ValueError, r"a must be Hermitian"),
        (lambda f: f(np.ones((5, 5)) + 1j * np.eye(5)[::-1], 1), ValueError, r"a must be Hermitian"),
        (lambda f: f(H, 5, solver=Arpack()), ValueError, r"Arpack\(\) finds at most 4 pairs of a real problem"),
        (lambda f: f(H + 0j, 4, solver=Arpack()), ValueError, r"finds at most 3 pairs of a complex problem"),
        (lambda f: f(H, 2, solver=Arpack(ncv=3)), ValueError, r"Arpack ncv must be between k \+ 2 = 4 and 5, got 3"),
        (lambda f: f(H + 0j, 2, which="BE", solver=Arpack()), ValueError, r"no which='BE' for complex"),
        (lambda f: f(H, 1, solver=Propack()), TypeError, r"solver must be None or truncax\.Dense.*Lanczos.*Arpack"),
        (lambda f: f(H, 1, solver=GolubKahan()), TypeError, r"solver must be None or truncax\.Dense.*Lanczos"),
        (lambda f: f(np.eye(200), 4, solver=Lanczos(ncv=5)), ValueError, r"ncv must leave room.*ncv=5 with k=4"),
    ],
    ids=range(10),
)
def test_bad_hermitian_input(function, call, kind, message):
    with pytest.raises(kind, match=message):
        call(function)


@pytest.mark.parametrize("function", SINGULAR)
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda f: f(A, 4), ValueError, r"k must be between 1 and min\(m, n\) = 3"),
        (lambda f: f(A, 1, which="LA"), ValueError, r"which must be one of 'LM', 'SM', got 'LA'"),
        (lambda f: f(A, 1, which="SM", solver=GolubKahan()), ValueError, r"which='SM' is built for .*Dense\(\) only"),
        (lambda f: f(A, 1, which="SM", v0=np.ones(4)), ValueError, r"takes no v0"),
        (
            lambda f: f(A, 1, which="SM", derivative=Implicit(preconditioner=np.eye(3))),
            ValueError,
            r"which='SM' has no use for a preconditioner",
        ),
        (
            lambda f: f(A, 1, derivative=Implicit(preconditioner=1j * np.eye(3))),
            TypeError,
            r"preconditioner must be real",
        ),
        (lambda f: f(A, 1, which="SM", key=jax.random.key(0)), ValueError, r"takes no key"),
        (lambda f: f(A, 1, solver=Lanczos()), TypeError, r"solver must be None or truncax\.Dense.*GolubKahan"),
        (lambda f: f(A, 1, v0=np.ones(3)), ValueError, r"v0 must have shape \(4,\) or \(4, p\) or \(p, 4\)"),
        (lambda f: f(np.eye(200), 4, solver=GolubKahan(ncv=5)), ValueError, r"ncv must leave room"),
    ],
    ids=range(10),
)
def test_bad_singular_input(function, call, kind, message):
    with pytest.raises(kind, match=message):
        call(function)


@pytest.mark.parametrize("function", [truncax.singular_subspaces, truncax.invariant_subspace])
def test_subspaces_have_no_threshold(function):
    with pytest.raises(ValueError, match="degeneracy_rtol has no use for subspaces"):
        function(H, 1, derivative=Implicit(degeneracy_rtol=1e-6))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: GolubKahan(ncv=0), ValueError, r"ncv must be None or an int of at least 1, got 0"),
        (lambda: Lanczos(max_restarts=1.5), ValueError, r"max_restarts must be None or an int.*1\.5"),
        (lambda: Lanczos(max_restarts=True), ValueError, r"max_restarts must be"),
        (lambda: GolubKahan(block_size=0), ValueError, r"block_size must be None or an int of at least 1, got 0"),
        (lambda: Arpack(max_iterations=0), ValueError, r"max_iterations must be None or an int of at least 1"),
        (lambda: Propack(max_iterations="9"), ValueError, r"max_iterations must be None or an int.*'9'"),
        (lambda: Implicit(max_steps=0), ValueError, r"max_steps must be None or an int of at least 1"),
        (lambda: Implicit(polish=-1), ValueError, r"polish must be"),
        (lambda: Implicit(mode="sideways"), ValueError, r"mode must be 'all' or 'reverse', got 'sideways'"),
    ],
    ids=range(9),
)
def test_bad_options(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_errors_come_at_trace_time_too():
    with pytest.raises(ValueError, match="k must be between"):
        jax.jit(lambda a: tsvd(a, 9))(A)
    with pytest.raises(ValueError, match="a must be square"):
        jax.vmap(lambda a: teigh(a, 1))(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="at least two dimensions"):
        jax.vmap(lambda a: tsvd(a, 1))(A)


def test_ranks_of_other_integer_types_are_welcome():
    for k in (np.int64(2), np.uint8(2), jnp.int32(2)):
        assert tsvd(A, k).S.shape == (2,)


def test_a_hermitian_matrix_up_to_rounding_is_welcome():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 60)) + 1j * rng.normal(size=(60, 60))
    d = rng.normal(size=60)
    a = (x * d) @ x.conj().T
    assert np.any(a != a.conj().T)
    np.testing.assert_allclose(teigh(a, 2, which="LA").eigenvalues, np.linalg.eigvalsh(a)[::-1][:2], rtol=1e-12)
    b = a.copy()
    b[3, 40] *= 1 + 1e-6
    with pytest.raises(ValueError, match="a must be Hermitian"):
        teigh(b, 2)
