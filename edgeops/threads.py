"""How many threads a process of ours gives to multiplying matrices: one.

numpy's OpenBLAS starts a thread a core when it is loaded. Each spins for a tenth of a second before it rests, and
holds memory, and nothing in agent or server multiplies matrices that large; runtimes and TensorFlow have threads
of their own.
"""

import os

_VARIABLE = "OPENBLAS_NUM_THREADS"


def multiply_in_one_thread() -> None:
    """Call before numpy is loaded; children inherit it. What the owner of the machine set stays."""
    os.environ.setdefault(_VARIABLE, "1")
