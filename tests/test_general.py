"""``teig`` and the invariant subspaces of general matrices: found, differentiated, refused."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.sparse
from checks import check_adjoint, mm
from jax.experimental.sparse import BCSR
from mp_reference import differences, sorted_eig
from profiles import LONG, crossed, few
from references import EPS, error, orthonormal, random
from strategies import general

import truncax
from truncax import Arnoldi, Arpack, Dense, Implicit, Status
from truncax.complement import solve
from truncax.complement.bicgstab import bicgstab
from truncax.rules import attach, eig, eig_reverse

K = 4
KEYS = {
    "LM": lambda x: -abs(x),
    "LR": lambda x: -x.real,
    "SR": lambda x: x.real,
    "LI": lambda x: -abs(x.imag),
    "SI": lambda x: abs(x.imag),
    "+I": lambda x: -x.imag,
    "-I": lambda x: x.imag,
}


def best(values, which, k, complex_=False):
    """The values by ``which``, the positive imaginary part of a pair first."""
    name = {"LI": "+I", "SI": "-I"}.get(which, which) if complex_ else which
    keys = KEYS[name](values)
    return values[np.lexsort((-values.imag, np.round(keys, 9)))][:k]


def spread(rng, n, complex_, condition=3.0):
    """A matrix with well separated eigenvalues on a spiral, in pairs if real, and its eigenvectors' condition."""
    radius = np.r_[2.0, 1.7, 1.5, 1.3, np.linspace(0.9, 0.1, n - 4)]
    if complex_:
        values = radius * np.exp(2.4j * np.arange(n))
        blocks = np.diag(values)
    else:
        # Pairs a +- ib and, last of all, single real values.
        blocks = np.zeros((n, n))
        for i in range(0, n - 1, 2):
            c, s = radius[i] * np.cos(1.1 * i + 0.5), radius[i] * np.sin(1.1 * i + 0.5)
            blocks[i : i + 2, i : i + 2] = [[c, s], [-s, c]]
        if n % 2:
            blocks[-1, -1] = radius[-1]
    u, v = (np.linalg.qr(random(rng, (n, n), complex_))[0] for _ in range(2))
    w = (u * np.geomspace(1, 1 / condition, n)) @ v
    return w @ blocks @ np.linalg.inv(w)


def by_solver(solver):
    return 24 if isinstance(solver, Dense) else 90


SOLVERS = {"dense": Dense(), "arnoldi": Arnoldi(), "blocks": Arnoldi(block_size=3), "arpack": Arpack()}


# --- forward ----------------------------------------------------------------------------------------------------------


@crossed("solver, which, complex_, dtype", SOLVERS, ["LM", "LR", "SR", "LI", "SI"], [False, True], [64, 32], rows=8)
def test_values_and_vectors_equal_numpy(solver, which, complex_, dtype):
    if which == "SI" and not complex_ and solver != "dense":
        which = "SR"  # inside of the spectrum
    solver, rng = SOLVERS[solver], np.random.default_rng(0)
    a = spread(rng, by_solver(solver), complex_).astype(f"complex{2 * dtype}" if complex_ else f"float{dtype}")
    exact, eps = best(np.linalg.eigvals(a.astype(complex)), which, K, complex_), np.finfo(a.dtype).eps
    result, info = truncax.teig(jnp.asarray(a), K, which=which, solver=solver, return_info=True)
    values, vectors = map(np.asarray, result)
    assert values.dtype == vectors.dtype == f"complex{2 * dtype}"
    np.testing.assert_allclose(values, exact, atol=2e4 * eps)
    assert np.abs(a @ vectors - vectors * values).max() <= 1e4 * eps
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1, atol=20 * eps)
    largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(K)]
    assert np.abs(largest.imag).max() <= 20 * eps
    assert largest.real.min() > 0
    assert bool(info.converged)
    assert info.residual_norms.shape == (K,)
    others = np.linalg.eigvals(a.astype(complex))
    others = others[np.abs(others[:, None] - values[None, :]).min(axis=1) > 1e-3]
    gap = np.abs(others[:, None] - values[None, :]).min() / max(np.abs(values).max(), np.abs(others).max())
    if isinstance(solver, Dense):
        np.testing.assert_allclose(info.cut_gap, gap, rtol=1e-3)


def test_a_parted_pair_keeps_the_member_with_positive_imaginary_part():
    a = jnp.asarray(spread(np.random.default_rng(1), 90, complex_=False))
    for solver in (Arnoldi(), Dense()):
        four = truncax.teig(a, 4, solver=solver).eigenvalues
        three = truncax.teig(a, 3, solver=solver).eigenvalues
        np.testing.assert_allclose(three, four[:3], atol=1e-12)
        np.testing.assert_allclose(four[1::2], jnp.conj(four[::2]), atol=1e-12)
        assert np.all(four[::2].imag > 0)


