"""The check of the notebook's own statements about results."""

import itertools


def claim(statement, data, *trainings):
    """Assert a statement that is expected to hold on the full data set after complete trainings.

    It is not checked on other data than those that the text describes, nor if one of the trainings was interrupted. A
    training is a history that `model_train` returned, or a dict of lists of them, as `train_each` returns it.
    """
    histories = []
    for training in trainings:
        histories += itertools.chain(*training.values()) if isinstance(training, dict) else [training]
    if not data.published:
        print(f"Not checked: these are the results of {data.name}; the text describes the published data set.")
    elif any(history.attrs["interrupted"] for history in histories):
        print("Not checked: a training was stopped early. Run its cell again for the complete result.")
    else:
        assert statement, "the result differs from the text: did you change a hyperparameter or the code?"
