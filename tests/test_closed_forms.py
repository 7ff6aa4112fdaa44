"""Operators whose spectrum is known: values, vectors, first and second derivatives, by every kind of operator."""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.sparse import BCOO
from references import kept_derivatives, level_derivatives, tolerance, vector_derivative

import truncax


def close(x, exact, gap, scale=None):
    """``c eps scale / gap``, the gap relative to the spectrum, the scale that of the exact answer."""
    scale = np.max(np.abs(exact)) if scale is None else scale
    np.testing.assert_allclose(x, exact, rtol=0, atol=tolerance(gap, factor=50) * scale)


def numbers(tree):
    return jax.tree.map(np.asarray, tree)


def relative_gap(values, k):
    """The smallest distance of one of the first k values to any other, relative to the largest magnitude."""
    d = np.abs(values[:k, None] - values[None, :])
    return np.min(d[d > 1e-9 * np.max(np.abs(values))]) / np.max(np.abs(values))


# --- symmetric tridiagonal matrices, by a function --------------------------------------------------------------------

N, K = 24, 3


def tridiagonal(x, diagonal, off):
    return (diagonal * x).at[1:].add(off * x[:-1]).at[:-1].add(off * x[1:])


@jax.jit
def levels(p, dp):
    """The lowest levels, their vectors, and how these and the gradients of the levels move along ``dp``."""

    def pairs(p):
        operator = truncax.linear_operator(tridiagonal, *p, shape=N, hermitian=True)
        return tuple(truncax.teigh(operator, K, which="SA", solver=truncax.Lanczos()))

    (values, vectors), (_, moved) = jax.jvp(pairs, (p,), (dp,))
    gradients, bent = jax.jvp(jax.jacrev(lambda p: pairs(p)[0]), (p,), (dp,))
    return values, vectors, moved, gradients, bent


def dense_tridiagonal(diagonal, off):
    return np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)


def against(gradients, dp):
    return sum(np.asarray(g) @ d for g, d in zip(gradients, dp, strict=True))


def sines(n):
    """Of the tridiagonal Toeplitz matrix with -1 beside its diagonal, in ascending order."""
    j = np.arange(1, n + 1)
    return -2 * np.cos(np.pi * j / (n + 1)), np.sqrt(2 / (n + 1)) * np.sin(np.pi * np.outer(j, j) / (n + 1))


def cosines(n):
    """Of the Laplacian of the path."""
    j = np.arange(n)
    q = np.sqrt(2 / n) * np.cos(np.pi * np.outer(j + 0.5, j) / n)
    q[:, 0] /= np.sqrt(2)
    return 2 - 2 * np.cos(np.pi * j / n), q


@pytest.mark.parametrize("name", ["toeplitz", "path"])
def test_chains_whose_vectors_are_waves(name):
    """Along a random direction: gradients ``q_i^2`` and ``2 q_i q_{i+1}``, sums over states beyond them."""
    values, q = {"toeplitz": sines, "path": cosines}[name](N)
    diagonal = np.zeros(N) if name == "toeplitz" else np.r_[1.0, np.full(N - 2, 2.0), 1.0]
    rng = np.random.default_rng(0)
    p, dp = (diagonal, -np.ones(N - 1)), (rng.normal(size=N), rng.normal(size=N - 1))
    found, vectors, moved, gradients, bent = numbers(levels(p, dp))
    gap, v = relative_gap(values, K), dense_tridiagonal(*dp)
    close(found, values[:K], gap=1, scale=4)
    signs = np.sign(np.sum(q[:, :K] * vectors, axis=0))
    close(signs * vectors, q[:, :K], gap)
    close(signs * moved, np.stack([vector_derivative(values, q, j, v) for j in range(K)], axis=1), gap)
    close(gradients[0], (q[:, :K] ** 2).T, gap)
    close(gradients[1], (2 * q[1:, :K] * q[:-1, :K]).T, gap)
    close(against(bent, dp), [level_derivatives(values, q, j, v)[1] for j in range(K)], gap)


