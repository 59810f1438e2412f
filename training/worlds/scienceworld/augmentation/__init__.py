"""Data augmentation: a decision whose names and numbers are changed throughout, before it is written as a prompt.

Names change so that models learn to copy instead of recite; numbers, so that they learn to compare; scores, so that
they do not read from them where a thing lies; places, since what training tasks ask for nearly always lies about.

    renamer.py    which names, numbers and places change, drawn anew for each example
    names.py      new names and colours
    shown.py      what a decision shows, in plain words: what there is to change
    changes.py    the same changes made to the task, the sub-goals, all turns, the scene and the answer

What changes is decided by one wording of the decision, that of `compact`, whatever the format of the examples. It is
changed in the decision's state and answer. Only then are prompt and target written, by the code that serves: a model
reads what serving would write if things were called so.
"""

from __future__ import annotations

from training.worlds.scienceworld.augmentation.renamer import Renamer
from training.worlds.scienceworld.augmentation.shown import is_answer

__all__ = ["Renamer", "is_answer"]
