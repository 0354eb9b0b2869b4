"""A grid's points: each is taken once, whoever asks, and none is left out."""

import contextlib
import threading

import optuna
import pytest
from optuna.trial import TrialState

from helpers import grid, space
from helpers.grid import GridIsOver, claim

PARAMETERS = {
    "epochs": {"value": 2},
    "hidden_size": {"values": [4, [8, 6, 4], 4]},
    "optimizer": {"values": ["sgd", "adam", "nadam"]},
}
POINTS = [(size, rule) for size in (4, [8, 6, 4]) for rule in ("sgd", "adam", "nadam")]


def sweep(parameters=PARAMETERS):
    return space.read({"method": "grid", "metric": {"name": "val_loss"}, "parameters": parameters})


def take(study, seed=0, spec=None):
    """Ask for a trial and its point."""
    trial = study.ask()
    point = claim(study, spec or sweep(), trial, seed)
    return trial, (point["hidden_size"], point["optimizer"])


def take_all(study, **how):
    taken = []
    with contextlib.suppress(GridIsOver):
        while True:
            trial, point = take(study, **how)
            taken.append(point)
            study.tell(trial, 0.5)
    return taken


def test_every_point_is_taken_once_in_an_order_of_the_seed():
    orders = [take_all(optuna.create_study(), seed=seed) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(map(str, order)) == sorted(map(str, POINTS)) for order in orders)
    assert grid.size(sweep()) == 6  # a value that is there twice counts once


def test_a_search_that_goes_on_with_another_order_or_seed_takes_what_is_left():
    study = optuna.create_study()
    first = [take(study) for _ in range(4)]
    for trial, _ in first:
        study.tell(trial, 0.5)
    turned = sweep(dict(reversed(PARAMETERS.items())))
    rest = take_all(study, seed=5, spec=turned)
    assert sorted(map(str, [*rest, *(point for _, point in first)])) == sorted(map(str, POINTS))


def test_a_grid_of_constants_is_one_point():
    study, spec = optuna.create_study(), sweep({"epochs": {"value": 1}})
    assert grid.size(spec) == 1
    trial = study.ask()
    assert claim(study, spec, trial, 0) == {}
    study.tell(trial, 0.5)
    with pytest.raises(GridIsOver):
        claim(study, spec, study.ask(), 0)


def test_a_failed_trial_keeps_its_point_if_it_has_a_reason():
    study = optuna.create_study()
    for reason in ("diverged", None):
        trial, point = take(study)
        if reason:
            trial.set_user_attr("reason", reason)
        study.tell(trial, state=TrialState.FAIL)
    assert take(study)[1] == point


def test_the_last_points_are_waited_for_while_others_have_them():
    study = optuna.create_study()
    for trial, _ in [take(study) for _ in range(5)]:
        study.tell(trial, 0.5)
    last, point = take(study)
    threading.Timer(0.2, lambda: study.tell(last, state=TrialState.FAIL)).start()  # it was killed
    assert take(study)[1] == point


def test_who_takes_a_point_in_the_same_moment_lets_go_of_it(monkeypatch):
    """Between the look and the claim of one trial another one claims: one of them has it in the end."""
    study = optuna.create_study()
    taken, rival, looks = grid._taken, study.ask(), []

    def look(study, trial):
        points = taken(study, trial)
        looks.append(points)
        if len(looks) == 1:
            free = next(point for point in range(6) if point not in points)
            for point in range(6):
                if point != free:
                    other = study.ask()
                    other.set_user_attr("point", point)
                    study.tell(other, 0.5)
            rival.set_user_attr("point", free)
            points = {point: "COMPLETE" for point in range(6) if point != free}
        return points

    monkeypatch.setattr(grid, "_taken", look)
    threading.Timer(1.5, lambda: study.tell(rival, 0.5)).start()
    with pytest.raises(GridIsOver):
        take(study)
    claimed = [trial.user_attrs.get("point") for trial in study.trials]
    assert sorted(point for point in claimed if point is not None) == list(range(6))
