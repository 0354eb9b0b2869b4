"""The checks of the notebook's exercises.

A check runs the student's function, compares it with a numerical derivative or a reference, and prints what is wrong in
words; it raises nothing, so that a notebook with open exercises runs to its end. The cell as delivered has ``...`` in
place of a value and NotImplementedError in a function; its check says only that the exercise was not attempted.
"""

import functools
import inspect
import math
from dataclasses import replace
from numbers import Real
from types import SimpleNamespace

import numpy as np

from helpers.experiment.metrics import predict
from helpers.experiment.run import TrainingDiverged, model_train
from helpers.lesson import figures
from helpers.lesson.interactive import first_boot, transform
from helpers.nn import functions
from helpers.nn.initialization import intial_weights
from helpers.nn.network import backward_propagation, forward_propagation
from helpers.nn.optimizers import init_state

GUESSES = {}  # question: whether the guess was close to what was measured
NUMBERS = {  # what is asked for: the answer, and a hint
    "loss of 100 classes": (math.log(100), "Each of the 100 classes has a probability of 1/100."),
    "squared error": (0.09, "Of the ten differences, nine are 1/10 and one is 9/10."),
    "parameters": (109_386, "Add the weights and the biases of all three layers."),
    "largest learning rate": (1.0, "Along y, where it is steepest, each step multiplies the distance by 1 − 2η."),
}


def check(compare):
    """Turn a function that returns a problem in words, or None, into a check that prints the result."""

    @functools.wraps(compare)
    def run(*arguments, **keywords):
        try:
            if any(argument is ... for argument in arguments):
                raise NotImplementedError
            problem = compare(*arguments, **keywords)
        except NotImplementedError:
            print("Not attempted yet.")
            return
        except Exception as error:  # whatever the student's code raises
            problem = f"your code raises {type(error).__name__}: {error}."
            if any(word in str(error) for word in ("matmul", "broadcast", "aligned")):
                problem += " Print the shapes of both factors: is a transpose missing?"
        print(f"Not yet: {problem}" if problem else "Correct.")

    return run


def compare(question, guess, measured, within=0.0):
    """Print a guess beside what was measured: a number, from which it may differ by `within`, or a name."""
    number = isinstance(measured, Real)
    text = f"{measured:.2f}" if number else str(measured)
    if guess is ...:
        GUESSES.pop(question, None)
        print(f"{question}: {text}. You made no guess.")
        return
    try:
        close = abs(float(guess) - measured) <= within if number else same_name(guess, measured)
    except (TypeError, ValueError):  # not a number
        close = False
    GUESSES[question] = close
    print(f"{question}: {text}. You guessed {guess}: {'close' if close else 'a surprise'}.")


def same_name(name, other):
    """Return whether two names are the same but for letter case and spaces around them."""
    return str(name).strip().lower() == str(other).strip().lower()


def score():
    """Print how many of the guesses were close."""
    if not GUESSES:
        print("You made no guesses. In a second reading, replace each `guess = ...` before you run what follows.")
        return
    surprises = [question for question, close in GUESSES.items() if not close]
    print(f"{len(GUESSES) - len(surprises)} of your {len(GUESSES)} guesses were close.")
    if surprises:
        print(f"There is most to learn where you were surprised: {'; '.join(surprises)}.")


def difference(name, value, expected, N=1):
    """Return in words how an array differs from the expected one; None if it does not."""
    if value is ...:
        raise NotImplementedError
    if value is None:
        return f"{name} is None. Does the function return it?"
    value = np.asarray(value)
    if value.shape != expected.shape:
        hint = "Did you swap the two factors of the product, or forget a transpose?"
        if value.ndim != expected.ndim or expected.ndim == 1:
            hint = "Over which axis must the sum run, and is keepdims needed?"
        return f"{name} has the shape {value.shape}; it must have {expected.shape}. {hint}"
    if not np.isfinite(value).all():
        return f"{name} contains NaN or infinity."
    close = functools.partial(np.allclose, rtol=1e-4, atol=1e-7)
    if close(value, expected):
        return None
    if close(-value, expected):
        return f"{name} has the wrong sign."
    if N > 1 and (close(value, N * expected) or close(N * value, expected)):
        size = "large" if abs(value).sum() > abs(expected).sum() else "small"
        return f"{name} is {N} times too {size}, and there are {N} samples. Where does a factor 1/N belong?"
    i = np.unravel_index(abs(value - expected).argmax(), value.shape)
    place = f"[{', '.join(map(str, i))}]" if i else ""
    return f"{name}{place} is {value[i]:.6g}; the numerical derivative is {expected[i]:.6g}."


