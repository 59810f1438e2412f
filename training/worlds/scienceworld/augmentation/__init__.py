"""Data augmentation: names and numbers of a decision are changed everywhere before it is written as a prompt.

Names change so that models learn to copy them instead of reciting those of training. Numbers change so that models
learn to compare. Scores change so that models do not guess from the score where a thing is. Places change because the
things that training tasks ask for nearly always lie openly in a room.

    renamer.py            draws for each example which names, numbers and places change
    new_names.py          new names and colours
    renameable_words.py   finds the names and things in a decision that may change
    rewrites.py           makes the same changes in the task, the sub-goals, all turns, the scene and the answer

What changes is always decided from the decision as the format `compact` writes it, also for examples of another
format. The changes are made in the decision's state and answer. Only then does the code that also serves write prompt
and target. So a model reads what serving would write if things had these names.
"""

from __future__ import annotations

from training.worlds.scienceworld.augmentation.renameable_words import is_answer
from training.worlds.scienceworld.augmentation.renamer import Renamer

__all__ = ["Renamer", "is_answer"]