@pytest.mark.parametrize("seed", range(3))
def test_no_copy_of_a_value_is_missed(seed):
    """A shift of a ring, three times: each root of unity is there three times."""
    a = np.kron(np.eye(3), np.roll(np.eye(30), 1, axis=1)) + np.eye(90)
    values, vectors = truncax.teig(jnp.asarray(a), 9, which="LR", key=jax.random.key(seed))
    np.testing.assert_allclose(np.sort(values.real), np.sort(best(np.linalg.eigvals(a), "LR", 9).real), atol=1e-11)
    assert np.linalg.svd(vectors, compute_uv=False).min() > 1e-3


def test_scale_does_not_matter():
    a = jnp.asarray(spread(np.random.default_rng(2), 90, complex_=False))
    one = truncax.teig(a, 3).eigenvalues
    for scale in (1e-150, 1e150):
        np.testing.assert_allclose(truncax.teig(scale * a, 3).eigenvalues / scale, one, rtol=1e-12)
    zero = truncax.teig(jnp.zeros((80, 80)), 2)
    assert np.all(zero.eigenvalues == 0)
    assert np.all(np.isfinite(zero.eigenvectors))


def test_far_from_normal():
    """Residuals relative to the norm of A, which is 100 times the largest eigenvalue."""
    rng = np.random.default_rng(3)
    a = spread(rng, 120, complex_=False) / 2
    q = np.linalg.qr(rng.normal(size=(120, 2)))[0]
    a = a + 100 * np.outer(q[:, 0], q[:, 1])
    result, info = truncax.teig(jnp.asarray(a), 2, return_info=True)
    assert bool(info.converged)
    values, vectors = map(np.asarray, result)
    residual = np.abs(a @ vectors - vectors * values).max()
    assert residual <= 1e-13 * np.linalg.norm(a, 2)


@pytest.mark.parametrize("solver", [Arnoldi(), Dense()])
def test_rounding_is_that_of_the_norm(solver):
    """No residual below a few ``eps ||A||`` can be had, here 1e6 times the largest eigenvalue; none is waited for."""
    n, norm = 120, 1e6
    core = np.diag(np.r_[1.0, np.linspace(0.9, -0.9, n - 1)])
    core[0, -1] = norm
    q = orthonormal(np.random.default_rng(0), n, n)
    _, info = truncax.teig(jnp.asarray(q @ core @ q.T), 1, which="LR", solver=solver, return_info=True)
    assert info.residual_norms[0] <= 20 * EPS * norm
    assert info.products <= 400


def test_a_parted_pair_is_probed_beyond_its_second_member():
    """The gap that decides how long to look is that behind the pair, not the zero inside it."""
    a = jnp.asarray(spread(np.random.default_rng(1), 90, complex_=False))
    parted, whole = (truncax.teig(a, k, solver=Arnoldi(), return_info=True)[1].products for k in (3, 4))
    assert parted <= whole + 10


@pytest.mark.parametrize(("complex_", "k"), [(False, 3), (True, 4)])
def test_the_native_solver_goes_on_where_arpack_ends(complex_, k):
    a = jnp.asarray(spread(np.random.default_rng(1), 90, complex_))
    after, alone = (truncax.teig(a, k, which="LR", solver=s, return_info=True)[1] for s in (Arpack(), Arnoldi()))
    assert 2 * after.iterations < alone.iterations


def test_an_imaginary_start_of_a_real_matrix_is_as_good_as_a_real_one():
    """The phase of an eigenvector is free, and a start may lie in its imaginary part alone."""
    rng = np.random.default_rng(4)
    w = np.eye(90) + random(rng, (90, 90)) / 40
    a = jnp.asarray(w @ np.diag(np.linspace(1, -1, 90)) @ np.linalg.inv(w))
    options = {"which": "LR", "tol": 1e-6, "solver": Arnoldi(), "return_info": True}
    (_, x), cold = truncax.teig(a, 1, **options)
    real, imaginary = (truncax.teig(a, 1, v0=phase * x, **options)[1].products for phase in (1, 1j))
    assert imaginary <= real + 10 < cold.products


def test_start_batch_and_transforms():
    rng = np.random.default_rng(4)
    a = jnp.asarray(np.stack([spread(rng, 80, complex_=False) for _ in range(2)]))
    both = truncax.teig(a, 2, solver=Arnoldi())
    one = truncax.teig(a[1], 2, solver=Arnoldi())
    np.testing.assert_allclose(both.eigenvalues[1], one.eigenvalues, atol=1e-12)
    again, info = truncax.teig(a[1], 2, v0=one.eigenvectors, tol=1e-6, return_info=True)
    _, cold = truncax.teig(a[1], 2, solver=Arnoldi(), tol=1e-6, return_info=True)
    np.testing.assert_allclose(again.eigenvalues, one.eigenvalues, atol=1e-6)
    assert info.products < cold.products
    f = jax.jit(jax.vmap(lambda a: truncax.teig(a, 2, solver=Dense()).eigenvalues))
    np.testing.assert_allclose(f(a[:, :20, :20])[0], truncax.teig(a[0, :20, :20], 2).eigenvalues, atol=1e-12)


