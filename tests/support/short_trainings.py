"""Train each network of the notebook briefly; its claims, which hold after whole trainings, are not checked.

IPython runs this file when the kernel starts. What takes time waits for the first cell.
"""

from IPython import get_ipython

IMAGES = 1000  # for training, and for validation
SHORT = 5000  # images: the trainings that are brief as they are


def shorten_trainings(info):
    """Replace `train`: one epoch on few images, reported as interrupted."""
    from types import SimpleNamespace

    from helpers.experiment import run

    def train(data, config, *arguments, train=run.train, **options):
        if len(data.x_train) <= SHORT:
            return train(data, config, *arguments, **options)
        names = ["x_train", "y_train"] + ([] if data.x_val is None else ["x_val", "y_val"])
        few = SimpleNamespace(**vars(data) | {name: getattr(data, name)[:IMAGES] for name in names})
        result = train(few, run.Config(**vars(config) | {"epochs": 1}), *arguments, **options)
        result.history.attrs |= {"interrupted": True, "config": dict(vars(config))}
        return result

    run.train = train
    get_ipython().events.unregister("pre_run_cell", shorten_trainings)


get_ipython().events.register("pre_run_cell", shorten_trainings)
