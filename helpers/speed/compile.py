"""Compile element-wise NumPy functions with Numba, from their own source.

The update rule ::

    def momentum(theta, g, t, u, *, learning_rate=0.01, momentum=0.9):
        u *= momentum
        u += g
        theta -= learning_rate * u

makes a pass over whole vectors for each operation. From its source, `translate` writes two functions that do the same
in one pass, in essence these. The first computes what contains no array, in Python, as NumPy would; the second is
compiled::

    def scalars(t, *, learning_rate, momentum):
        s0 = momentum
        s1 = learning_rate
        return s0, s1

    def loop(theta, g, u, s0, s1):
        s0 = theta.dtype.type(s0)  # NumPy converts a Python number to the type of the array
        s1 = theta.dtype.type(s1)
        for i in range(theta.shape[0]):
            v_theta = theta[i]
            v_g = g[i]
            v_u = u[i]
            v_u = (v_u * s0)
            v_u = (v_u + v_g)
            v_theta = (v_theta - (s1 * v_u))
            theta[i] = v_theta
            u[i] = v_u

A function that returns an expression, such as ``activate(S, b, f)``, writes it to its first argument; functions among
the arguments are inserted. What the translation does not know (a condition, a sum, exp and tanh, whose last bit differs
between libraries) raises `Untranslatable`, and the function runs in NumPy. At its first call, a compiled function is
compared with the original on random numbers; if a value differs, the original is used.
"""

import ast
import functools
import hashlib
import inspect
import math
import re
import sys
import textwrap
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
from numba import njit

from helpers.files import atomic_write

COMPILED = {}  # what compile_function has returned, for all trainings of a process
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
# NumPy's functions as expressions of numbers; a != a holds for NaN
FUNCTIONS = {
    "sqrt": "np.sqrt({0})",
    "abs": "abs({0})",
    "square": "({0} * {0})",
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})",
    "minimum": "({0} if {0} < {1} or {0} != {0} else {1})",
    "where": "({1} if {0} else {2})",
    "sign": "(c1 if {0} > c0 else -c1 if {0} < c0 else c0 if {0} == c0 else {0})",
    "ones_like": "c1",
}


# Names in the functions that are written
OWN_NAMES = re.compile(r"[cs]\d+|v_.*|[ij]|np|abs|float|loop|scalars")


class Untranslatable(Exception):
    """The function contains something that this module does not translate."""


class Translator:
    """Translate the body of one function.

    Attributes
    ----------
    names : dict of str to str
        The Python expression for the element of each array, by the name that the source uses.
    inserted : dict of str to function
        The functions among the arguments.
    before, body, parameters : list of str
        The lines of `scalars`, the lines in the loop, and the names of the scalars that the loop receives.
    constants : list
        The numbers c0, c1, … in the source; the first two are 0 and 1.
    """

    def __init__(self, function, names, inserted):
        self.function, self.names, self.inserted = function, dict(names), inserted
        self.arguments, self.before, self.body, self.parameters, self.constants = {*names}, [], [], [], [0, 1]

    def has_array(self, node):
        """Return whether the value of the expression is an array."""
        return any(isinstance(part, ast.Name) and part.id in {*self.names, *self.inserted} for part in ast.walk(node))

    def scalar(self, node):
        """Return the name of the scalar that holds the value of an expression without arrays."""
        self.check_scalar(node)
        if isinstance(node, ast.Constant):
            self.constants.append(node.value)
            return f"c{len(self.constants) - 1}"
        self.parameters.append(f"s{len(self.parameters)}")
        self.before.append(f"{self.parameters[-1]} = {ast.unparse(node)}")
        return self.parameters[-1]

    def check_scalar(self, node):
        """Raise Untranslatable unless the expression consists of numbers, names and calls."""
        for part in ast.walk(node):
            known = isinstance(part, (ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context))
            number = isinstance(part, ast.Constant) and type(part.value) in (int, float)
            call = isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and not part.keywords
            member = isinstance(part, ast.Attribute) and self.module(part.value) is math
            if not (known or number or call or member or isinstance(part, ast.Name)):
                raise Untranslatable(ast.unparse(node))

    def module(self, node):
        """Return what a name means in the module of the function."""
        return self.function.__globals__.get(node.id) if isinstance(node, ast.Name) else None

    def array(self, node):
        """Return a Python expression for one element of an expression with arrays."""
        if not self.has_array(node):
            return self.scalar(node)
        match node:
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
                return FUNCTIONS["square"].format(self.array(left))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return f"({self.array(left)} {OPERATORS[type(op)]} {self.array(right)})"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"(-{self.array(operand)})"
            case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
                return FUNCTIONS["abs"].format(self.array(argument))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in self.inserted:
                return self.insert(self.inserted[name], [self.array(argument) for argument in arguments])
            case ast.Call(func=ast.Attribute(value=value, attr="copy"), args=[], keywords=[]):
                return self.array(value)
            case ast.Call(func=ast.Attribute(value=value, attr="astype"), args=[ast.Attribute(attr="dtype")]):
                return FUNCTIONS["where"].format(self.condition(value), "c1", "c0")
            case ast.Call(
                func=ast.Attribute(value=value, attr="asarray"), args=[argument, ast.Attribute(attr="dtype")]
            ):
                if self.module(value) is np:
                    return self.array(argument)  # every number in the loop has the type of the arrays
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments, keywords=[]):
                if self.module(value) is np and name in FUNCTIONS:
                    first = self.condition if name == "where" else self.array
                    return FUNCTIONS[name].format(first(arguments[0]), *map(self.array, arguments[1:]))
        raise Untranslatable(ast.unparse(node))

    def condition(self, node):
        """Return a Python expression for one element of a comparison of arrays."""
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return f"({self.array(left)} {COMPARISONS[type(op)]} {self.array(right)})"
        raise Untranslatable(ast.unparse(node))

    def insert(self, function, elements):
        """Return the expression that an inserted function returns for these elements."""
        names = list(inspect.signature(function).parameters)
        if len(names) != len(elements):
            raise Untranslatable(function.__name__)
        inner = Translator(function, dict(zip(names, elements, strict=True)), {})
        inner.constants = self.constants
        body = without_docstring(function)
        if len(body) != 1 or not isinstance(body[0], ast.Return):
            raise Untranslatable(function.__name__)
        expression = inner.array(body[0].value)
        if inner.parameters:  # they would have to be computed in the module of the inserted function
            raise Untranslatable(function.__name__)
        return expression

    def statement(self, node):
        """Translate one statement."""
        match node:
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value) if name in self.names:
                changed = ast.BinOp(ast.Name(name), op, value)
                self.body.append(f"{self.names[name]} = {self.array(changed)}")
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=ast.Slice(None, None, None))]):
                self.body.append(f"{self.names[name]} = {self.array(node.value)}")
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not self.has_array(value):
                if name in self.names:
                    raise Untranslatable(f"{name} changes from an array to a number")
                self.check_scalar(value)
                self.before.append(ast.unparse(node))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name in self.arguments or isinstance(value, ast.Name):  # binds a name, changes no array
                    raise Untranslatable(ast.unparse(node))
                element = self.array(value)
                self.names[name] = f"v_{name}"
                self.body.append(f"v_{name} = {element}")
            case ast.Return(value=ast.expr() as value):
                self.body.append(f"{next(iter(self.names.values()))} = {self.array(value)}")
            case _:
                raise Untranslatable(ast.unparse(node))