# --- derivatives ------------------------------------------------------------------------------------------------------


def quadratic(vectors, m):
    """``r_j^H m r_j`` for each column."""
    return jnp.sum(jnp.conj(vectors) * mm(m.astype(vectors.dtype), vectors), axis=0)


def pair_loss(which, k, mode="all", solver=None):
    def loss(a, m):
        values, vectors = truncax.teig(a, k, which=which, derivative=Implicit(mode=mode, tol=1e-14), solver=solver)
        q = quadratic(vectors, m)
        return jnp.sum((values**2 + q * jnp.conj(q)) * jnp.asarray([1.0, 0.6j, -0.3][:k])).real

    return loss


@crossed("which, complex_, solver", ["LM", "SR", "LI", "SI"], [False, True], ["dense", "arnoldi"])
def test_both_modes_agree_and_are_adjoint(which, complex_, solver):
    if which == "SI" and not complex_:
        which = "LR"
    solver, rng = SOLVERS[solver], np.random.default_rng(6)
    n = by_solver(solver)
    a, m = (jnp.asarray(x) for x in (spread(rng, n, complex_), random(rng, (n, n), complex_)))
    one, other = (jax.jit(jax.grad(pair_loss(which, 3, mode, solver=solver)))(a, m) for mode in ("all", "reverse"))
    assert one.dtype == a.dtype
    assert error(one, other) <= 1e-11
    options = Implicit(tol=1e-15)
    check_adjoint(lambda a: tuple(truncax.teig(a, 3, which=which, solver=solver, derivative=options)), a)


def test_second_order_in_reverse_mode():
    rng = np.random.default_rng(7)
    a, m, d = (jnp.asarray(x) for x in (spread(rng, 8, False), *(random(rng, (8, 8), False) for _ in range(2))))

    def hvp(mode):
        return jax.jit(jax.grad(lambda a: jnp.sum(jax.grad(pair_loss("LM", 2, mode))(a, m) * d)))(a)

    assert error(hvp("reverse"), hvp("all")) <= 1e-10


def test_nearly_parallel_eigenvectors():
    """Condition 1e5: the derivative of the vectors to 1e-7."""
    rng = np.random.default_rng(8)
    a, m, d = (spread(rng, 10, True, condition=1e5), *(random(rng, (10, 10), True) for _ in range(2)))

    def loss(a, j):
        _, v = sorted_eig(a, KEYS["LM"], 2)
        return abs((v[:, j].H * mpmath.matrix(m.tolist()) * v[:, j])[0]) ** 2

    def ours(a):
        return jnp.abs(quadratic(truncax.teig(a, 2).eigenvectors, jnp.asarray(m))) ** 2

    tangent = jax.jvp(ours, (jnp.asarray(a),), (jnp.asarray(d),))[1]
    exact = np.array([differences(lambda a, j=j: loss(a, j), a, (d, d))[0].real for j in range(2)])
    assert np.linalg.norm(tangent - exact) <= 1e-7 * np.linalg.norm(exact)


def projector_loss(a, m, k, which="LM", mode="all"):
    """Of the span and of the sum of squares of the eigenvalues: no eigenvector is needed."""
    options = Implicit(mode=mode, tol=1e-14)
    Q, H = truncax.invariant_subspace(a, k, which=which, hermitian=False, derivative=options)
    return (jnp.sum(quadratic(Q, m)) + jnp.trace(mm(H, H))).real


@pytest.mark.parametrize("kind", ["semisimple", "defective"])
def test_subspaces_need_no_eigenvectors(kind):
    rng = np.random.default_rng(9)
    core = np.diag([2.0, 2.0, 2.0, 1.0, 0.7, 0.5, -0.4])
    if kind == "defective":
        core[0, 1] = core[1, 2] = 0.8
    w, m, d, e = (random(rng, (7, 7), False) + 2 * i * np.eye(7) for i in (1, 0, 0, 0))
    a = w @ core @ np.linalg.inv(w)

    def loss(a):
        # The span by the invariant subspace iteration, which needs no eigenvectors either.
        q = mpmath.matrix(np.eye(7)[:, :3].tolist())
        q = mpmath.qr((a**400) * q)[0][:, :3]
        h = q.H * a * q
        total = h * h + q.H * mpmath.matrix(m.tolist()) * q
        return sum(total[i, i] for i in range(3)).real

    first, second = differences(loss, a, (d, e)).real
    a, m, d, e = map(jnp.asarray, (a, m, d, e))
    Q, H = map(np.asarray, truncax.invariant_subspace(a, 3, hermitian=False))
    np.testing.assert_allclose(np.asarray(a) @ Q, Q @ H, atol=1e-12)
    np.testing.assert_array_equal(H, np.triu(H))
    np.testing.assert_allclose(Q.conj().T @ Q, np.eye(3), atol=1e-14)
    gradient = jax.jit(jax.grad(lambda a: projector_loss(a, m, 3)))
    assert abs(jnp.sum(gradient(a) * d) / first - 1) <= 1e-10
    assert error(jax.grad(lambda a: projector_loss(a, m, 3, mode="reverse"))(a), gradient(a)) <= 1e-10
    assert abs(jnp.sum(jax.jvp(gradient, (a,), (d,))[1] * e) / second - 1) <= 1e-8