def numerical_gradient(loss, theta, epsilon=1e-6):
    """Return the central differences (L(θᵢ + ε) − L(θᵢ − ε)) / 2ε for each entry of `theta`, which is restored."""
    gradient = np.empty_like(theta)
    for i in np.ndindex(theta.shape):
        value = theta[i]
        theta[i] = value + epsilon
        upper = loss()
        theta[i] = value - epsilon
        gradient[i] = (upper - loss()) / (2 * epsilon)
        theta[i] = value
    return gradient


@check
def check_derivative(f, derivative):
    """Check a derivative that is written in terms of the output H = f(A) of the function."""
    A = np.linspace(-3, 3, 13)
    H, expected = f(A), (f(A + 1e-6) - f(A - 1e-6)) / 2e-6
    value = derivative(H.copy())
    problem = difference("the derivative", value, expected)
    if problem is None or value is None:
        return problem
    if np.shape(value) != A.shape:
        return f"the derivative has the shape {np.shape(value)}; it must have that of H, {A.shape}."
    if np.allclose(derivative(A.copy()), expected, rtol=1e-4):
        return "your formula is right in terms of a; write it in terms of h = f(a)."
    i = abs(value - expected).argmax()
    at = f"at a = {A[i]:g}, where h = {H[i]:.4f}, it is {value[i]:.4f}; the numerical derivative is {expected[i]:.4f}."
    return at if problem.startswith("the derivative[") else problem


@check
def check_number(name, value):
    """Check the answer to a question of `NUMBERS`, to three digits; a count must be exact."""
    expected, hint = NUMBERS[name]
    if np.ndim(value) or not isinstance(number := np.asarray(value).item(), (int, float)) or isinstance(number, bool):
        return f"{value!r} is not a number."
    tolerance = 0 if isinstance(expected, int) else 0.005
    return None if math.isclose(number, expected, rel_tol=tolerance) else f"{number:.10g} is not the answer. {hint}"


@check
def check_standard_deviation(deviation, width, layers=10):
    """Check a standard deviation of the weights for a network of ReLU layers of one width."""
    deviation = float(deviation)
    if not 0 < deviation < 1000:
        return f"{deviation:g} is not a standard deviation of weights."
    # Each layer multiplies the mean square by its expected value, width σ²/2: ReLU sets half of them to zero
    ratio = (deviation * math.sqrt(width / 2)) ** layers
    if 0.9 < ratio < 1.1:
        return None
    direction = "grow" if ratio > 1 else "shrink"
    return f"with {deviation:g} the activations {direction} to {ratio:.2g} times their size in {layers} layers."


@check
def check_output_gradient(function):
    """Check the gradient of the cross-entropy with respect to the logits, a function of Ŷ and Y."""
    rng = np.random.default_rng(0)
    for N in (5, 7):
        A, Y = rng.normal(size=(N, 3)), np.eye(3)[np.arange(N) % 3]
        expected = numerical_gradient(lambda A=A, Y=Y: functions.cross_entropy(functions.softmax(A), Y), A)
        problem = difference("dA", function(functions.softmax(A), Y), expected, N)
        if problem:
            return f"with 5 samples it is correct, but with 7: {problem}" if N == 7 else problem
    return None


@check
def check_layer_gradients(function):
    """Check the backward pass of one affine layer, a function of H, W and dA that returns dW, db and dH."""
    rng = np.random.default_rng(0)
    H, W, b, dA = (rng.normal(size=shape) for shape in ((5, 4), (4, 3), 3, (5, 3)))
    result = function(H.copy(), W.copy(), dA.copy())
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        return "the function must return three arrays: return dW, db, dH"
    shapes = [np.shape(value) for value in result]
    if shapes != [W.shape, b.shape, H.shape] and sorted(shapes) == sorted([W.shape, b.shape, H.shape]):
        return "the three arrays are in another order: return dW, db, dH"
    for name, value, array in zip(("dW", "db", "dH"), result, (W, b, H), strict=True):
        expected = numerical_gradient(lambda: float(np.sum(dA * (H @ W + b))), array)
        problem = difference(name, value, expected, N=5)
        if problem:
            return problem
    return None