def without_docstring(function):
    """Return the statements of the function; Untranslatable if its source is not available."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except Exception as error:  # there is no source, or its file was edited after the import
        raise Untranslatable(str(error)) from None
    if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
        raise Untranslatable(function.__name__)
    if function.__closure__ or hasattr(function, "__wrapped__"):
        raise Untranslatable(function.__name__)
    return tree.body[1:] if ast.get_docstring(tree) is not None else tree.body


def translate(function, arguments):
    """Return the source of `scalars`, or None if the loop needs no scalar, and that of `loop`, for these arguments."""
    names = list(inspect.signature(function).parameters)
    given = dict(zip(names, arguments, strict=False))
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    inserted = {name: value for name, value in given.items() if isinstance(value, FunctionType)}
    translator = Translator(function, {name: f"v_{name}" for name in arrays}, inserted)
    body = without_docstring(function)
    if any(OWN_NAMES.fullmatch(name) for name in function.__code__.co_varnames):
        raise Untranslatable("one of its names has another meaning in the loop")
    returns = any(isinstance(statement, ast.Return) for statement in body)
    if returns and (len(body) > 1 or len(names) > len(arrays) + len(inserted)):  # the result of a rule is not used
        raise Untranslatable("a result besides changed arrays")
    for statement in body:
        translator.statement(statement)
    flat = len({array.shape for array in arrays.values()}) == 1
    element = {name: f"{name}[{'i, j' if array.ndim == 2 else 'j'}]" for name, array in arrays.items()}
    element = {name: f"{name}[i]" for name in arrays} if flat else element
    first = next(iter(arrays))
    load = [f"v_{name} = {element[name]}" for name in arrays]
    store = [f"{element[name]} = v_{name}" for name in arrays if any(f"v_{name} =" in line for line in translator.body)]
    loops = ["for i in range({0}.shape[0]):", *([] if flat else ["    for j in range({0}.shape[1]):"])]
    numbers = [(f"c{i}", value) for i, value in enumerate(translator.constants)]
    numbers += [(name, name) for name in translator.parameters]
    lines = [
        *(f"{name} = {name}.reshape({name}.size)" for name in arrays if flat and arrays[name].ndim > 1),
        *(f"{name} = {first}.dtype.type({value!s})" for name, value in numbers),
        *(line.format(first) for line in loops),
    ]
    lines += ["    " * len(loops) + line for line in (*load, *translator.body, *store)]
    loop = "\n    ".join([f"def loop({', '.join([*arrays, *translator.parameters])}):", *lines])
    if not translator.parameters:
        return None, loop
    keywords = inspect.getfullargspec(function).kwonlyargs
    positional = [name for name in given if name not in {*arrays, *inserted}]
    signature = ", ".join([*positional, *(["*", *keywords] if keywords else [])])
    result = f"return {', '.join(f'float({name})' for name in translator.parameters)},"
    return "\n    ".join([f"def scalars({signature}):", *translator.before, result]), "import numpy as np\n" + loop


@functools.cache
def build(source, on_disk=True):
    """Compile the source of a loop; its file lets Numba keep the machine code on the disk, where that is possible."""
    path = Path(__file__).with_name("__pycache__") / f"loop_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    try:
        if on_disk and not path.exists():
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path) as file:
                file.write(source.encode())
    except OSError:
        on_disk = False
    module = sys.modules[path.stem] = ModuleType(path.stem)  # where Numba looks when it reads its cache
    module.np = np
    exec(compile(source, str(path), "exec"), vars(module))
    return compile_loop(module.loop, on_disk)


def compile_loop(loop, on_disk=True):
    """Compile a loop with Numba; the machine code is kept on the disk where there is a writable folder for it."""
    try:
        return njit(nogil=True, error_model="numpy", cache=on_disk)(loop)
    except RuntimeError:  # no such folder
        return njit(nogil=True, error_model="numpy")(loop)


def compile_function(function, arguments, options):
    """Return a function that does the same, compiled; the function itself if that is not possible.

    Parameters
    ----------
    function : callable
        Changes arrays in place, or returns an expression of them.
    arguments, options : tuple and dict
        Those of its first call: arrays of one type, functions, Python numbers.
    """
    shapes = {argument.shape for argument in arguments if isinstance(argument, np.ndarray)}
    key = (function, len(shapes), *map(kind, (function, *arguments)), *map(kind, options.values()))
    if key not in COMPILED:
        COMPILED[key] = translate_and_build(function, arguments, options)
    return COMPILED[key]


def kind(argument):
    """Return what decides how an argument is compiled."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.c_contiguous
    return (argument, argument.__code__) if isinstance(argument, FunctionType) else type(argument)