def test_phases_and_the_basis_are_free():
    rng = np.random.default_rng(19)
    a, m = (jnp.asarray(x) for x in (spread(rng, 10, False), random(rng, (10, 10), False)))
    m = m.astype(complex)

    def defect(result, loss):
        return truncax.gauge_defect(result, jax.grad(loss)(result))

    both = truncax.teig(a, 3, left=True)
    one = truncax.TEigResult(*both[:2])
    assert defect(one, lambda r: jnp.sum(jnp.abs(quadratic(r.eigenvectors, m)))) <= 1e-14
    assert defect(one, lambda r: jnp.sum(jnp.abs(r.eigenvectors + m[0, 0]))) > 0.01
    assert defect(both, lambda r: jnp.sum(jnp.abs(jnp.conj(r.left_eigenvectors) * r.eigenvectors))) <= 1e-14
    assert defect(both, lambda r: jnp.sum(jnp.abs(r.left_eigenvectors * r.eigenvectors + m[0, 0]))) > 0.01
    span = truncax.invariant_subspace(a, 4, hermitian=False)
    assert defect(span, lambda r: (jnp.sum(quadratic(r.Q, m)) + jnp.trace(mm(r.H, r.H))).real) <= 1e-14
    # Not so for the Hermitian part of its cotangent alone.
    assert defect(span, lambda r: jnp.trace(mm(r.H, r.H, r.H)).real) <= 1e-13
    assert defect(span, lambda r: jnp.abs(r.H[0, 1] ** 2 + r.H[0, 0])) > 0.01

    fixed = truncax.fix_gauge(one)
    np.testing.assert_allclose(fixed.eigenvectors, one.eigenvectors, atol=1e-14)
    for result in (truncax.fix_gauge(both), both):
        np.testing.assert_allclose(jnp.conj(result.left_eigenvectors.T) @ result.eigenvectors, np.eye(3), atol=1e-12)

    def entry(a):
        return truncax.fix_gauge(truncax.teig(a, 3)).eigenvectors[1, 0].real

    d, h = jnp.asarray(random(rng, (10, 10), False)), 1e-6
    slope = (entry(a + h * d) - entry(a - h * d)) / (2 * h)
    np.testing.assert_allclose(jax.jvp(entry, (a,), (d,))[1], slope, rtol=1e-6)


def test_wrong_rules_are_seen(mutate):
    """Each of the terms matters to the losses above."""
    rng = np.random.default_rng(18)
    a, m = (jnp.asarray(x) for x in (spread(rng, 8, True), random(rng, (8, 8), True)))

    def gradient(mode="all"):
        return jax.jit(jax.grad(pair_loss("LM", 3, mode)))(a, m)

    right, system, tangent, cotangent = gradient(), eig.schur_system, eig.schur_tangent, eig_reverse.schur_cotangent

    def uncoupled(operator, Q, T, *rest):
        return system(operator, Q, jnp.diag(jnp.diagonal(T)), *rest)

    def one_sided(operator, Q, T, dAQ, **how):
        return tangent(operator, Q, T, dAQ, **how)._replace(dT=mm(jnp.conj(Q.T), dAQ))

    def unconjugated(operator, Q, T, Qbar, Tbar, **how):
        return cotangent(operator, Q, T, jnp.conj(Qbar), jnp.conj(Tbar), **how)

    for module, name, wrong, mode in (
        (eig, "schur_system", uncoupled, "all"),
        (attach, "schur_tangent", one_sided, "all"),
        (attach, "schur_cotangent", unconjugated, "reverse"),
    ):
        kept = getattr(module, name)
        mutate(module, name, wrong)
        assert error(gradient(mode), right) > 1e-3, name
        mutate(module, name, kept)


@pytest.fixture
def solves(mutate):
    """The products of the complement solves that ran."""
    taken = []

    def counting(*args, **options):
        found = bicgstab(*args, **options)
        jax.debug.callback(lambda steps: taken.append(int(steps)), found.steps)
        return found

    mutate(solve, "bicgstab", counting)
    return taken


