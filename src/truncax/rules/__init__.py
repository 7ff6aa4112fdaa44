"""Derivative rules: pure formulas of the operator, the kept factors and a tangent; ``attach`` joins them to JAX."""
