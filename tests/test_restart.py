"""The decision after a cycle: every condition under which an iteration must go on, one at a time."""

import jax.numpy as jnp
import numpy as np
import pytest

from truncax.solvers.restart import Plan, Ritz, first_cycle, next_restart, probe_length

PLAN = Plan(k=3, block=1, ncv=12, size=1000, given=0, callback=None, limit=1000)
TOL = 1e-12
VALUES = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.0, 0.0, 0.0])


def decision(bounds=None, values=VALUES, probed=10, plan=PLAN, options=None, **state):
    """After four more steps of a probe which had taken ``probed``; everything else is as it should be."""
    found = np.zeros(12)
    for i, bound in (bounds or {}).items():
        found[i] = bound
    before = first_cycle(PLAN, jnp.float64)._replace(
        keep=jnp.int32(5), rotate=jnp.zeros((), bool), fresh=jnp.zeros((), bool), steps=jnp.int32(4)
    )
    before = before._replace(probed=jnp.int32(probed), reach=jnp.asarray(0.3), reference=jnp.asarray(VALUES[:3]))
    ritz = Ritz(*map(jnp.asarray, (values, found, values[2] - values, 1.0)))
    gap, filled, tol = (lambda depth: depth), jnp.int32(9), jnp.asarray(TOL)
    return next_restart(before._replace(**state), ritz, plan, gap=gap, filled=filled, tol=tol, **(options or {}))


def test_a_probe_that_shows_nothing_ends_the_iteration():
    assert probe_length(jnp.asarray(0.3), 1000, 1) <= 14
    assert decision().done


@pytest.mark.parametrize(
    "otherwise",
    [
        pytest.param({"bounds": {2: 2 * TOL}}, id="a wanted pair has not converged"),
        pytest.param({"probed": -1}, id="no probe has begun"),
        pytest.param({"probed": 4}, id="the probe was too short"),
        pytest.param({"values": np.r_[1.0, 0.9 + 1e-9, VALUES[2:]]}, id="a better value came"),
        pytest.param({"bounds": {3: 0.02}}, id="the first leftover is not settled"),
        pytest.param({"bounds": {4: 0.05}}, id="a leftover before the last that was kept is on its way"),
    ],
)
def test_an_iteration_goes_on_when(otherwise):
    assert not decision(**otherwise).done


def test_a_basis_of_the_whole_space_ends_the_iteration():
    """Whatever the bounds, which are rounding there: nothing is left to restart with."""
    assert decision(bounds={2: 2 * TOL}, probed=-1, plan=PLAN._replace(size=9)).done


def test_a_leftover_beyond_those_that_were_kept_may_be_on_its_way():
    assert decision(bounds={6: 0.2}).done


def test_only_leftovers_that_are_known_to_many_digits_go_on_beside_a_fresh_block():
    """One that is settled, but not firm, is dropped with those behind it; of the firm ones, half of the room."""
    first, rough = (decision(bounds={4: bound}, probed=-1) for bound in (1e-10, 0.01))
    assert first.fresh
    assert rough.fresh
    assert first.keep == 7
    assert rough.keep == 4


def test_where_only_what_has_converged_is_firm_the_rest_is_dropped():
    converged, known = ({4: bound} for bound in (0.5 * TOL, 1e-10))
    assert decision(bounds=converged, probed=-1, options={"firm": 0.0}).keep == 7
    assert decision(bounds=known, probed=-1, options={"firm": 0.0}).keep == 4


def test_at_both_ends_the_probe_reaches_as_far_as_what_is_kept_of_either():
    """Under "BE" leftovers of the two ends alternate: one end's next is the fourth, at a depth of 0.01."""
    values = VALUES.copy()
    depth = np.array([-0.2, -0.1, 0.0, 0.3, 0.01, 0.4, 0.02, 0.5, 0.03, 0.8, 0.8, 0.8])
    found = np.where(np.arange(12) == 4, 1e-4, 0.0)
    state = first_cycle(PLAN, jnp.float64)._replace(keep=jnp.int32(5), steps=jnp.int32(4))
    ritz = Ritz(*map(jnp.asarray, (values, found, depth, 1.0)))
    after = next_restart(state, ritz, PLAN, gap=lambda depth: depth, filled=jnp.int32(9), tol=jnp.asarray(TOL))
    assert after.fresh
    assert after.keep == 4
    assert after.reach == 0.01
    # What is next to the cut is not the first leftover.
    ritz = ritz._replace(bounds=jnp.asarray(np.where(np.arange(12) == 4, 2e-3, 0.0)))
    again = next_restart(state, ritz, PLAN, gap=lambda depth: depth, filled=jnp.int32(9), tol=jnp.asarray(TOL))
    assert not again.fresh