def test_the_solves_of_all_sides_cost_the_same(solves):
    """What is kept lies to the right, or, the matrix turned, to the left, above or below; or above and below in one.

    In the wrong half plane the part along the kept vectors, which is rounding error, grows, and the solve takes half as
    long again or twice.
    """
    rng = np.random.default_rng(21)
    depth = np.r_[np.linspace(0.6, 0, 4), -np.linspace(0.05, 1.5, 56)]
    w = np.eye(60) + random(rng, (60, 60), True) / 30
    a = w @ np.diag(depth + 1j * rng.uniform(-1, 1, 60)) @ np.linalg.inv(w)
    above = 1j * (a + 2 * np.eye(60))
    both = np.block([[above.real, -above.imag], [above.imag, above.real]])

    def steps(a, which, k):
        def loss(a):
            vectors = truncax.teig(a, k, which=which, solver=Dense(), derivative=Implicit(tol=1e-13)).eigenvectors
            return jnp.sum(jnp.abs(quadratic(vectors, m)) ** 2)

        m = jnp.asarray(random(np.random.default_rng(0), a.shape, True))
        solves.clear()
        jax.grad(loss)(jnp.asarray(a))
        jax.effects_barrier()
        return max(solves)

    taken = [steps(turn * a, which, 4) for which, turn in (("LR", 1), ("SR", -1), ("LI", 1j), ("SI", -1j))]
    assert max(taken) <= 1.1 * min(taken), taken
    # Seen from one side the spectrum is twice as long.
    assert steps(both, "LI", 8) <= 3 * min(taken)


def test_left_vectors_spare_the_solve_of_the_values(solves):
    rng = np.random.default_rng(10)
    a = jnp.asarray(spread(rng, 24, complex_=False))

    def loss(left):
        return lambda a: jnp.sum(truncax.teig(a, 3, left=left).eigenvalues[:2] ** 2 + 1j).real

    gradients = {}
    for left in (False, True):
        solves.clear()
        gradients[left] = jax.jit(jax.grad(loss(left)))(a)
        jax.effects_barrier()
        assert sum(steps > 0 for steps in solves) == 1
    assert error(gradients[True], gradients[False]) <= 1e-11
    values, R, L = truncax.teig(a, 3, left=True)
    np.testing.assert_allclose(jnp.conj(L.T) @ R, np.eye(3), atol=1e-13)
    np.testing.assert_allclose(np.conj(L.T) @ np.asarray(a), values[:, None] * jnp.conj(L.T), atol=1e-12)


def test_a_tie_at_the_cut_is_nan():
    a = jnp.diag(jnp.asarray([3.0, 2.0, 2.0, 1.0, 0.5]))
    values, info = truncax.teig(a, 2, return_info=True)
    assert info.status == Status.CUT_DEGENERATE
    np.testing.assert_allclose(values.eigenvalues, [3, 2])
    assert np.all(np.isnan(jax.grad(lambda a: jnp.sum(jnp.abs(truncax.teig(a, 2).eigenvectors + 1)))(a)))


