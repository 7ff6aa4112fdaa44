"""The mutants: one wrong line each, what theory says of it, and the fast tests that must see it.

``mutants.py`` runs them; ``test_mutants.py`` sees to it that none of them is stale.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """``old``, which occurs once in ``file`` below ``src/truncax``, is replaced by ``new``; ``tests`` must fail."""

    name: str
    says: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def mutant(name: str, says: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, says, file, old, new, tests)


# Gradients of vectors and values against full decompositions and closed forms, all orders of one mode in the second.
SVD = "test_degeneracy.py::test_low_rank_approximation_at_a_multiplet[(24, 30)-True]"
SVD_TALL = "test_degeneracy.py::test_low_rank_approximation_at_a_multiplet[(30, 24)-True]"
TSVD = "test_degeneracy.py::test_tsvd_at_a_multiplet[complex]"
SMALLEST = "test_derivatives.py::test_smallest_triplets[(20, 32)-True]"
TEIGH_LA = "test_derivatives.py::test_native_eigensolver[LA-True]"
TEIGH_SA = "test_derivatives.py::test_native_eigensolver[SA-False]"
TEIGH_BE = "test_derivatives.py::test_native_eigensolver[BE-False]"
TEIGH_LM = "test_derivatives.py::test_native_eigensolver[LM-True]"
REVERSE_SVD = "test_reverse.py::test_singular_subspaces[(26, 26)-True]"
REVERSE_WIDE = "test_reverse.py::test_tsvd[LM-(20, 32)-True]"
REVERSE_SMALLEST = "test_reverse.py::test_tsvd[SM-(32, 20)-True]"
REVERSE_EIGH = "test_reverse.py::test_eigenpairs[teigh-LM-True]"
BOTH_MODES = "test_reverse.py::test_adjointness[tsvd-LM-shape0]"
GENERAL = "test_general.py::test_both_modes_agree_and_are_adjoint[LM-False-dense]"
GENERAL_COMPLEX = "test_general.py::test_both_modes_agree_and_are_adjoint[SI-True-dense]"
GENERAL_60 = "test_sixty_digits.py::test_derivatives[general, LM, conjugate pair]"
PENCIL_SHIFT = "test_pencil.py::test_values_and_gradients_are_those_of_the_full_decomposition[shift-True-True-all]"
PENCIL_SMALLEST = (
    "test_pencil.py::test_values_and_gradients_are_those_of_the_full_decomposition[smallest-False-True-all]"
)
SOLVE = "test_complement.py::test_the_solve_inverts_the_operator_on_the_whole_space"
BALANCING = "test_complement.py::test_the_balancing_preconditioner_is_its_formula"
DIRECT = "test_dense.py::test_with_all_leftovers_the_complement_solve_is_direct"
PROBE = "test_restart.py::test_an_iteration_goes_on_when"

SVD_RULE = [
    mutant(
        "svd-coupling",
        "the coupling to what was discarded is dropped: wrong by s_{k+1} / s_k",
        "rules/svd.py",
        "return project_out(U, operator.apply(y))",
        "return 0 * project_out(U, operator.apply(y))",
        SVD,
    ),
    mutant(
        "svd-solve-coupling",
        "the same in the product of the solve alone",
        "rules/svd.py",
        "return operator.apply(project_out(V, operator.apply_adjoint(x)))",
        "return 0 * operator.apply(project_out(V, operator.apply_adjoint(x)))",
        f"{SOLVE}[svd LM-real]",
    ),
    mutant(
        "svd-complement",
        "the complement is dropped completely: wrong by 0.97 to 1",
        "rules/svd.py",
        "return SingularTangent(X, matmul(adjoint(U), dAV),",
        "return SingularTangent(0 * X, matmul(adjoint(U), dAV),",
        SVD,
    ),
    mutant(
        "svd-back-substitution",
        "Y without Ap^H X",
        "rules/svd.py",
        "matmul(Bt + ApH(X), adjoint(Ci))",
        "matmul(Bt, adjoint(Ci))",
        SVD,
    ),
    mutant(
        "svd-right-hand-side",
        "the right-hand side is not projected",
        "rules/svd.py",
        "B, Bt = project_out(U, dAV), project_out(V, dAHU)",
        "B, Bt = dAV, dAHU",
        SVD,
    ),
    mutant(
        "svd-one-sided",
        "a single projection in Ap Ap^H: no convergence below s_k / s_1 = 1e-8",
        "rules/svd.py",
        "return operator.apply(project_out(V, operator.apply_adjoint(x)))",
        "return operator.apply(operator.apply_adjoint(x))",
        "test_complement.py::test_small_kept_values_need_both_projections",
    ),
    mutant(
        "svd-core-diagonal",
        "C is diagonal in the rule: wrong at second order",
        "rules/svd.py",
        "inside = matmul(kept, matmul(C, kept))",
        "inside = jnp.diag(jnp.diagonal(matmul(kept, matmul(C, kept))))",
        REVERSE_SVD,
    ),
    mutant(
        "svd-zero-mask",
        "C is inverted with its zeros: NaN",
        "rules/svd.py",
        "kept = jnp.diag(s > negligible(C.dtype) * size).astype(C.dtype)",
        "kept = jnp.diag(s >= 0).astype(C.dtype)",
        "test_reverse.py::test_kept_zero_values_as_the_other_rule[0-tsvd]",
    ),
    mutant(
        "svd-transposed-core",
        "the transposed problem (m > n) forgets to turn dC back",
        "rules/svd.py",
        "return SingularTangent(flipped.dV, adjoint(flipped.dC), flipped.dU)",
        "return SingularTangent(flipped.dV, flipped.dC.T, flipped.dU)",
        SVD_TALL,
    ),
    mutant(
        "svd-smallest-singular",
        "the smallest values without the shift on span(U): the operator is singular",
        "rules/svd.py",
        "return Ap(ApH(y)) - matmul(y, CCH) + times(x - y, size**2)",
        "return Ap(ApH(y)) - matmul(y, CCH)",
        f"{SOLVE}[svd SM-real]",
    ),
    mutant(
        "svd-smallest-sign",
        "the right-hand side of the smallest values has the wrong sign",
        "rules/svd.py",
        "X = project_out(U, solve(system, -(matmul(B, adjoint(C)) + Ap(Bt)), options))",
        "X = project_out(U, solve(system, matmul(B, adjoint(C)) + Ap(Bt), options))",
        SMALLEST,
    ),
    mutant(
        "svd-spectral",
        "the deflation takes K_j for 1 + s_l^2 / s_j^2",
        "rules/svd.py",
        "spectral = Spectral(one, -jnp.diagonal(G).real, jnp.ones_like(size))",
        "spectral = Spectral(one, jnp.diagonal(G).real, jnp.ones_like(size))",
        f"{SOLVE}[svd LM-real]",
    ),
    mutant(
        "svd-leftover-values",
        "leftovers of the full decomposition are scaled wrong: s in the place of s^2",
        "rules/svd.py",
        "return by_eigenvectors(W, values**2)",
        "return by_eigenvectors(W, values)",
        f"{DIRECT}[tsvd]",
    ),
    mutant(
        "svd-reverse-complement",
        "the hand-written rule without the complement",
        "rules/svd_reverse.py",
        "jnp.concatenate([matmul(U, Cbar) + Z, U], axis=1)",
        "jnp.concatenate([matmul(U, Cbar), U], axis=1)",
        BOTH_MODES,
    ),
    mutant(
        "svd-reverse-coupling",
        "the hand-written rule without Ap^H Z",
        "rules/svd_reverse.py",
        "W = right + ApH(T)",
        "W = right",
        BOTH_MODES,
    ),
    mutant(
        "svd-reverse-coupling-of-the-right-side",
        "the hand-written rule without Ap P_V Vbar",
        "rules/svd_reverse.py",
        "b = project_out(U, Ubar) + Ap(right)",
        "b = project_out(U, Ubar)",
        BOTH_MODES,
    ),
    mutant(
        "svd-reverse-right-hand-side",
        "the hand-written rule with a right-hand side that is not projected",
        "rules/svd_reverse.py",
        "b = project_out(U, Ubar) + Ap(right)",
        "b = Ubar + Ap(right)",
        BOTH_MODES,
    ),
    mutant(
        "svd-reverse-conj",
        "C^-1 in the place of C^-H: wrong at second order",
        "rules/svd_reverse.py",
        "Z = solve(system, matmul(b, adjoint(Ci)), options)",
        "Z = solve(system, matmul(b, Ci), options)",
        REVERSE_SVD,
    ),
    mutant(
        "svd-reverse-transposed-core",
        "the transposed problem forgets the conjugate of Cbar",
        "rules/svd_reverse.py",
        "            adjoint(Cbar),",
        "            Cbar.T,",
        "test_reverse.py::test_adjointness[singular_subspaces-LM-shape3]",
    ),
    mutant(
        "svd-reverse-smallest-sign",
        "the smallest values are solved for T in the place of -T",
        "rules/svd_reverse.py",
        "T = -project_out(U, solve(system, b, options))",
        "T = project_out(U, solve(system, b, options))",
        REVERSE_SMALLEST,
    ),
]

EIGH_RULE = [
    mutant(
        "eigh-solve-coupling",
        "the coupling to what was discarded is dropped in the solve",
        "rules/eigh.py",
        "System(complement, operator.apply, spectral, sign, Q)",
        "System(complement, lambda x: 0 * x, spectral, sign, Q)",
        f"{SOLVE}[LA-real]",
    ),
    mutant(
        "eigh-coupling-of-the-equation",
        "the same in the equation that JAX differentiates: wrong at second order",
        "rules/eigh.py",
        "return times(PAP(y) - matmul(y, H), mask) + times(x - y, sign * shift)",
        "return times(-matmul(y, H), mask) + times(x - y, sign * shift)",
        REVERSE_EIGH,
    ),
    mutant(
        "eigh-singular",
        "the operator is singular on span(Q): a transposed solve is wrong by 60 % and more",
        "rules/eigh.py",
        "return times(PAP(y) - matmul(y, H), mask) + times(x - y, sign * shift)",
        "return times(PAP(y) - matmul(y, H), mask)",
        f"{SOLVE}[LA-real]",
    ),
    mutant(
        "eigh-shift-sign",
        "the shift on span(Q) has the same sign for both ends",
        "rules/eigh.py",
        "return times(PAP(y) - matmul(y, H), mask) + times(x - y, sign * shift)",
        "return times(PAP(y) - matmul(y, H), mask) + times(x - y, shift + 0 * sign)",
        f"{SOLVE}[LA-real]",
    ),
    mutant(
        "eigh-core-diagonal",
        "H is diagonal in the rule: wrong at second order",
        "rules/eigh.py",
        "return times(PAP(y) - matmul(y, H), mask) + times(x - y, sign * shift)",
        "return times(PAP(y) - times(y, jnp.diagonal(H).real), mask) + times(x - y, sign * shift)",
        "test_reverse.py::test_eigenpairs[invariant_subspace-LA-False]",
    ),
    mutant(
        "eigh-complement",
        "the complement is dropped completely",
        "rules/eigh.py",
        "return InvariantTangent(project_out(Q, X), matmul(adjoint(Q), dAQ))",
        "return InvariantTangent(0 * X, matmul(adjoint(Q), dAQ))",
        TEIGH_LA,
    ),
    mutant(
        "eigh-sign-smallest",
        "A - l_j is taken for negative definite beside the smallest",
        "rules/eigh.py",
        'if which == "SA":\n        return jnp.ones_like(values)',
        'if which == "SA":\n        return -jnp.ones_like(values)',
        f"{SOLVE}[SA-real]",
    ),
    mutant(
        "eigh-sign-largest",
        "A - l_j is taken for positive definite beside the largest",
        "rules/eigh.py",
        "return -jnp.ones_like(values)",
        "return jnp.ones_like(values)",
        f"{SOLVE}[LA-real]",
    ),
    mutant(
        "eigh-sign-magnitude",
        "the sign of the largest magnitude does not follow that of l_j",
        "rules/eigh.py",
        "return jnp.where(values < 0, 1, -1).astype(values.dtype)",
        "return -jnp.ones_like(values).astype(values.dtype)",
        f"{SOLVE}[LM-real]",
    ),
    mutant(
        "eigh-sign-both-ends",
        "of an odd number from both ends one more is low",
        "rules/eigh.py",
        "return jnp.where(rank < values.shape[0] // 2, 1, -1).astype(values.dtype)",
        "return jnp.where(rank < (values.shape[0] + 1) // 2, 1, -1).astype(values.dtype)",
        "test_complement.py::test_the_sign_of_an_odd_number_from_both_ends",
    ),
    mutant(
        "eigh-zero-mask",
        "zeros of the largest magnitude are not masked",
        "rules/eigh.py",
        "mask = (~zeros_beside | (jnp.abs(values) > negligible(H.dtype) * size)).astype(values.dtype)",
        "mask = jnp.ones_like(values)",
        "test_reverse.py::test_kept_zero_values_as_the_other_rule[2-teigh]",
        "test_degeneracy.py::test_the_zero_matrix[teigh-True]",
    ),
    mutant(
        "eigh-null-space-mask",
        "zeros are masked under every which: a null space would have no derivative",
        "rules/eigh.py",
        'zeros_beside = (size == 0) | (which == "LM")',
        "zeros_beside = size >= 0",
        "test_degeneracy.py::test_a_null_space_is_a_subspace_like_any_other[solver0-1]",
    ),
    mutant(
        "eigh-spectral",
        "the solve takes K_j for P A P + l_j",
        "rules/eigh.py",
        "jnp.where(mask > 0, -sign * values, shift)",
        "jnp.where(mask > 0, sign * values, shift)",
        f"{SOLVE}[SA-real]",
    ),
    mutant(
        "eigh-not-symmetrised",
        "the tangent of a Hermitian operator is not symmetrised",
        "numerics/derivative.py",
        "tangent = tangent + (along + adjoint_along) / 2",
        "tangent = tangent + along",
        "test_derivatives.py::test_the_gradient_of_a_hermitian_problem_is_hermitian[complex]",
    ),
    mutant(
        "eigh-reverse-not-symmetrised",
        "the cotangent of a Hermitian operator is not symmetrised",
        "operators/operator.py",
        "return (self.inner.apply(x) + self.inner.apply_adjoint(x)) / 2",
        "return self.inner.apply(x)",
        REVERSE_EIGH,
    ),
    mutant(
        "eigh-reverse-complement",
        "the hand-written rule without the complement",
        "rules/eigh_reverse.py",
        "return matmul(Q, Hbar) + project_out(Q, Z)",
        "return matmul(Q, Hbar)",
        "test_reverse.py::test_adjointness[teigh-BE-None]",
    ),
    mutant(
        "eigh-reverse-sign",
        "the hand-written rule with the wrong sign",
        "rules/eigh_reverse.py",
        "-times(project_out(Q, Qbar), mask)",
        "times(project_out(Q, Qbar), mask)",
        "test_reverse.py::test_adjointness[teigh-BE-None]",
    ),
]

KEPT = [
    mutant(
        "lorentz",
        "Lorentzian broadening in the place of a hard threshold: biased wherever it differs",
        "numerics/derivative.py",
        "return jnp.where(apart, 1 / jnp.where(apart, difference, 1), 0)",
        "return difference / jnp.maximum(difference**2 + threshold**2, 1e-300)",
        "test_degeneracy.py::test_degeneracy_rtol_moves_the_threshold",
    ),
    mutant(
        "no-threshold",
        "differences of equal values are divided by",
        "numerics/derivative.py",
        "apart = jnp.abs(difference) > threshold",
        "apart = difference != 0",
        TSVD,
    ),
    mutant(
        "phase-term",
        "without Gp: the phases of complex triplets are left out",
        "numerics/derivative.py",
        "odd = times(m - adjoint(m), sum_quotients(s))",
        "odd = 0 * m",
        TSVD,
    ),
    mutant(
        "phase-term-diagonal",
        "without the diagonal of Gp alone",
        "numerics/derivative.py",
        "odd = times(m - adjoint(m), sum_quotients(s))",
        "odd = times(m - adjoint(m), sum_quotients(s) * (1 - jnp.eye(len(s), dtype=s.dtype)))",
        "test_derivatives.py::test_native_solver[(20, 32)-True]",
    ),
    mutant(
        "phase-term-threshold",
        "Gp is set to zero where Gm is: U V^H is wrong at a multiplet",
        "numerics/derivative.py",
        "odd = times(m - adjoint(m), sum_quotients(s))",
        "odd = times(m - adjoint(m), jnp.where(jnp.abs(s[None, :] - s[:, None]) > threshold, sum_quotients(s), 0))",
        "test_degeneracy.py::test_tsvd_at_a_multiplet[real]",
    ),
    mutant(
        "sum-of-zeros",
        "sums of two zero values are divided by",
        "numerics/derivative.py",
        "nonzero = total > negligible(values.dtype) * jnp.max(values)",
        "nonzero = total >= 0",
        "test_degeneracy.py::test_the_zero_matrix[tsvd-False]",
    ),
    mutant(
        "one-rotation",
        "left and right vectors turn alike",
        "numerics/derivative.py",
        "return (even + odd) / 2, (even - odd) / 2",
        "return (even + odd) / 2, (even + odd) / 2",
        TSVD,
    ),
    mutant(
        "by-the-vectors",
        "U S V^H from single vectors: F = 0 at a multiplet is wrong by 1 to 100 %",
        "functions.py",
        "on_failure, vectors=False)\n    approximation = matmul(matmul(U, C), Vh)",
        "on_failure, vectors=True)\n    approximation = matmul(times(U, C), Vh)",
        "test_kept_part.py::test_low_rank_approximation_and_projector[real]",
    ),
    mutant(
        "divided-differences-zero",
        "divided differences are zero at a tie",
        "numerics/divided.py",
        "return Differences(jnp.where(smooth, integral, quotient),",
        "return Differences(jnp.where(apart, quotient, 0),",
        "test_functions.py::test_divided_differences_in_high_precision[exp]",
    ),
    mutant(
        "divided-differences-integral",
        "the integral is taken where the function is not smooth",
        "numerics/divided.py",
        "smooth = close | agrees | ~apart",
        "smooth = close | agrees | apart | ~apart",
        "test_functions.py::test_divided_differences_in_high_precision[a step between the nodes]",
    ),
    mutant(
        "divided-differences-close",
        "the quotient is taken wherever values differ at all",
        "numerics/divided.py",
        "smooth = close | agrees | ~apart",
        "smooth = ~apart",
        "test_functions.py::test_divided_differences_in_high_precision[exp]",
    ),
    mutant(
        "third-derivative",
        "the third derivative of a matrix function is a silent zero",
        "numerics/derivative.py",
        "    if times_more == 0:\n",
        "    if times_more < 0:\n",
        "test_functions.py::test_a_third_derivative_raises",
    ),
    mutant(
        "stationary",
        "the second derivative of what is stationary does not know that the vectors move",
        "numerics/derivative.py",
        "return stationary(function, x, y), jax.jvp(lambda x: function(x, y), (x,), (dx,))[1]",
        "return stationary(function, x, y), jax.jvp(lambda x: function(x, jax.lax.stop_gradient(y)), (x,), (dx,))[1]",
        "test_kept_part.py::test_derivatives_of_the_discarded_weight[singular_subspaces-True]",
    ),
    mutant(
        "transpose-of-the-product",
        "JAX transposes the Hermitian product itself, and its rule is forgotten at second order",
        "numerics/derivative.py",
        "tangent = tangent + self_adjoint_product(partial(hermitian_product, a), dx)",
        "tangent = tangent + a.apply(dx)",
        "test_mass_operator.py::test_second_derivatives",
    ),
    mutant(
        "gauge-phase-conj",
        "the phase that makes an entry real, without its conjugate",
        "numerics/gauge.py",
        "jnp.conj(largest) / jnp.where(present, size, 1)",
        "largest / jnp.where(present, size, 1)",
        "test_gauge.py::test_losses_of_fixed_phases_match_finite_differences[tsvd-True]",
    ),
    mutant(
        "gauge-spread",
        "the defect does not see U f(S) U^H at a tie",
        "numerics/gauge.py",
        "jnp.abs(antihermitian(m)) ** 2 + spread",
        "jnp.abs(antihermitian(m)) ** 2 + 0 * spread",
        "test_gauge.py::test_the_defect_separates_invariant_losses_from_others[tsvd-False]",
    ),
]

CONJUGATES = [
    mutant(
        "attach-conj-svd",
        "JAX's cotangents are the conjugates of ours",
        "rules/attach.py",
        "Ubar, Cbar, Vbar = map(jnp.conj, cotangents)",
        "Ubar, Cbar, Vbar = cotangents",
        BOTH_MODES,
    ),
    mutant(
        "attach-conj-svd-out",
        "the same on the way out",
        "rules/attach.py",
        "return (*pull(jnp.conj(left)), None, None, None, None, None)",
        "return (*pull(left), None, None, None, None, None)",
        BOTH_MODES,
    ),
    mutant(
        "attach-conj-pairs",
        "the same for eigenpairs and Schur vectors",
        "rules/attach.py",
        "Qbar, Hbar = map(jnp.conj, cotangents)",
        "Qbar, Hbar = cotangents",
        "test_reverse.py::test_adjointness[teigh-BE-None]",
    ),
    mutant(
        "attach-conj-pairs-out",
        "the same on the way out",
        "rules/attach.py",
        "return (*pull(jnp.conj(left)), None, None, None, None)",
        "return (*pull(left), None, None, None, None)",
        GENERAL_COMPLEX,
    ),
    mutant(
        "complex-pair",
        "symmetric=True on complex vectors, without the pair (Re, Im): wrong by 40 %",
        "numerics/linear.py",
        "is_complex = jnp.iscomplexobj(b)",
        "is_complex = False",
        "test_derivatives.py::test_singular_adjointness[tsvd-(20, 32)-True]",
    ),
    mutant(
        "function-adjoint-conj",
        "the adjoint of a function by jax.vjp, without the conjugate",
        "operators/function.py",
        "return jnp.conj(pull(jnp.conj(y))[0])",
        "return pull(y)[0]",
        "test_function.py::test_the_forms_agree_with_the_array[argument-True-all]",
    ),
    mutant(
        "solve-whole",
        "beside a whole basis rounding is solved for",
        "complement/solve.py",
        "whole = kept.shape[0] == kept.shape[1]",
        "whole = kept.shape[0] < kept.shape[1]",
        "test_complement.py::test_beside_a_whole_basis_nothing_is_solved_for",
    ),
    mutant(
        "solve-conj",
        "what is projected out of a row is not conjugated",
        "complement/solve.py",
        "into, back = materialised(jnp.conj(kept)), materialised(kept.T)",
        "into, back = materialised(kept), materialised(kept.T)",
        f"{SOLVE}[LA-complex]",
    ),
    mutant(
        "deflation-conj",
        "the products of the residuals of W are not conjugated",
        "complement/deflation.py",
        "matmul(R.T, jnp.conj(R))",
        "matmul(R.T, R)",
        f"{BALANCING}[scalar-complex]",
    ),
    mutant(
        "preconditioner-conj",
        "the preconditioner sees the conjugates of the vectors",
        "complement/solve.py",
        "inner = lambda r: projected(inverse(r.T).T)",
        "inner = lambda r: projected(jnp.conj(inverse(jnp.conj(r).T)).T)",
        "test_implicit.py::test_a_preconditioner_saves_steps_and_changes_nothing_else[LA-True-function]",
    ),
    mutant(
        "bicgstab-conj",
        "the inner product without its conjugate",
        "complement/bicgstab.py",
        "return jnp.sum(jnp.conj(x) * y)",
        "return jnp.sum(x * y)",
        "test_schur.py::test_coupled_solve",
    ),
    mutant(
        "diagnosis-conj",
        "the diagnosis solves for the conjugate cotangents",
        "rules/at_factors.py",
        "bars = map(jnp.conj, jax.vjp(returned, *core)[1](cotangents))",
        "bars = jax.vjp(returned, *core)[1](cotangents)",
        "test_diagnosis.py::test_cotangents_are_those_of_jax",
    ),
]

GENERAL_RULE = [
    mutant(
        "eig-core-diagonal",
        "T is diagonal in the rule, as of eigenvectors that are orthogonal",
        "rules/eig.py",
        "return project_out(Q, matmul(y, T) - operator.apply(y)) * factors[None, :] + (x - y)",
        "return project_out(Q, y * jnp.diagonal(T)[None, :] - operator.apply(y)) * factors[None, :] + (x - y)",
        GENERAL_60,
    ),
    mutant(
        "eig-coupling",
        "the coupling to what was discarded is dropped",
        "rules/eig.py",
        "return project_out(Q, matmul(y, T) - operator.apply(y)) * factors[None, :] + (x - y)",
        "return project_out(Q, matmul(y, T)) * factors[None, :] + (x - y)",
        GENERAL_60,
    ),
    mutant(
        "eig-kept-rows",
        "dT without Q^H A X",
        "rules/eig.py",
        "return SchurTangent(X, matmul(adjoint(Q), dAQ + operator.apply(X)))",
        "return SchurTangent(X, matmul(adjoint(Q), dAQ))",
        GENERAL_60,
    ),
    mutant(
        "eig-adjoint-conj",
        "the adjoint system without the conjugate of its factors",
        "rules/eig.py",
        "y = inside(z) * jnp.conj(factors)[None, :]",
        "y = inside(z) * factors[None, :]",
        GENERAL,
    ),
    mutant(
        "eig-adjoint-core",
        "the adjoint system with T^T in the place of T^H",
        "rules/eig.py",
        "return inside(matmul(y, adjoint(T)) - operator.apply_adjoint(y)) + (z - inside(z))",
        "return inside(matmul(y, T.T) - operator.apply_adjoint(y)) + (z - inside(z))",
        GENERAL,
    ),
    mutant(
        "eig-half-plane",
        "the spectrum is turned into the wrong half plane: twice the products",
        "rules/eig.py",
        'phase = one if which == "LR" else -one',
        "phase = one",
        "test_general.py::test_the_solves_of_all_sides_cost_the_same",
    ),
    mutant(
        "eig-zero-mask",
        "zeros of the largest magnitude are not masked",
        "rules/eig.py",
        "mask = (~zeros_beside | (jnp.abs(values) > negligible(T.dtype) * size)).astype(size.dtype)",
        "mask = jnp.ones_like(jnp.abs(values))",
        "test_general.py::test_rank_deficient",
    ),
    mutant(
        "eig-reverse-kept-rows",
        "the hand-written rule without A^H Q Tbar",
        "rules/eig_reverse.py",
        "project_out(Q, Qbar + operator.apply_adjoint(inside))",
        "project_out(Q, Qbar)",
        GENERAL,
    ),
    mutant(
        "eig-reverse-conj",
        "the hand-written rule without the conjugate of its factors",
        "rules/eig_reverse.py",
        "return inside + project_out(Q, Z * jnp.conj(factors)[None, :])",
        "return inside + project_out(Q, Z * factors[None, :])",
        GENERAL,
    ),
    mutant(
        "eig-vectors-of-a-normal-matrix",
        "W^H in the place of W^-1: the eigenvectors are taken for orthogonal",
        "numerics/derivative.py",
        "n = times(jnp.linalg.solve(w, matmul(dt, w)), jnp.where(independent(w), 1, jnp.nan))",
        "n = times(matmul(adjoint(w), matmul(dt, w)), jnp.where(independent(w), 1, jnp.nan))",
        GENERAL_60,
    ),
    mutant(
        "eig-length",
        "the vectors do not keep their length and phase",
        "numerics/derivative.py",
        "return (values, w), (jnp.diagonal(n), dw - w * along[None, :])",
        "return (values, w), (jnp.diagonal(n), dw)",
        GENERAL_60,
    ),
    mutant(
        "eig-defective",
        "eigenvectors that are none pass",
        "numerics/derivative.py",
        "jnp.where(independent(w), 1, jnp.nan))",
        "1 + 0 * jnp.where(independent(w), 1.0, 0.0))",
        "test_general.py::test_jordan_blocks_are_nan_and_not_wrong",
    ),
    mutant(
        "left-vectors-conj",
        "the left vectors without the conjugate of the factors",
        "rules/eig.py",
        "return Q + project_out(Q, Z * jnp.conj(factors)[None, :])",
        "return Q + project_out(Q, Z * factors[None, :])",
        "test_general.py::test_left_vectors_spare_the_solve_of_the_values",
    ),
    mutant(
        "left-vectors-unchecked",
        "left vectors that are none pass",
        "rules/eig.py",
        "good = (good | options.keep) & independent(W)",
        "good = (good | True) & independent(W)",
        "test_general.py::test_jordan_blocks_are_nan_and_not_wrong",
    ),
    mutant(
        "left-vectors-quotient",
        "l^T r in the place of l^H r",
        "rules/eig.py",
        "/ jnp.sum(jnp.conj(L) * R, axis=0)",
        "/ jnp.sum(L * R, axis=0)",
        "test_general.py::test_left_vectors_spare_the_solve_of_the_values",
    ),
]

GENERALIZED = [
    mutant(
        "pencil-half",
        "the root of b moves by all of dB F^-H: the term -MB / 2 is wrong",
        "numerics/derivative.py",
        "return jax.jvp(lambda b: b.apply(x), (b,), (db,))[1] / 2",
        "return jax.jvp(lambda b: b.apply(x), (b,), (db,))[1]",
        PENCIL_SMALLEST,
    ),
    mutant(
        "pencil-still",
        "the root of b does not move: the term -MB / 2 is dropped",
        "numerics/derivative.py",
        "return jax.jvp(lambda b: b.apply(x), (b,), (db,))[1] / 2",
        "return 0 * jax.jvp(lambda b: b.apply(x), (b,), (db,))[1]",
        PENCIL_SMALLEST,
    ),
    mutant(
        "pencil-l-b",
        "the term l dB of the shifted operator is dropped",
        "operators/pencil.py",
        "times(x if self.b is None else self.b.apply(x), self.sigma)",
        "times(x if self.b is None else frozen(self.b).apply(x), self.sigma)",
        PENCIL_SHIFT,
    ),
    mutant(
        "pencil-transpose",
        "JAX transposes the product with a root itself, and its rule is forgotten",
        "numerics/derivative.py",
        "return product_with_adjoint(product, adjoint_product, x)",
        "return factor.product(side, x)",
        "test_pencil.py::test_second_derivatives_with_respect_to_both[smallest-True]",
    ),
    mutant(
        "quotient-length",
        "vectors do not follow b: dQ without -Q (Q^H dB Q) / 2",
        "rules/quotient.py",
        "X = matmul(X, inverse_root(matmul(adjoint(X), quotient.b.apply(X)), jnp.int32(X.shape[1])))",
        "X = matmul(X, inverse_root(matmul(adjoint(X), X), jnp.int32(X.shape[1])))",
        "test_mass_operator.py::test_pairs_and_gradients_are_those_of_an_array[LA-True-all-solver0]",
    ),
    mutant(
        "quotient-form",
        "the Rayleigh quotient of B^-1 A without B: not Hermitian",
        "operators/quotient.py",
        "return self.inner.apply(self.apply(x)) if self.shifted else self.inner.apply(x)",
        "return self.apply(x) if self.shifted else self.inner.apply(x)",
        "test_mass_operator.py::test_pairs_and_gradients_are_those_of_an_array[above-False-all-solver2]",
    ),
    mutant(
        "quotient-adjoint",
        "the adjoint of B^-1 A in the order of B^-1 A",
        "operators/quotient.py",
        "return self.inner.apply(self.inverse.apply(y))",
        "return self.inverse.apply(self.inner.apply(y))",
        "test_mass_operator.py::test_pairs_and_gradients_are_those_of_an_array[LA-True-all-solver0]",
    ),
]

MUTANTS_OF_RULES = [*SVD_RULE, *EIGH_RULE, *KEPT, *CONJUGATES, *GENERAL_RULE, *GENERALIZED]
