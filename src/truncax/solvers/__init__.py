"""Forward solvers: they find k pairs and are never differentiated."""