def test_jordan_blocks_are_nan_and_not_wrong():
    """A simple value beside a kept Jordan block, and beside zeros whose discarded part is nilpotent."""
    beside = jnp.asarray([[3.0, 1, 1, 1], [0, 2, 1, 1], [0, 0, 2, 1], [0, 0, 0, 0.5]])
    nilpotent = jnp.asarray([[2.0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])

    def gradient(a, k, left):
        return jax.grad(lambda a: truncax.teig(a, k, left=left).eigenvalues[0].real)(a)[:, 0]

    np.testing.assert_allclose(gradient(beside, 1, False), [1, 1, 2, 1.6], atol=1e-12)
    np.testing.assert_allclose(gradient(nilpotent, 1, True), [1, 0.5, 0.75, 0.875], atol=1e-12)
    for a, k, left in ((beside, 3, False), (beside, 4, True), (nilpotent, 2, True), (nilpotent, 3, False)):
        assert np.all(np.isnan(gradient(a, k, left)))
    np.testing.assert_allclose(gradient(nilpotent, 2, False), [1, 0.5, 0.75, 0.875], atol=1e-12)
    values, _, L = truncax.teig(nilpotent, 2, left=True)
    np.testing.assert_allclose(values, [2, 0], atol=1e-12)
    assert np.all(np.isnan(L[:, 0]))


def test_left_vectors_that_fail_leave_the_values():
    a = jnp.asarray(random(np.random.default_rng(20), (30, 30), False))
    values, _, L = truncax.teig(a, 2, left=True, derivative=Implicit(max_steps=4))
    np.testing.assert_allclose(values, truncax.teig(a, 2).eigenvalues, atol=1e-12)
    assert np.all(np.isnan(L))


def test_rank_deficient():
    """Zero values have only zeros beside them: no derivative of their own, and none that spoils the others'."""
    rng = np.random.default_rng(11)
    a = jnp.asarray(random(rng, (20, 2), False) @ random(rng, (2, 20), False))
    gradient = jax.grad(lambda a: jnp.sum(truncax.teig(a, 4).eigenvalues[:2]).real)(a)
    w, v = np.linalg.eig(np.asarray(a))
    order = np.argsort(-abs(w))[:2]
    exact = (v[:, order] @ np.linalg.inv(v)[order]).real.T
    assert error(gradient, exact) <= 1e-11
    # In a tangent the vector of an exact zero stays where it is; the others move as they would without it.
    a, d = jnp.diag(jnp.asarray([2.0, 1.0, 0.0, 0.0, 0.0])), jnp.asarray(random(rng, (5, 5), False))
    values, vectors = jax.jvp(lambda a: truncax.teig(a, 3), (a,), (d,))[1]
    np.testing.assert_allclose(values[:2], jnp.diagonal(d)[:2], atol=1e-12)
    np.testing.assert_allclose(vectors[2:, 0], d[2:, 0] / 2, atol=1e-12)
    np.testing.assert_array_equal(vectors[3:, 2], 0)


# --- what users bring -------------------------------------------------------------------------------------------------


def test_dominant_eigenvalue_of_a_transfer_matrix():
    """Of a matrix product state, matrix-free: ``x -> sum_s M_s x M_s^H``; the gradient with respect to the tensor."""
    rng = np.random.default_rng(12)
    tensor = jnp.asarray(random(rng, (2, 6, 6), True))

    def transfer(x, tensor):
        return jnp.einsum("sij,jk,slk->il", tensor, x, jnp.conj(tensor), precision="highest")

    like = jnp.zeros((6, 6), complex)

    def correlation_length(tensor):
        operator = truncax.linear_operator(transfer, tensor, like=like)
        first, second = jnp.abs(truncax.teig(operator, 2).eigenvalues)
        return 1 / jnp.log(first / second)

    def dense(tensor):
        full = jnp.einsum("sij,slk->iljk", tensor, jnp.conj(tensor), precision="highest").reshape(36, 36)
        first, second = jnp.abs(truncax.teig(full, 2).eigenvalues)
        return 1 / jnp.log(first / second)

    got, expected = jax.grad(correlation_length)(tensor), jax.grad(dense)(tensor)
    assert error(got, expected) <= 1e-10
    d = jnp.asarray(random(rng, (2, 6, 6), True))
    h = 1e-6
    slope = (correlation_length(tensor + h * d) - correlation_length(tensor - h * d)) / (2 * h)
    assert abs(jnp.sum(got * d).real / slope - 1) <= 1e-7
    left = truncax.teig(truncax.linear_operator(transfer, tensor, like=like), 1, left=True)
    assert left.left_eigenvectors.shape == left.eigenvectors.shape == (6, 6, 1)


def test_markov_chain():
    """A walk on a ring: the stationary distribution is even, ``l_1 = 1/2 + cos(t)/2 + i (2 p - 1/2) sin(t)``."""
    n, p = 90, 0.4
    t = 2 * np.pi / n

    def chain(p):
        ring = jnp.roll(jnp.eye(n), 1, axis=1)
        return 0.5 * jnp.eye(n) + p * ring + (0.5 - p) * ring.T

    def second(p):
        return truncax.teig(chain(p), 3).eigenvalues[1]

    exact = 0.5 + 0.5 * np.cos(t) + 1j * (2 * p - 0.5) * np.sin(t)
    np.testing.assert_allclose(second(p), exact, atol=1e-12)
    _, slope = jax.jvp(second, (p,), (1.0,))
    np.testing.assert_allclose(slope, 2j * np.sin(t), atol=1e-10)
    stationary = truncax.teig(chain(p).T, 1).eigenvectors[:, 0]
    np.testing.assert_allclose(stationary / stationary.sum(), np.full(n, 1 / n), atol=1e-12)
    # Moved by a step that one state makes more often, it follows (1 - P^T)^# dP^T pi.
    d = np.zeros((n, n))
    d[0, 1], d[0, 0] = 1.0, -1.0

    def distribution(x):
        v = truncax.teig((chain(p) + x * jnp.asarray(d)).T, 1).eigenvectors[:, 0].real
        return v / v.sum()

    tangent = jax.jvp(distribution, (0.0,), (1.0,))[1]
    system = np.vstack([np.eye(n) - np.asarray(chain(p)).T, np.ones(n)])
    expected = np.linalg.lstsq(system, np.r_[d.T @ np.full(n, 1 / n), 0.0], rcond=None)[0]
    np.testing.assert_allclose(tangent, expected, atol=1e-11)


def test_spectral_radius_of_an_equilibrium_model():
    """The Jacobian of ``x -> tanh(w x + b)`` at its fixed point, by jvp; differentiated through w, the point fixed."""
    rng = np.random.default_rng(13)
    w, x = jnp.asarray(random(rng, (70, 70), False)) / 10, jnp.asarray(rng.normal(size=70))

    def radius(w):
        def step(v, w):
            return jax.jvp(lambda y: jnp.tanh(jnp.matmul(w, y, precision="highest")), (x,), (v,))[1]

        operator = truncax.linear_operator(step, w, shape=(70, 70), dtype=x.dtype)
        return jnp.abs(truncax.teig(operator, 1, solver=Arnoldi()).eigenvalues[0])

    def dense(w):
        slope = 1 - jnp.tanh(jnp.matmul(w, x, precision="highest")) ** 2
        return jnp.abs(truncax.teig(slope[:, None] * w, 1, solver=Dense()).eigenvalues[0])

    np.testing.assert_allclose(radius(w), dense(w), rtol=1e-12)
    assert error(jax.grad(radius)(w), jax.grad(dense)(w)) <= 1e-10


def test_sparse_matrices():
    rng = np.random.default_rng(14)
    a = scipy.sparse.random_array((90, 90), density=0.1, rng=rng, format="csr")
    dense = truncax.teig(jnp.asarray(a.toarray()), 2, solver=Arnoldi())
    np.testing.assert_allclose(truncax.teig(a, 2).eigenvalues, dense.eigenvalues, atol=1e-11)
    np.testing.assert_allclose(truncax.teig(a, 2, solver=Arpack()).eigenvalues, dense.eigenvalues, atol=1e-11)


# --- next to a shift --------------------------------------------------------------------------------------------------


def shifted_loss(solver=None, sigma=0.31, hermitian=None, **options):
    def loss(a, m):
        values, vectors = truncax.teig(a, 3, sigma=sigma, solver=solver, derivative=Implicit(tol=1e-13), **options)
        q = quadratic(vectors, m)
        return jnp.sum((values**2 + q * jnp.conj(q)) * jnp.asarray([1.0 + 0j, 0.5, 2.0])).real

    return loss


@pytest.mark.parametrize(
    ("complex_", "solver"), few([(True, "arnoldi")], [(False, "dense"), (False, "arnoldi"), (True, "dense")])
)
def test_pairs_next_to_a_shift(complex_, solver):
    rng, solver = np.random.default_rng(16), SOLVERS[solver]
    n, sigma = by_solver(solver), 0.31 + (0.2j if complex_ else 0)
    a, m, d = spread(rng, n, complex_), random(rng, (n, n), complex_), random(rng, (n, n), complex_)
    w = np.linalg.eigvals(a)
    exact = w[np.lexsort((-w.imag, np.round(abs(w - sigma), 9)))][:3]
    a, m, d = map(jnp.asarray, (a, m, d))
    result, info = truncax.teig(a, 3, sigma=sigma, solver=solver, left=True, return_info=True)
    values, R, L = map(np.asarray, result)
    np.testing.assert_allclose(values, exact, atol=1e-11)
    np.testing.assert_allclose(np.asarray(a) @ R, R * values, atol=1e-10)
    np.testing.assert_allclose(L.conj().T @ np.asarray(a), values[:, None] * L.conj().T, atol=1e-10)
    assert info.products < 100
    loss = shifted_loss(solver, sigma)
    gradient, tangent = (
        jax.jit(jax.grad(loss))(a, m),
        jax.jit(lambda a: jax.jvp(lambda a: loss(a, m), (a,), (d,))[1])(a),
    )
    assert abs(jnp.sum(gradient * d).real / tangent - 1) <= 1e-10
    h = 1e-6
    slope = (loss(a + h * d, m) - loss(a - h * d, m)) / (2 * h)
    assert abs(tangent / slope - 1) <= 1e-6
    H = truncax.invariant_subspace(a, 3, sigma=sigma, hermitian=False).H
    np.testing.assert_allclose(np.diagonal(H), exact, atol=1e-11)


@pytest.mark.parametrize("complex_", [False, True] if LONG else [True])
def test_a_shift_in_sparse_matrices_and_operators(complex_):
    rng = np.random.default_rng(17)
    a = scipy.sparse.random_array((80, 80), density=0.05, rng=rng, format="csr") + scipy.sparse.eye_array(80).tocsr()
    if complex_:
        a = a * (1 + 0.3j)
    dense, m = jnp.asarray(a.toarray()), jnp.asarray(random(rng, (80, 80), complex_))
    sigma = 0.7
    inverse = jnp.linalg.inv(dense - sigma * jnp.eye(80, dtype=dense.dtype))
    expected = jax.jit(jax.grad(shifted_loss(sigma=sigma)))(dense, m)

    def of_data(data):
        return shifted_loss(sigma=sigma)(BCSR((data, indices, pointers), shape=(80, 80)), m)

    def of_operator(dense):
        operator = truncax.linear_operator(lambda x, a: mm(a, x), dense, shape=(80, 80), dtype=dense.dtype)
        return shifted_loss(sigma=sigma, inverse=lambda y: mm(inverse, y))(operator, m)

    indices, pointers = jnp.asarray(a.indices), jnp.asarray(a.indptr)
    row, column = a.tocoo().coords
    assert error(jax.jit(jax.grad(of_data))(jnp.asarray(a.data)), expected[row, column]) <= 1e-9
    assert error(jax.jit(jax.grad(of_operator))(dense), expected) <= 1e-9


def test_shifts_that_are_refused():
    a = square()
    with pytest.raises(ValueError, match="is an eigenvalue"):
        truncax.teig(jnp.diag(jnp.arange(1.0, 9.0)), 2, sigma=3.0)
    with pytest.raises(TypeError, match="a is real"):
        truncax.teig(a, 2, sigma=1j)
    # Next to one eigenvalue, the others have lost their digits.
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    near = jnp.asarray(q @ np.diag(np.r_[1.0, np.linspace(2, 20, 59)]) @ q.T + 0.1 * np.outer(q[:, 0], q[:, 1]))
    for solver in (Arnoldi(), Dense()):
        _, info = truncax.teig(near, 4, sigma=1 + 1e-11, solver=solver, return_info=True, on_failure="keep")
        assert info.status == Status.SHIFT_SINGULAR
        _, info = truncax.teig(near, 4, sigma=1 + 1e-5, solver=solver, return_info=True)
        assert info.status == Status.CONVERGED
    with pytest.raises(ValueError, match="inverse must solve"):
        truncax.teig(a, 2, sigma=0.3, inverse=lambda y: y)
    with pytest.raises(ValueError, match="needs a matrix that can be factorised"):
        truncax.teig(truncax.linear_operator(lambda x: 2 * x, shape=(9, 9), dtype=float), 1, which="SM")
    with pytest.raises(ValueError, match="takes no sigma"):
        truncax.teig(a, 2, sigma=0.3, solver=Arpack())


# --- what is refused --------------------------------------------------------------------------------------------------


def square():
    return jnp.asarray(spread(np.random.default_rng(0), 12, complex_=False))


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"which": "LA"}, ValueError, "which must be one of 'LM'"),
        ({"solver": truncax.Lanczos()}, TypeError, "solver must be None or"),
        ({"derivative": Implicit(polish=1)}, NotImplementedError, "polish"),
        ({"derivative": Implicit(preconditioner=jnp.eye(12))}, NotImplementedError, "preconditioner"),
        ({"v0": jnp.ones(11)}, ValueError, "v0 must have shape"),
        ({"solver": Arpack(ncv=3)}, ValueError, "Arpack ncv"),
        ({"solver": Arnoldi(ncv=4)}, ValueError, "ncv must leave room"),
        ({"k": 13}, ValueError, "k must be between 1 and"),
        ({"tol": -1.0}, ValueError, "tol must be positive"),
    ],
)
def test_bad_arguments(arguments, kind, words):
    with pytest.raises(kind, match=words):
        truncax.teig(square(), **{"k": 2, **arguments})


