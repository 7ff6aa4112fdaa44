"""What makes XLA's compiler quicker where what is compiled runs once: `python tests/xla_flags.py` prints it.

Most of the time of the suite and of the examples is the compiler's. Without its optimisations and its fusion emitters,
which later versions cannot do without, it takes a third of that.
"""

from importlib.metadata import version

FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if tuple(map(int, version("jaxlib").split(".")[:2])) <= (0, 10):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
# What these find for loops and reshapes sends all other passes round again: a sixth of the time of compiling.
FLAGS.append("--xla_disable_hlo_passes=simplify-while-loops,while-loop-invariant-code-motion,reshape-mover")

if __name__ == "__main__":
    print(*FLAGS)
