"""Values, gradients and Hessian products against differences in 60 digits, stored in ``sixty_digits.json``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sixty_digits
from checks import adjoint, mm
from profiles import few
from references import EPS, error, tolerance
from sixty_digits import CASES, PHASED, WEIGHTS, stored

import truncax


def weighted(values, left, w, right):
    diagonal = jnp.sum(jnp.conj(left) * mm(w, right), axis=0).real
    return jnp.sum(jnp.asarray(WEIGHTS[: len(values)], values.dtype) * jnp.exp(values) * diagonal)


def reconstruction(left, middle, right, w):
    cubed = mm(middle, adjoint(middle), middle)
    return jnp.sum((jnp.conj(w) * mm(left, middle + cubed, right)).real)


def loss(case, mode):
    """The same as in ``sixty_digits``, by the library."""
    k, options = case.k, case.options | {"derivative": truncax.Implicit(mode=mode, tol=1e-15)}

    def function(a, w):
        if case.function == "tsvd":
            U, S, Vh = truncax.tsvd(a, k, **options)
            return weighted(S, U, w, adjoint(Vh))
        if case.function == "singular_subspaces":
            return reconstruction(*truncax.singular_subspaces(a, k, **options), w)
        if case.function == "teigh":
            values, Q = truncax.teigh(a, k, **options)
            return weighted(values, Q, w, Q)
        if case.function == "invariant_subspace":
            Q, H = truncax.invariant_subspace(a, k, **options)
            return reconstruction(Q, H, adjoint(Q), w)
        if case.function == "pencil":
            n = a.shape[1]
            values, x = truncax.teigh(a[:n], k, b=a[n:], **options)
            return weighted(values, x, w, x)
        values, r, *left = truncax.teig(a, k, **options)
        w = w.astype(r.dtype)
        quadratic = jnp.sum(jnp.conj(r) * mm(w, r), axis=0)
        z = values**2 + quadratic * jnp.conj(quadratic)
        for x in left:
            z = z + jnp.sum(jnp.conj(x) * mm(w, r), axis=0) ** 2
        return jnp.sum(jnp.asarray(PHASED[:k], z.dtype) * z).real

    return function


def allowed(case, a):
    """``c eps scale / gap``, times the condition of the eigenvectors."""
    condition = 1.0
    if case.function == "pencil":
        condition = np.sqrt(np.linalg.cond(a[a.shape[1] :]))
    elif case.function == "teig":
        condition = np.linalg.cond(np.linalg.eig(a)[1])
    return tolerance(case.gap / np.max(np.abs(case.spectrum)), factor=20 * condition)


def relative(x, reference):
    return abs(float(x) / float(reference) - 1)


# A third of them says again of other numbers what the first say.
SECOND = ["triplets, tall, all", "triplets, tall, one, complex", "pairs, SA", "pencil, SA", "pencil, shift, complex"]


@pytest.mark.parametrize("name", few([name for name in CASES if name not in SECOND], SECOND))
def test_derivatives(name):
    case, exact = CASES[name], stored()[name]
    a, w, d = (jnp.asarray(exact[key]) for key in ("a", "weights", "direction"))

    @jax.jit
    def run(a, w, d):
        f, reverse = loss(case, "all"), jax.value_and_grad(loss(case, "reverse"))
        gradient, product = jax.jvp(jax.grad(f), (a, w), (d, jnp.zeros_like(w)))
        return gradient, product, jax.jvp(f, (a, w), (d, jnp.zeros_like(w)))[1], *reverse(a, w)

    gradient, product, slope, value, reverse = run(a, w, d)
    bound = allowed(case, exact["a"])
    assert relative(value, exact["value"]) <= bound
    assert error(gradient, exact["gradient"]) <= bound
    assert error(reverse, exact["gradient"]) <= bound
    assert abs(slope - np.sum(exact["gradient"] * exact["direction"]).real) <= bound * np.linalg.norm(
        exact["gradient"]
    ) * np.linalg.norm(exact["direction"])
    assert error(product, exact["product"]) <= bound


@pytest.mark.parametrize("name", CASES)
def test_the_data_are_those_of_the_script(name):
    exact = stored()[name]
    for key, x in zip(("a", "weights", "direction"), sixty_digits.inputs(name), strict=True):
        np.testing.assert_array_equal(x, exact[key])
    assert relative(sixty_digits.value(name), exact["value"]) <= EPS


@pytest.mark.parametrize("name", ["triplets, square", "subspace, degenerate, complex", "pencil, SA"])
def test_the_script_makes_the_data(name):
    """One entry of each derivative."""
    place = (1, 2)
    for key, x in sixty_digits.derivatives(name, [place]).items():
        np.testing.assert_allclose(x[place], stored()[name][key][place], rtol=2 * EPS)
