"""``python -m truncax [FILE]``: full against truncated, on your matrix."""

from .command.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