def test_bad_matrices():
    with pytest.raises(ValueError, match="square"):
        truncax.teig(jnp.ones((3, 4)), 1)
    with pytest.raises(ValueError, match="finite"):
        truncax.teig(square().at[0, 0].set(jnp.nan), 1)
    with pytest.raises(ValueError, match="finite"):
        truncax.teig(jnp.eye(80).at[0, 0].set(jnp.inf), 1)
    with pytest.raises(ValueError, match="linear operator"):
        truncax.teig(truncax.linear_operator(lambda x: x + 1.0, shape=(80, 80), dtype=float), 1)
    with pytest.raises(NotImplementedError, match="b and solve_b are built"):
        truncax.invariant_subspace(square(), 2, hermitian=False, b=jnp.eye(12))
    with pytest.raises(TypeError, match="hermitian must be"):
        truncax.invariant_subspace(square(), 2, hermitian=None)


def test_what_does_not_converge_says_so():
    a = jnp.asarray(random(np.random.default_rng(15), (200, 200), False))
    with pytest.raises(truncax.ConvergenceError, match="Arnoldi"):
        truncax.teig(a, 4, solver=Arnoldi(max_restarts=1))
    values = jax.jit(lambda a: truncax.teig(a, 4, solver=Arnoldi(max_restarts=1)).eigenvalues)(a)
    assert np.all(np.isnan(values))
    gradient = jax.grad(lambda a: truncax.teig(a, 4, derivative=Implicit(max_steps=4)).eigenvalues[0].real)(a)
    assert np.all(np.isnan(gradient))