def spin_in_a_field():
    """``2 (J_x + h J_z)`` for J = (N - 1)/2; at h = 0 the matrix of Kac, off its diagonal ``sqrt(i (N - i))``.

    Rotated it is diagonal: ``E = 2 m sqrt(1 + h^2)`` for m = -J, .., J.
    """
    h, i = 0.75, np.arange(1, N)
    m = np.arange(N) - (N - 1) / 2
    root = np.sqrt(1 + h**2)
    exact = np.outer([root, h / root, 1 / root**3], 2 * m[:K])
    return (2 * h * m, np.sqrt(i * (N - i))), (2 * m, np.zeros(N - 1)), (np.zeros(N), np.zeros(N - 1)), exact


def kac():
    """The matrix of Kac itself, its field as the direction: levels bend, but have no slope."""
    p, dp, ddp, _ = spin_in_a_field()
    m = np.arange(N) - (N - 1) / 2
    return (0 * p[0], p[1]), dp, ddp, np.outer([1.0, 0, 1], 2 * m[:K])


def oscillator():
    """``(p^2 + w^2 x^2) / 2`` in the even eigenstates of w = 1: ``E = w (2 j + 1/2)``.

    With ``<2m| x^2 |2m> = 2m + 1/2``, ``<2m| x^2 |2m+2> = sqrt((2m+1)(2m+2)) / 2``, p^2 the same with the other sign.
    The states fall off like ``((w-1)/(w+1))^m``: at w = 1.25 what 24 states leave out is below 1e-20.
    """
    w, m = 1.25, np.arange(N)
    diagonal, off = (2 * m + 0.5) / 2, np.sqrt((2 * m + 1) * (2 * m + 2))[:-1] / 4
    exact = np.outer([w, 1, 0], 2 * m[:K] + 0.5)
    squared, slope, bend = w**2, 2 * w, 2
    return (
        ((1 + squared) * diagonal, (squared - 1) * off),
        (slope * diagonal, slope * off),
        (bend * diagonal, bend * off),
        exact,
    )


def avoided_crossing():
    """Two levels ``+-d`` coupled by g below a ladder: ``E = -+sqrt(d^2 + g^2)``, along g."""
    d, g = 0.25, 0.75
    root = np.sqrt(d**2 + g**2)
    diagonal, off = np.r_[-d, d, np.arange(N - 2) + 3.0], np.r_[g, np.zeros(N - 2)]
    bend = d**2 / root**3
    exact = np.array([[-root, root, 3], [-g / root, g / root, 0], [-bend, bend, 0]])
    return (diagonal, off), (np.zeros(N), np.eye(N - 1)[0]), (np.zeros(N), np.zeros(N - 1)), exact


@pytest.mark.parametrize("family", [spin_in_a_field, kac, oscillator, avoided_crossing])
def test_families_of_one_parameter(family):
    """``E``, ``dE`` and ``d^2 E`` by the parameter of p."""
    p, dp, ddp, exact = family()
    values = np.linalg.eigvalsh(dense_tridiagonal(*p))
    found, _, _, gradients, bent = levels(p, dp)
    gap = relative_gap(values, K)
    scale = np.max(np.abs(values))
    norm = np.linalg.norm(dense_tridiagonal(*dp), 2)
    close(found, exact[0], gap=1, scale=scale)
    close(against(gradients, dp), exact[1], gap, scale=norm)
    close(against(bent, dp) + against(gradients, ddp), exact[2], gap, scale=norm**2 / (gap * scale))


# --- multiplets, by functions of other vectors ------------------------------------------------------------------------


