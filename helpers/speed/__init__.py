"""The same functions, faster. Without this folder everything works, slower.

engine.py   the engine of a training step: NumPy, or compiled functions
compile.py  compiles element-wise functions of NumPy from their own source
threads.py  the number of BLAS threads
"""