def test_a_derivative_that_did_not_converge_is_kept_where_asked():
    a = jnp.asarray(random(np.random.default_rng(15), (30, 30), False))

    def loss(a, on_failure):
        derivative = Implicit(max_steps=4)
        return jnp.sum(jnp.abs(truncax.teig(a, 2, derivative=derivative, on_failure=on_failure).eigenvectors) ** 4)

    for on_failure, finite in (("nan", False), ("keep", True)):
        assert np.all(np.isfinite(jax.grad(lambda a, o=on_failure: loss(a, o))(a))) == finite


@pytest.mark.parametrize("seed", [2, 4])
def test_both_copies_of_a_double_eigenvalue_converge(seed):
    """The second copy leans on leftovers that were deflated, and has their residuals, unseen, unless they are none."""
    magnitudes = np.r_[1, 1, 0.5, 0.5, np.linspace(0.4, 0.05, 26)]
    a = jnp.asarray(general(np.random.default_rng(seed), magnitudes, 4, False))
    found, info = truncax.teig(a, 4, solver=Arnoldi(), on_failure="keep", return_info=True)
    assert int(info.status) == Status.CONVERGED
    np.testing.assert_allclose(np.abs(found.eigenvalues), magnitudes[:4], rtol=1e-12)
    assert info.residual_norms.max() < 1e-13
