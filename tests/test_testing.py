"""The checker for users: it passes what is right and finds what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from profiles import few

import truncax
from truncax.rules import svd
from truncax.testing import check_derivatives, matrix_of_spectrum, subspace_distance

VALUES = np.r_[3.0, 2.0, 2.0, 1.0, 0.7, 0.5, 0.4, 0.3]
K = 4
A = matrix_of_spectrum(VALUES, (8, 10), dtype="complex128")
H = matrix_of_spectrum(VALUES, hermitian=True, dtype="float64")
FORWARD = {"forward against reverse", "forward against differences"}


@pytest.mark.parametrize(
    ("function", "a", "options"),
    few(
        [
            (truncax.singular_subspaces, A, {"derivative": truncax.Implicit(mode="reverse")}),
            (truncax.teigh, H, {"which": "LA"}),
        ],
        [(truncax.tsvd, A, {}), (truncax.invariant_subspace, H, {"which": "LA"})],
    ),
)
def test_what_is_right_passes(function, a, options):
    report = check_derivatives(function, a, K, directions=1, **options)
    assert report, str(report)
    names = {check.name for check in report.checks}
    assert (names >= FORWARD) == ("derivative" not in options)
    assert report["reverse against differences"].allowed <= 1e-6
    assert ("no forward mode" in str(report)) == ("derivative" in options)


def test_functions_on_pytrees_pass():
    weights = jnp.linspace(0.5, 2, 6)

    def matvec(x, weights, coupling):
        flat = jnp.concatenate([x["a"], x["b"]])
        flat = weights * flat + coupling * (jnp.roll(flat, 1) + jnp.roll(flat, -1))
        return {"a": flat[:2], "b": flat[2:]}

    like = {"a": jnp.ones(2), "b": jnp.ones(4)}
    operator = truncax.linear_operator(matvec, weights, 0.1, like=like, hermitian=True)
    report = check_derivatives(truncax.teigh, operator, 2, which="LA", directions=1)
    assert report, str(report)


def failed(report):
    assert not report
    assert "FAIL" in str(report)
    return {check.name for check in report.checks if not check.passed}


def test_a_rule_without_the_coupling_is_found(mutate):
    def uncoupled(operator, U, V):
        return lambda y: 0 * (U @ (V.conj().T @ y)), lambda x: 0 * (V @ (U.conj().T @ x))

    mutate(svd, "discarded_part", uncoupled)
    assert failed(check_derivatives(truncax.tsvd, A, K, directions=1)) == {
        "forward against differences",
        "reverse against differences",
    }


def test_a_wrong_custom_rule_of_the_user_is_found():
    """A product whose own tangent is half of what it should be."""

    @jax.custom_jvp
    def scaled(x, diagonal):
        return diagonal * x

    scaled.defjvp(lambda primals, tangents: (scaled(*primals), primals[1] * tangents[0] + primals[0] * tangents[1] / 2))
    operator = truncax.linear_operator(scaled, jnp.linspace(1, 2, 8), shape=8, hermitian=True)
    report = check_derivatives(truncax.teigh, operator, 2, which="LA", directions=1)
    assert failed(report) == {"forward against differences", "reverse against differences"}


def test_a_wrong_adjoint_is_found():
    operator = truncax.linear_operator(lambda x: A @ x, rmatvec=lambda y: A.T @ y, shape=(8, 10), dtype="complex128")
    report = check_derivatives(truncax.tsvd, operator.H.H, K, directions=1, on_failure="keep")
    assert "adjoint of the operator" in failed(report)


def test_a_loss_of_the_basis_and_a_split_multiplet_are_found():
    report = check_derivatives(truncax.tsvd, H, 4, loss=lambda r: jnp.sum(jnp.abs(r.U[:2, 1]) ** 2), directions=1)
    assert "gauge defect" in failed(report)
    assert "inverse of the cut gap" in failed(check_derivatives(truncax.tsvd, H, 2, directions=1))


def test_bad_arguments_of_check_derivatives():
    with pytest.raises(TypeError, match="loss must return a real number"):
        check_derivatives(truncax.tsvd, H, 2, loss=lambda r: r.S)
    with pytest.raises(TypeError, match="floating-point arrays"):
        check_derivatives(truncax.tsvd, np.eye(3, dtype=int), 2)


def test_matrices_of_given_spectrum():
    np.testing.assert_allclose(jnp.linalg.svd(A, compute_uv=False), VALUES, rtol=1e-14)
    np.testing.assert_allclose(jnp.linalg.eigvalsh(H), VALUES[::-1], rtol=1e-14)
    assert jnp.array_equal(H, H.T)
    assert matrix_of_spectrum([1.0, 2.0], dtype="float32").dtype == jnp.float32
    assert jnp.any(matrix_of_spectrum(VALUES, (8, 10), dtype="complex128", seed=1) != A)
    for values, options in (([1.0, 2.0], {"shape": (1, 5)}), ([1.0], {"shape": (2, 2), "hermitian": True})):
        with pytest.raises(ValueError, match="values must be a list"):
            matrix_of_spectrum(values, **options)


def test_the_distance_of_subspaces():
    x = jnp.eye(5)[:, :2]
    angle = 1e-9
    y = x.at[:, 0].set(jnp.cos(angle) * x[:, 0] + jnp.sin(angle) * jnp.eye(5)[:, 4])
    np.testing.assert_allclose(subspace_distance(x, y), angle, rtol=1e-6)
    np.testing.assert_allclose(subspace_distance(x, jnp.eye(5)[:, 3:]), 1)
    with pytest.raises(ValueError, match="same shape"):
        subspace_distance(x, x[:, :1])