@check
def check_training(data, output_gradient, layer_gradients, update, images=5000, batch_size=50, learning_rate=0.15):
    """Train 784-64-64-10 for an epoch with the functions of the reader beside those of `helpers`; plot both losses.

    ``update(theta, g, learning_rate)`` changes an array of parameters in place. The learning rate is not that of
    the notebook's own loop, so that an update with a fixed rate differs.
    """

    def ours(params, H, Y):
        return backward_propagation(params, H, Y, "ReLU", "cross_entropy").layers

    def yours(params, H, Y):
        gradients, dA = [], np.asarray(output_gradient(H[-1].copy(), Y.copy()))
        for k in reversed(range(len(params.layers))):
            dW, db, dH = map(np.asarray, layer_gradients(H[k].copy(), params.layers[k][0].copy(), dA))
            gradients.insert(0, (dW, db))
            dA = dH * (H[k] > 0)
        return gradients

    def sgd(theta, g, learning_rate):
        theta -= learning_rate * g

    losses = {}
    for name, backward, step in (("yours", yours, update), ("the package", ours, sgd)):
        params, losses[name] = intial_weights(2, 64, "He", dtype=np.float64), []
        for start in range(0, min(images, len(data.x_train)), batch_size):
            X, Y = (array[start : start + batch_size].astype(float) for array in (data.x_train, data.y_train))
            H = forward_propagation(params, X, "ReLU")
            losses[name].append(float(functions.cross_entropy(H[-1], Y)))
            for arrays, gradients in zip(params.layers, backward(params, H, Y), strict=True):
                for array, gradient in zip(arrays, gradients, strict=True):
                    step(array, gradient, learning_rate)
    (*_, last), (*_, expected) = losses.values()
    figures.lines(losses, "Training with your code and with the package", data.name, xlabel="step", ylabel="loss")
    if np.allclose(losses["yours"], losses["the package"], rtol=1e-4):
        return None
    first = int(np.argmax(~np.isclose(losses["yours"], losses["the package"], rtol=1e-4)))
    text = f"the loss differs from that of the package from step {first + 1} on, and ends at {last:.3g} instead of "
    return f"{text}{expected:.3g}. Are both gradients accepted in section 4, and does the update change theta?"


def eve(
    theta, g, t, m, v, d, f, *, loss, learning_rate=0.001, beta1=0.9, beta2=0.999, beta3=0.999, c=10.0, epsilon=1e-8
):
    """Eve: d ← β₃d + (1−β₃) clip(|L − f| / min(L, f), 1/c, c);  θ ← θ − (η/d) m̂ / (√v̂ + ε).

    Hayashi, Koushik & Neubig 2016, with L* = 0. m̂ and v̂ are those of Adam, and d = 1 for t = 1. `loss` is L of
    this step; d and f, the loss of the step before, hold the same number in every entry.
    """
    m[:] = beta1 * m + (1 - beta1) * g
    v[:] = beta2 * v + (1 - beta2) * g**2
    if t == 1:
        d[:] = 1
    else:
        d[:] = beta3 * d + (1 - beta3) * np.clip(abs(loss - f) / np.minimum(loss, f), 1 / c, c)
    f[:] = loss
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    theta -= learning_rate / d * m_hat / (np.sqrt(v_hat) + epsilon)


@check
def check_optimizer(rule, reference=eve, **hyperparameters):
    """Check an update rule against a reference with the same signature, step by step."""
    names, wanted = (list(inspect.signature(each).parameters)[3:] for each in (rule, reference))
    names, wanted = (each[: len(init_state(f, np.zeros(1)))] for each, f in ((names, rule), (wanted, reference)))
    if sorted(names) != sorted(wanted):
        return f"the state, between t and *, is {', '.join(names) or 'empty'}; it must be {', '.join(wanted)}."
    for scale in (1, 1e-8):
        problem = first_difference(rule, reference, names, wanted, scale, hyperparameters)
        if problem:
            tiny = "with gradients of 1e-8, as small as ε, "
            return problem if scale == 1 else f"{tiny}{problem} Where does ε stand: outside the root?"
    others = {name: value * (0.9 - k / 20) for k, (name, value) in enumerate(reference.__kwdefaults__.items())}
    problem = first_difference(rule, reference, names, wanted, 1, others | hyperparameters)
    return problem and f"with other hyperparameters, {problem} Is each used where it belongs?"


