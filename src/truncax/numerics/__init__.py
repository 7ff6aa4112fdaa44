"""Products at full precision, tolerances by dtype, orthonormalisation, small dense algebra."""
