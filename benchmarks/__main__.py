"""``python -m benchmarks [--quick] [--only NAME] [--list]``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
