"""The compiled engine of training, which computes bitwise the same as NumPy."""

from types import FunctionType

import numpy as np

from helpers.speed.compile import column_sums, compile_function
from helpers.speed.threads import ThreadedEngine


class CompiledEngine(ThreadedEngine):
    """Compiled element-wise functions, and large arrays whose memory is used again.

    The n-th array of a step has the memory of the n-th array of the last step in which it had the same shape and type.
    """

    name = "numba"

    def __init__(self, threads=1):
        super().__init__(threads)
        self.functions, self.arrays, self.used = {}, {}, 0

    def new_step(self):
        """See `Engine`."""
        self.used = 0

    def new_array(self, shape, dtype):
        """See `ThreadedEngine`."""
        self.used += 1
        key = self.used, shape, dtype
        array = self.arrays.get(key)
        if array is None:
            array = self.arrays[key] = np.empty(shape, dtype)
        return array

    def take(self, X, index):
        """See `Engine`."""
        out = self.new_array((len(index), X.shape[1]), X.dtype)
        return X.take(index, axis=0, out=out, mode="clip")  # "clip" writes to `out` without a buffer

    def column_sums(self, A, out):
        """See `Engine`."""
        try:
            if out.size > 1 and A.dtype == out.dtype:  # NumPy adds a single column, or other numbers, in another way
                return column_sums(A, out)
        except OSError:  # at the first call: the disk is full, so that the machine code is kept in memory only
            pass
        return np.sum(A, axis=0, out=out)

    def apply(self, function, /, *arguments, **options):
        """See `Engine`."""
        last = arguments[-1]
        key = (function, last) if type(last) is FunctionType else function
        compiled = self.functions.get(key)
        if compiled is None:
            compiled = self.functions[key] = compile_function(function, arguments, options)
        return compiled(*arguments, **options)
