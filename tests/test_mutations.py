"""Rules that are wrong in the ways the theory lists; the checks must catch every one.

A rule without the coupling to the discarded space passes any test of the values alone, and any test of
vectors on a spectrum that falls fast.
"""

import checks
import jax
import pytest
from checks import check_adjoint, check_gradient, check_orders, eigh_problem, svd_problem
from profiles import crossed

import truncax
from truncax.numerics import derivative
from truncax.rules import attach, eigh, svd


def zero_like(x):
    return 0 * x


SVD_CHECKS = {
    "tsvd": (checks.tsvd_loss, checks.full_svd_loss),
    "singular_subspaces": (checks.approximation_loss, checks.full_approximation_loss),
}
EIGH_CHECKS = {
    "teigh": (checks.teigh_loss, checks.full_eigh_loss),
    "invariant_subspace": (checks.invariant_loss, checks.full_invariant_loss),
}


@crossed("name, shape, complex_", SVD_CHECKS, checks.SHAPES, [True, False], rows=4)
def test_dropping_the_coupling_of_singular_vectors_is_caught(mutate, name, shape, complex_):
    def uncoupled(operator, U, V):
        return lambda y: zero_like(U @ (V.conj().T @ y)), lambda x: zero_like(V @ (U.conj().T @ x))

    mutate(svd, "discarded_part", uncoupled)
    with pytest.raises(AssertionError):
        check_gradient(*SVD_CHECKS[name], svd_problem(shape, complex_))


@crossed("name, which, complex_", EIGH_CHECKS, ["LM", "LA", "SA", "BE"], [True, False], rows=5)
def test_dropping_the_coupling_of_eigenvectors_is_caught(mutate, name, which, complex_):
    right = eigh.invariant_system

    def uncoupled(*arguments):
        found = right(*arguments)
        return found._replace(system=found.system._replace(product=zero_like))

    mutate(eigh, "invariant_system", uncoupled)
    loss, reference = EIGH_CHECKS[name]
    with pytest.raises(AssertionError):
        check_gradient(loss(which), reference(which), eigh_problem(which, complex_))


def test_dropping_the_coupling_is_seen_by_every_order(mutate):
    def uncoupled(operator, U, V):
        return lambda y: zero_like(U @ (V.T @ y)), lambda x: zero_like(V @ (U.T @ x))

    mutate(svd, "discarded_part", uncoupled)
    problem = svd_problem((26, 26), False)
    got, expected = (checks.derivatives(f)(*problem) for f in (checks.tsvd_loss, checks.full_svd_loss))
    for name in got:
        assert checks.error(got[name], expected[name]) > 1e-2, name


def test_a_missing_phase_term_is_caught(mutate):
    def without_phase(s, m, rtol):
        symmetric = m + m.conj().T
        even = symmetric * derivative.difference_quotients(s, rtol).astype(m.dtype)
        return even / 2, even / 2

    mutate(derivative, "singular_rotations", without_phase)
    with pytest.raises(AssertionError):
        check_gradient(checks.tsvd_loss, checks.full_svd_loss, svd_problem((26, 26), True))


def test_a_rule_with_a_diagonal_core_is_caught_at_second_order(mutate):
    """``C`` must stay a matrix in the rule, although its value is diagonal."""
    import jax.numpy as jnp

    right = svd.singular_tangent

    def diagonal(operator, U, C, V, dAV, dAHU, **options):
        return right(operator, U, jnp.diag(jnp.diagonal(C)), V, dAV, dAHU, **options)

    mutate(attach, "singular_tangent", diagonal)
    with pytest.raises(AssertionError, match=r"hvp|third"):
        check_orders(checks.approximation_loss, checks.full_approximation_loss, svd_problem((26, 26), False))


def test_an_operator_that_is_singular_on_the_kept_space_is_caught(mutate):
    """Without the shift, and with the right-hand side left as it is, the transposed solve is wrong."""
    from truncax.complement.cg import block_cg
    from truncax.numerics.products import adjoint, matmul, times

    def singular(operator, Q, H, dAQ, *, size, which, options):
        sign = eigh.definite_sign(jax.numpy.diagonal(H).real, which)

        def solve(mv, b):
            signed = lambda x: times(mv(x.T), sign).T  # noqa: E731
            return block_cg(signed, times(b, sign).T, tol=options.tol, max_steps=options.max_steps).x.T

        def matvec(x):
            return operator.apply(x) - matmul(x, H)

        b = -(dAQ - matmul(Q, matmul(adjoint(Q), dAQ)))
        X = jax.lax.custom_linear_solve(matvec, b, solve, symmetric=True)
        return eigh.InvariantTangent(X, matmul(adjoint(Q), dAQ))

    mutate(attach, "invariant_tangent", singular)
    with pytest.raises(AssertionError):
        check_gradient(checks.teigh_loss("LA"), checks.full_eigh_loss("LA"), eigh_problem("LA", False))


def test_a_tangent_that_is_not_symmetrised_is_caught(mutate):
    from truncax.operators.operator import Hermitian

    mutate(Hermitian, "apply", lambda self, x: self.inner.apply(x))
    a, w, *_ = eigh_problem("LA", False)
    gradient = jax.jit(jax.grad(lambda x: checks.pair_loss(*truncax.teigh(x, checks.K, which="LA"), w)))(a)
    assert abs(gradient - gradient.T).max() > 1e-2
    with pytest.raises(AssertionError):
        check_gradient(checks.teigh_loss("LA"), checks.full_eigh_loss("LA"), eigh_problem("LA", False))


def test_a_complex_solve_that_forgets_the_pair_is_caught(mutate):
    """``symmetric=True`` on complex vectors: the tangent is right, the gradient is not."""
    from truncax.complement.cg import block_cg
    from truncax.numerics.products import times

    def complex_symmetric(system, b, options):
        def solve(mv, rhs):
            return block_cg(
                lambda x: times(mv(x.T), system.sign).T,
                times(rhs, system.sign).T,
                tol=options.tol,
                max_steps=options.max_steps,
            ).x.T

        return jax.lax.custom_linear_solve(system.matvec, b, solve, symmetric=True)

    mutate(svd, "solve_self_adjoint", complex_symmetric)
    with pytest.raises(AssertionError):
        check_adjoint(
            lambda a: truncax.singular_subspaces(a, checks.K, solver=truncax.Dense()), svd_problem((26, 26), True)[0]
        )
