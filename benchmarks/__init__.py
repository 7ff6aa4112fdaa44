"""``python -m benchmarks``: full against truncated and against our peers, on made and on real matrices.

The other scripts of this folder are studies of one question each; they run by their own names.
"""
