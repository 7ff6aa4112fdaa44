"""Linear solves in the complement of the kept vectors: where the derivative gets its correction from."""
