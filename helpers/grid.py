"""Which point of a grid a trial takes, so that workers and machines that share a study leave none out."""

import math
import random
import time

from helpers.study import fail_killed, lost


class GridIsOver(Exception):
    """Every point of the grid is finished."""


def _axes(spec):
    """Return {setting: its values, each once} for the settings that have several, in an order of their own."""
    several = {name: given["values"] for name, given in sorted(spec.parameters.items()) if "values" in given}
    return {name: [v for i, v in enumerate(values) if v not in values[:i]] for name, values in several.items()}


def size(spec):
    """Return the number of points."""
    return math.prod(len(values) for values in _axes(spec).values())


def claim(study, spec, trial, seed):
    """Return a point {setting: value} that is this trial's alone; the seed shuffles their order. Raises GridIsOver.

    While others are at the last points it waits: one of them may be killed, and its point is then free again.
    """
    order = random.Random(seed).sample(range(size(spec)), size(spec))
    while True:
        taken = _taken(study, trial)
        free = next((point for point in order if point not in taken), None)
        if free is not None:
            trial.set_user_attr("point", free)
            if free not in _taken(study, trial):
                return _settings(spec, free)
            trial.set_user_attr("point", None)  # somebody took it in the same moment: both let it go
            time.sleep(random.random())
        elif "RUNNING" in taken.values():
            time.sleep(0.5)
            fail_killed(study)
        else:
            raise GridIsOver


def _taken(study, trial):
    """Return {point: state} of the points that the other trials have."""
    others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number and not lost(other)]
    points = {other.user_attrs.get("point"): other.state.name for other in others}
    return {point: state for point, state in points.items() if point is not None}


def _settings(spec, point):
    """Return the values at a point, counted through the grid from 0: the last setting's value changes first."""
    settings = {}
    for name, values in reversed(_axes(spec).items()):
        point, at = divmod(point, len(values))
        settings[name] = values[at]
    return settings
