"""What only the notebook needs.

exercises.py    the checks of the exercises, and the guesses
clinic.py       backward passes with a mistake
recording.py    a training, measured every few steps
claims.py       the check of the notebook's own statements about results
interactive.py  figures with sliders
figures/        the other figures, one module for each kind
"""

from helpers.lesson import clinic, exercises, figures, interactive, recording
from helpers.lesson.claims import claim
from helpers.lesson.figures.style import show_source

__all__ = ["claim", "clinic", "exercises", "figures", "interactive", "recording", "show_source"]
