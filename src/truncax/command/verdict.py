"""One sentence that says what was gained."""

from .compare import NO_FULL, Comparison

# A singular value below this times the largest is a zero, for the words of the sentence only.
ZERO = 1e-6


def verdict(c: Comparison) -> str:
    """What was gained, or that nothing was, in one sentence."""
    k, ours, theirs = c.rank, c.truncated, c.full
    if c.in_multiplet:
        advice = f"Use --rank {' or '.join(map(str, c.advice))}." if c.advice else "Try another rank."
        why = f"singular values {k} and {k + 1} are equal" if c.last_value > ZERO else "the matrix has a lower rank"
        return f"The gradient at rank {k} is undefined: {why}. {advice}"
    error = ours.gradient_error
    if error.value is None and error.reason != NO_FULL:
        return f"Truncax gave no gradient ({error.reason}); try a rank with a larger gap."
    if theirs is None:
        return f"Value and gradient take {milliseconds(ours.gradient.median)}; {NO_FULL}, so the gain is not known."
    right = f"right to {error.value:.0e}"
    if theirs.gradient_error.value is None:
        right += ", theirs is NaN"
    factor = theirs.gradient.median / ours.gradient.median
    if factor >= 1.1:
        return f"Value and gradient {factor:.1f} times faster than jnp.linalg.svd (gradient {right})."
    speed = f"{1 / factor:.1f} times slower than" if factor < 0.9 else "about as fast as"
    return (
        f"Value and gradient {speed} jnp.linalg.svd (gradient {right}): "
        "time is gained on larger matrices, with ranks well below a twelfth of the size, and where a gap follows them."
    )


def milliseconds(x: float) -> str:
    """A duration with three digits: ``0.512 ms``, ``139 ms``, ``2.31 s``."""
    return f"{three(x)} s" if x >= 1 else f"{three(1e3 * x)} ms"


def three(x: float) -> str:
    """Three digits, without an exponent for large numbers."""
    return f"{x:.0f}" if x >= 99.95 else f"{x:.3g}"