def first_difference(rule, reference, names, wanted, scale, hyperparameters):
    """Return in words the first difference between two rules with these states, for gradients of this scale."""
    rng = np.random.default_rng(0)
    ours, theirs = (SimpleNamespace(theta=scale * np.array([1.0, -2.0, 3.0])) for _ in range(2))
    ours.state, theirs.state = init_state(rule, ours.theta), init_state(reference, theirs.theta)
    expected_state = dict(zip(wanted, theirs.state, strict=True))
    for t, loss in enumerate((2.0, 1.0, 15.0, 14.9, 3.0), 1):  # their changes are in, above and below Eve's clip
        g, before = scale * rng.normal(size=3), [ours.theta.copy(), theirs.theta.copy()]
        if "loss" in inspect.signature(reference).parameters:
            hyperparameters["loss"] = loss
        rule(ours.theta, g.copy(), t, *ours.state, **hyperparameters)
        reference(theirs.theta, g.copy(), t, *theirs.state, **hyperparameters)
        unchanged = [name for name, array in zip(names, ours.state, strict=True) if not array.any()]
        if np.array_equal(ours.theta, before[0]):
            text = (
                "theta has not changed. Update it in place, with `theta -= …` or `theta[:] = …`; `theta = theta - …` "
            )
            return text + "only binds the name to a new array."
        if unchanged:
            return f"the state {', '.join(unchanged)} is still zero after the update. Update it in place: `m[:] = …`."
        for name, array in zip(names, ours.state, strict=True):
            expected = expected_state[name]
            if not np.allclose(array, expected, rtol=1e-6, atol=0):
                i = abs(array - expected).argmax()
                values = f"{name}[{i}] is {array[i]:.6g}; it must be {expected[i]:.6g}"
                return f"after update {t}, {values}. Is the equation complete, and is {name} updated in place?"
        step, expected = ours.theta - before[0], theirs.theta - before[1]
        if np.allclose(-step, expected, rtol=1e-5, atol=0):
            return "the step has the wrong sign: theta must move against the gradient."
        if not np.allclose(step, expected, rtol=1e-5, atol=0):
            text = f"the state is correct, and update {t} is {np.mean(step / expected):.4g} times the expected one on "
            return text + "average. Are the bias corrections applied, and every part of the step?"
    return None


@check
def check_learning_rate(data, learning_rate):
    """Check a learning rate for SGD with batches of 8 by a short training on part of the data."""
    learning_rate = float(learning_rate)
    part = replace(data, x_train=data.x_train[:5000], y_train=data.y_train[:5000])
    loss = {}
    for rate in (learning_rate, learning_rate / 4, learning_rate * 4):
        try:
            settings = {"optimizer": "sgd", "learning_rate": rate, "batch_size": 8, "epochs": 2, "schedule": "cosine"}
            _, history = model_train(part, progress=False, **settings)
            loss[rate] = history["val_loss"].iloc[-1]
        except TrainingDiverged:
            loss[rate] = math.inf
    if math.isinf(loss[learning_rate]):
        return f"training diverges with {learning_rate:g}: it is far too large."
    text = f"after two epochs of 5,000 images the validation loss is {loss[learning_rate]:.2f} with {learning_rate:g}"
    best = min(loss, key=loss.get)
    if loss[best] < loss[learning_rate] - 0.02:
        return f"{text}, and {loss[best]:.2f} with {best:g}: it is too {'small' if best > learning_rate else 'large'}."
    if loss[learning_rate] > 2:
        return f"{text}, not much below the {math.log(10):.2f} of an untrained network: it is far too small."
    return None


@check
def check_confusions(names, matrix, classes, true):
    """Check the names of the two classes that are most often predicted, by mistake, for the class `true`.

    `matrix` is the confusion matrix of `classes`, true classes in rows. Any two of equal counts are accepted.
    """
    names = [names] if isinstance(names, str) else list(names)
    if ... in names:
        raise NotImplementedError
    known = {name: next((own for own in classes if same_name(own, name)), None) for name in names}
    unknown = [repr(name) for name, own in known.items() if own is None]
    if unknown:
        return f"unknown: {', '.join(unknown)}. Write the names as texts: {', '.join(map(repr, classes))}."
    errors = {name: count for name, count in zip(classes, matrix[classes.index(true)], strict=True) if name != true}
    chosen, most = set(known.values()), sorted(errors.values())[-2:]
    wrong = sorted(name for name in chosen if errors.get(name, -1) < most[0])
    if wrong:
        return f"not correct: {', '.join(wrong)}. Read the row of {true}, and leave out the diagonal."
    if len(chosen) != 2:
        return f"two names are asked for, and there are {len(chosen)}."
    return None if sum(errors[name] for name in chosen) == sum(most) else "another class is predicted more often."


@check
def check_shift(pixels, params, data, prediction):
    """Check the smallest shift to the right that changes the prediction for the first ankle boot."""
    image = data.x_test[first_boot(data)]
    moved = np.stack([transform(image, right, 0, 0) for right in range(28)])
    predicted = predict(params, moved, **prediction).argmax(axis=1)
    changed = predicted != predicted[0]
    if not changed.any():
        return "this network predicts the same for every shift: train it to the end, and try again."
    pixels = float(pixels)
    if pixels not in range(28):
        return f"{pixels:g} is not an integer from 0 to 27."
    if pixels == changed.argmax():
        return None
    answer = "changes, but so it does with fewer" if changed[int(pixels)] else "is the same"
    return f"with {pixels:g} pixels the prediction {answer}."