def kept_program(make, k, which):
    """``tr exp H`` and the projector of a kept part that may be degenerate, with derivatives along a direction."""

    def kept_part(p):
        Q, H = truncax.invariant_subspace(make(*p), k, which=which, solver=truncax.Lanczos())
        Q = Q.reshape(-1, k)
        trace = jnp.trace(truncax.matrix_function(jnp.exp, H)).real
        return trace, jnp.matmul(Q, jnp.conj(Q.T), precision="highest")

    @jax.jit
    def run(p, dp):
        found, moved = jax.jvp(kept_part, (p,), (dp,))
        _, bent = jax.jvp(jax.grad(lambda p: kept_part(p)[0]), (p,), (dp,))
        return *found, *moved, sum(jnp.sum(b * d) for b, d in zip(bent, dp, strict=True))

    return run


def check_kept(got, values, q, k, v, vv=None):
    """Against divided differences, ``v`` the first and ``vv`` the second derivative of the matrix."""
    trace, projector, slope, moved, second = got
    kept = np.arange(len(values)) < k
    size, norm = np.max(np.abs(values)), np.linalg.norm(v, 2)
    gap = np.min(np.abs(values[:k, None] - values[None, k:])) / size
    d1, d2, dP = kept_derivatives(values, q, kept, v, np.exp, np.exp, np.exp)
    if vv is not None:
        d2 += kept_derivatives(values, q, kept, vv, np.exp, np.exp, np.exp)[0]
    total = np.sum(np.exp(values[kept]))
    close(trace, total, gap=1)
    close(projector, q[:, :k] @ q[:, :k].conj().T, gap)
    close(slope, d1, gap, scale=total * norm)
    close(moved, dP, gap, scale=norm / (gap * size))
    close(second, d2, gap, scale=total * norm**2)


CUBE = (2,) * 5


def cube(x, hopping, potential):
    return potential * x + sum(hopping[b] * jnp.flip(x, b) for b in range(5))


cube_program = kept_program(
    lambda t, v: truncax.linear_operator(cube, t, v, like=jnp.zeros(CUBE), hermitian=True), 6, "LA"
)


@pytest.mark.parametrize("direction", ["hopping", "both"])
def test_hypercube(direction):
    """The adjacency of the cube in 5 dimensions: ``5 - 2 j`` with multiplicity binomial(5, j), Walsh functions."""
    walsh = reduce(np.kron, [np.array([[1.0, 1], [1, -1]])] * 5) / 2**2.5
    ones = np.array([bin(x).count("1") for x in range(32)])
    order = np.argsort(ones, kind="stable")
    values, q = (5.0 - 2 * ones)[order], walsh[:, order]
    rng = np.random.default_rng(0)
    dt, dv = rng.normal(size=5), rng.normal(size=CUBE) * (direction == "both")
    got = cube_program((np.ones(5), np.zeros(CUBE)), (dt, dv))
    flip, none = np.array([[0.0, 1], [1, 0]]), np.eye(2)
    flips = [reduce(np.kron, [flip if b == axis else none for b in range(5)]) for axis in range(5)]
    check_kept(got, values, q, 6, sum(t * f for t, f in zip(dt, flips, strict=True)) + np.diag(dv.ravel()))
    if direction == "hopping":  # the levels sum_b +-t_b cross, and stay where they are
        t = np.sum(dt)
        close(got[2], np.exp(5) * t + np.exp(3) * np.sum(t - 2 * dt), gap=1, scale=np.exp(5) * np.abs(dt).sum())
        close(
            got[4],
            np.exp(5) * t**2 + np.exp(3) * np.sum((t - 2 * dt) ** 2),
            gap=0.4,
            scale=np.exp(5) * np.abs(dt).sum() ** 2,
        )


RING = 20


def ring(x, t, flux, potential):
    hop = jax.lax.complex(-t * jnp.cos(flux / RING), -t * jnp.sin(flux / RING))
    return hop * jnp.roll(x, -1) + jnp.conj(hop) * jnp.roll(x, 1) + potential.astype(x.dtype) * x


ring_program = kept_program(
    lambda *p: truncax.linear_operator(ring, *p, shape=RING, dtype=complex, hermitian=True), 3, "SA"
)


