"""What only the notebook needs.

exercises.py    the checks of the exercises
claims.py       the check of the notebook's own statements about results
interactive.py  figures with sliders
figures/        the other figures, one module for each kind
"""

from helpers.lesson import exercises, figures, interactive
from helpers.lesson.claims import claim
from helpers.lesson.figures.style import show_source

__all__ = ["claim", "exercises", "figures", "interactive", "show_source"]