def translate_and_build(function, arguments, options):
    """Translate, compile and compare; see `compile_function`."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    if len({array.dtype for array in arrays}) != 1 or not all(array.flags.c_contiguous for array in arrays):
        return function
    try:
        scalars_source, loop_source = translate(function, arguments)
    except (Untranslatable, LookupError):  # LookupError: an unusual number of arguments, an unusual comparison
        return function
    places = [i for i, argument in enumerate(arguments) if isinstance(argument, np.ndarray)]
    numbers = [i for i, a in enumerate(arguments) if not isinstance(a, (np.ndarray, FunctionType))]
    parts, keywords = [f"a{i}" for i in places], "**options" * bool(options)
    namespace = {}
    if scalars_source:
        exec(scalars_source, function.__globals__, namespace)
        namespace["scalars"].__kwdefaults__ = function.__kwdefaults__
        parts.append(f"*scalars({''.join(f'a{i}, ' for i in numbers)}{keywords})")
    # for the rule above: def call(a0, a1, a2, a3, **options): loop(a0, a1, a3, *scalars(a2, **options)); return a0
    names = "".join(f"a{i}, " for i in range(len(arguments)))
    exec(f"def call({names}{keywords}):\n    loop({', '.join(parts)})\n    return a{places[0]}", namespace)

    for on_disk in (True, False):
        try:
            namespace["loop"] = build(loop_source, on_disk)
            return namespace["call"] if agree(function, namespace["call"], arguments, options) else function
        except OSError:  # the disk is full
            continue
        except Exception:  # Numba cannot compile it, or the translation does not fit its arguments
            return function
    return function


def agree(function, compiled, arguments, options):
    """Return whether both functions return, or change, equal random arrays."""
    numbers = [*options.values(), *(a for a in arguments if not isinstance(a, (np.ndarray, FunctionType)))]
    if not all(type(number) in (int, float) for number in numbers):  # NumPy's own scalars have another type
        return False
    rng, ours, theirs = np.random.default_rng(0), [], []
    vectors = all(argument.ndim == 1 for argument in arguments if isinstance(argument, np.ndarray))
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            shape = (7, *argument.shape[1:]) if argument.ndim == 2 else (1000,) if vectors else argument.shape
            argument = (rng.normal(size=shape) * (rng.random(shape) < 0.9)).astype(argument.dtype)
        ours.append(argument.copy() if isinstance(argument, np.ndarray) else argument)
        theirs.append(argument)
    with np.errstate(all="ignore"):
        result, expected = compiled(*ours, **options), function(*theirs, **options)
    pairs = [(result, expected)] if expected is not None else zip(ours, theirs, strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs if isinstance(b, np.ndarray))


@compile_loop
def column_sums(A, out):
    """Write the sum of the rows of A to `out`, row after row, as NumPy does."""
    out[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            out[j] += A[i, j]