@pytest.mark.parametrize("direction", ["flux", "all"])
@pytest.mark.parametrize("flux", [0.0, 0.5])
def test_ring_with_a_flux(direction, flux):
    """``E_q = -2 t cos((2 pi q + flux) / n)``: without flux, pairs; by the flux, the current and the stiffness."""
    t, n, rng = 0.75, RING, np.random.default_rng(0)
    dt, df, dv = (0.0, 1.0, np.zeros(n)) if direction == "flux" else (0.5, -2.0, rng.normal(size=n))
    got = ring_program((np.array(t), np.array(flux), np.zeros(n)), (np.array(dt), np.array(df), dv))
    momenta = (2 * np.pi * np.arange(n) + flux) / n
    values, q = -2 * t * np.cos(momenta), np.exp(2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / np.sqrt(n)
    order = np.argsort(values, kind="stable")
    phase, step = np.exp(1j * flux / n), np.roll(np.eye(n), 1, axis=1)

    def hopping(h):
        return h * phase * step + np.conj(h * phase) * step.T

    v, vv = hopping(-dt - 1j * t * df / n) + np.diag(dv), hopping(-2j * dt * df / n + t * df**2 / n**2)
    check_kept(got, values[order], q[:, order], 3, v, vv)
    if direction == "flux":
        kept = momenta[order[:3]]
        e, de, dde = -2 * t * np.cos(kept), 2 * t * np.sin(kept) / n, 2 * t * np.cos(kept) / n**2
        close(got[2], np.sum(np.exp(e) * de), gap=0.1, scale=1 / n)
        close(got[4], np.sum(np.exp(e) * (de**2 + dde)), gap=0.1, scale=1 / n)
        assert np.max(np.abs(got[3])) <= tolerance(0.1, factor=50)  # waves they stay


# --- graph Laplacians, as sparse matrices of their edge weights -------------------------------------------------------

NODES = 12
EDGES = np.array([(i, j) for i in range(NODES) for j in range(i)])


@jax.jit
def largest_of_laplacian(weights, dw):
    """Of a graph with all edges, some of weight zero."""
    i, j = EDGES.T
    nodes = np.arange(NODES)
    places = jnp.asarray(np.concatenate([EDGES, EDGES[:, ::-1], np.stack([nodes, nodes], axis=1)]))

    def largest(weights):
        degree = jnp.zeros(NODES).at[i].add(weights).at[j].add(weights)
        entries = BCOO((jnp.concatenate([-weights, -weights, degree]), places), shape=(NODES, NODES))
        return truncax.teigh(entries, 1, which="LA", solver=truncax.Lanczos()).eigenvalues[0]

    (value, gradient), (_, bent) = jax.jvp(jax.value_and_grad(largest), (weights,), (dw,))
    return value, gradient, bent @ dw


def completed(first):
    """An orthonormal basis that starts with these vectors and the constant."""
    q, r = np.linalg.qr(np.column_stack([*first, np.ones(NODES), np.eye(NODES)]))
    independent = np.abs(np.diagonal(r[:, :NODES])) > 1e-9
    assert np.all(independent[: len(first) + 1])
    return q


def laplacian(name):
    """Weights of the edges, eigenvalues and eigenvectors, all in closed form."""
    i, j = EDGES.T
    nodes, heavier = np.arange(NODES), 0.5
    if name == "path":
        values, q = cosines(NODES)
        return 1.0 * (i - j == 1), values[::-1], q[:, ::-1]
    if name == "cycle":
        k = np.arange(NODES)
        values, q = 2 - 2 * np.cos(2 * np.pi * k / NODES), np.exp(2j * np.pi * np.outer(nodes, k) / NODES)
        order = np.argsort(-values)
        return 1.0 * ((i - j == 1) | (i - j == NODES - 1)), values[order], q[:, order] / np.sqrt(NODES)
    if name == "star":
        top = np.r_[NODES - 1, -np.ones(NODES - 1)]
        return 1.0 * (j == 0), np.r_[NODES, 0, np.ones(NODES - 2)], completed([top])
    # All edges, one of them heavier: a largest eigenvalue that is simple.
    top = np.r_[1, -1, np.zeros(NODES - 2)]
    values = np.r_[NODES + 2 * heavier, 0, np.full(NODES - 2, NODES)]
    return 1 + heavier * ((i == 1) & (j == 0)), values, completed([top])


@pytest.mark.parametrize("name", ["path", "cycle", "star", "complete"])
def test_largest_eigenvalue_of_a_laplacian(name):
    """By the weight of each edge, also of those that are not there: ``(q_i - q_j)^2``."""
    weights, values, q = laplacian(name)
    i, j = EDGES.T
    dw = np.random.default_rng(0).normal(size=len(EDGES))
    value, gradient, second = largest_of_laplacian(weights, dw)
    gap = relative_gap(values, 1)
    ends = np.zeros((len(EDGES), NODES))
    ends[np.arange(len(EDGES)), i], ends[np.arange(len(EDGES)), j] = 1, -1
    np.testing.assert_allclose(ends.T @ (weights[:, None] * ends) @ q, q * values, atol=1e-13)
    v = ends.T @ (dw[:, None] * ends)
    close(value, values[0], gap=1)
    close(gradient, np.abs(q[i, 0] - q[j, 0]) ** 2, gap)
    close(second, level_derivatives(values, q, 0, v)[1], gap, scale=np.linalg.norm(v, 2) ** 2 / (gap * values[0]))


# --- the difference matrix, sparse and rectangular --------------------------------------------------------------------


@jax.jit
def largest_triplets(data, direction):
    i = np.arange(N)
    places = jnp.asarray(np.concatenate([np.stack([i, i], axis=1), np.stack([i + 1, i], axis=1)]))

    def values(data):
        return truncax.tsvd(BCOO((data, places), shape=(N + 1, N)), K, solver=truncax.GolubKahan()).S

    gradients, bent = jax.jvp(jax.jacrev(values), (data,), (direction,))
    return values(data), gradients, bent @ direction


def test_difference_matrix():
    """``s_j = 2 sin(j pi / (2 (n + 1)))``, sines on the right and cosines on the left; ``ds/da_ij = u_i v_j``."""
    j = np.arange(N, 0, -1)
    s, v = 2 * np.sin(np.pi * j / (2 * (N + 1))), sines(N)[1][:, ::-1]
    d = np.eye(N + 1, N) - np.eye(N + 1, N, -1)
    u, constant = d @ v / s, np.ones((N + 1, 1)) / np.sqrt(N + 1)
    np.testing.assert_allclose(u.T @ u, np.eye(N), atol=1e-13)
    direction = np.random.default_rng(0).normal(size=2 * N)
    found, gradients, second = largest_triplets(np.r_[np.ones(N), -np.ones(N)], direction)
    gap = relative_gap(s, K)
    close(found, s[:K], gap=1)
    close(gradients, np.concatenate([u[:N, :K] * v[:, :K], u[1:, :K] * v[:, :K]]).T, gap)
    # Singular values are the positive levels of [[0, a], [a^T, 0]].
    moved = np.zeros((N + 1, N))
    moved[np.arange(N), np.arange(N)], moved[np.arange(N) + 1, np.arange(N)] = direction[:N], direction[N:]
    both = np.block([[np.zeros((N + 1, N + 1)), moved], [moved.T, np.zeros((N, N))]])
    q = np.block([[u, u, np.sqrt(2) * constant], [v, -v, np.zeros((N, 1))]]) / np.sqrt(2)
    levels = np.concatenate([s, -s, [0]])
    close(second, [level_derivatives(levels, q, j, both)[1] for j in range(K)], gap)


# --- general matrices -------------------------------------------------------------------------------------------------

CIRCLE = 36


def convolution(x, kernel, potential):
    return jnp.fft.ifft(jnp.fft.fft(kernel) * jnp.fft.fft(x)) + potential * x


def second_derivatives(pairs):
    """``pairs(p)``, its derivative along ``dp`` and the second one."""

    def slope(p, dp):
        return jax.jvp(pairs, (p,), (dp,))

    @jax.jit
    def run(p, dp):
        (found, first), (_, second) = jax.jvp(lambda p: slope(p, dp), (p,), (dp,))
        return found, first, second

    return run


@second_derivatives
def circulant_pairs(p):
    operator = truncax.linear_operator(convolution, *p, shape=CIRCLE, dtype=complex)
    return tuple(truncax.teig(operator, 3, solver=truncax.Arnoldi()))


def kernel(steps):
    return np.array([steps.get(i, 0) for i in range(CIRCLE)], complex)


def walk(p, q):
    """A walk around a ring, p a step ahead and q a step back; a Markov chain."""
    return kernel({0: 1 - p - q, 1: p, CIRCLE - 1: q})


@pytest.mark.parametrize("name", ["complex kernel", "markov chain", "markov chain by its rates"])
def test_circulant(name):
    """Eigenvalues by the Fourier transform of the kernel, which they are linear in; beyond them a potential."""
    rng = np.random.default_rng(0)
    if name == "complex kernel":
        c, dc = kernel({0: 0.25j, 1: 1.5 + 0.5j, 2: 0.5 - 1j}), rng.normal(size=CIRCLE) + 1j * rng.normal(size=CIRCLE)
    else:
        c, dc = walk(0.5, 0.125), walk(1.0, 0.5) - walk(0, 0)
    dv = np.zeros(CIRCLE) if "rates" in name else rng.normal(size=CIRCLE)
    values, x = np.fft.fft(c), np.arange(CIRCLE)
    # The positive imaginary part of a pair first.
    order = np.lexsort((-values.imag, -np.round(np.abs(values), 9)))
    values, q = values[order], np.exp(2j * np.pi * np.outer(x, order) / CIRCLE) / np.sqrt(CIRCLE)
    v = q.conj().T @ np.diag(dv) @ q + np.diag(np.fft.fft(dc)[order])
    d = values[:, None] - values[None, :]
    mixing = np.where(d == 0, 0, v / np.where(d == 0, 1, d).T)  # v_ij / (l_j - l_i)
    found = numbers(circulant_pairs((c, np.zeros(CIRCLE) + 0j), (dc, dv + 0j)))
    (found, r), (slopes, moved), (bent, _) = found
    gap = relative_gap(values, 3)
    # The order within the pair of a kernel that JAX takes for complex is free.
    places = [int(np.argmin(np.abs(values[:3] - value))) for value in found]
    assert sorted(places) == [0, 1, 2]
    phases = np.sum(q[:, places].conj() * r, axis=0)
    close(np.abs(phases), np.ones(3), gap)
    close(found, values[places], gap=1)
    norm = np.linalg.norm(v, 2)
    close(slopes, np.diagonal(v)[places], gap, scale=norm)
    close(moved, (q @ mixing)[:, places] * phases, gap, scale=norm / (gap * np.abs(values[0])))
    close(bent, 2 * np.diagonal(v @ mixing)[places], gap, scale=norm**2 / (gap * np.abs(values[0])))


SIZE = 8


@second_derivatives
def toeplitz_pairs(a):
    values, right, left = truncax.teig(a, 3, which="LR", left=True, solver=truncax.Dense())
    return values, jnp.einsum("ij,kj->jik", jnp.conj(left), right, precision="highest")


def test_toeplitz_that_is_not_normal():
    """``a + 2 sqrt(b c) cos(j pi / (n + 1))``, b above and c below the diagonal, vectors ``(c/b)^(i/2)`` times sines.

    What the eigenvalues' gradients are, ``conj(l_i) r_j``, moves with them: it is the second derivative.
    """
    a, b, c = 0.5, 1.0, 3.0
    root, (waves, q) = np.sqrt(b * c), sines(SIZE)
    values, scaling = a - root * waves, (c / b) ** (np.arange(SIZE) / 2)
    right, left = scaling[:, None] * q, q / scaling[:, None]
    matrix = a * np.eye(SIZE) + b * np.eye(SIZE, k=1) + c * np.eye(SIZE, k=-1)
    np.testing.assert_allclose(matrix @ right, right * values, atol=1e-12)
    gap = relative_gap(values, 3) / np.linalg.cond(right)
    cosines = np.cos(np.pi * np.arange(1, 4) / (SIZE + 1))
    for dp, first, second in (
        (np.eye(SIZE, k=1), root * cosines / b, -root * cosines / (2 * b**2)),  # by b
        (np.random.default_rng(0).normal(size=(SIZE, SIZE)), None, None),
    ):
        v = left.T @ dp @ right
        d = values[:, None] - values[None, :]
        mixing = np.where(d == 0, 0, v / np.where(d == 0, 1, d).T)
        (found, gradients), (slopes, moved), (bent, _) = toeplitz_pairs(matrix, dp)
        close(found, values[:3], gap)
        close(gradients, np.stack([np.outer(left[:, j], right[:, j]) for j in range(3)]), gap)
        close(slopes, np.diagonal(v)[:3], gap, scale=np.linalg.norm(v, 2))
        close(bent, 2 * np.diagonal(v @ mixing)[:3], gap, scale=np.linalg.norm(v, 2) ** 2 / (gap * values[0]))
        dr, dl = right @ mixing, -left @ mixing.T
        expected = [np.outer(dl[:, j], right[:, j]) + np.outer(left[:, j], dr[:, j]) for j in range(3)]
        close(moved, np.stack(expected), gap)
        if first is not None:
            close(slopes, first, gap)
            close(bent, second, gap)


# --- a spin in a magnetic field ---------------------------------------------------------------------------------------

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


@jax.jit
def lower_state(field):
    """The projector on the lower state of ``field . sigma``, with all its first and second derivatives."""

    def projector(field):
        matrix = jnp.tensordot(field.astype(complex), jnp.asarray(PAULI), 1, precision="highest")
        return truncax.spectral_projector(matrix, 1, which="SA")

    return projector(field), jax.jacfwd(projector)(field), jax.jacfwd(jax.jacfwd(projector))(field)


def test_spin_in_a_magnetic_field():
    """``P = (1 - n . sigma) / 2``: its derivatives, the metric and the curvature of a monopole, free of any gauge.

    Source: Berry, Proc. R. Soc. A 392 (1984) 45; Provost and Vallee, Commun. Math. Phys. 76 (1980) 289.
    """
    for field in (np.array([0.5, -1.25, 0.75]), np.array([0.0, 0.0, 2.0])):
        size = np.linalg.norm(field)
        n = field / size
        across = np.eye(3) - np.outer(n, n)
        dn = across / size
        ddn = -(
            np.einsum("ab,c->abc", across, n) + np.einsum("ac,b->abc", across, n) + np.einsum("bc,a->abc", across, n)
        )
        P, dP, ddP = map(np.asarray, lower_state(field))
        close(P, (np.eye(2) - np.tensordot(n, PAULI, 1)) / 2, gap=1)
        close(dP, -np.einsum("ab,aij->ijb", dn, PAULI) / 2, gap=1)
        close(ddP, -np.einsum("abc,aij->ijbc", ddn / size**2, PAULI) / 2, gap=1)
        metric = np.einsum("ija,jib->ab", dP, dP).real / 2
        close(metric, across / (4 * size**2), gap=1)
        curvature = 1j * np.einsum("ij,jka,kib->ab", P, dP, dP)
        curvature = (curvature - curvature.T).real
        monopole = np.cross(np.eye(3), n) / (2 * size**2)
        close(curvature, -monopole, gap=1)
