"""Run the notebook on the sample of the data, and train each network briefly, one after the other.

The notebook's claims, which hold after whole trainings on the full data, are then not checked; figures are small, and
so are the forests of the importance of hyperparameters. IPython runs this file when the kernel starts. What takes time
waits for the first cell.
"""

from IPython import get_ipython

IMAGES = 200  # for training, and for validation


def shorten(info):
    """Replace the data by the sample, and `train` by one epoch on few images, reported as interrupted."""
    import tempfile
    from dataclasses import replace
    from importlib import import_module
    from pathlib import Path

    with get_ipython().builtin_trap:  # without it, pandas takes the notebook for a terminal
        import helpers.data
        from helpers.experiment import checkpoint, run
        from helpers.lesson import clinic
        from helpers.lesson.figures import style
        from tests.support.datasets import sample_arrays

        importance = import_module("helpers.search.importance")  # not the function of this name

    def train(data, config, *arguments, train=run.train, **options):
        if len(data.x_train) <= IMAGES:
            return train(data, config, *arguments, **options)
        names = ["x_train", "y_train"] + ([] if data.x_val is None else ["x_val", "y_val"])
        few = replace(data, **{name: getattr(data, name)[:IMAGES] for name in names})
        result = train(few, run.Config(**vars(config) | {"epochs": 1}), *arguments, **options)
        result.history.attrs |= {"interrupted": True, "config": dict(vars(config))}
        return result

    folder = tempfile.TemporaryDirectory()  # not to replace a network that the notebook stored

    def elsewhere(function):
        return lambda path, *arguments: function(Path(folder.name, path), *arguments)

    checkpoint.read_archive, checkpoint.write_archive = map(
        elsewhere, (checkpoint.read_archive, checkpoint.write_archive)
    )
    run.train, run.available_threads = train, lambda: 1
    clinic.IMAGES, style.DPI, importance.TREES, importance.REPEATS = IMAGES, 50, 5, 2
    helpers.data.load_raw = lambda dataset, allow_sample: (*sample_arrays(dataset), "sample")
    get_ipython().events.unregister("pre_run_cell", shorten)


get_ipython().events.register("pre_run_cell", shorten)
