"""ScienceWorld's prompt formats, one module each.

seed, seed-imported    the published prompts (Hashemzadeh et al., CoLLAs 2024) and their twin
compact                for small models trained from scratch, with aids
compact-plain          the same without aids
compact-reasons        the same without aids; an answer begins with its reason
transcript             for decoder-only models, whose engines keep what prompts have in common
NAME-nohistory         `seed`, `seed-imported`, `compact` or `compact-plain` without earlier turns
"""

from __future__ import annotations

from waymark.worlds.base import PromptFormat
from waymark.worlds.scienceworld.prompts.compact import COMPACT, COMPACT_PLAIN, COMPACT_REASONS
from waymark.worlds.scienceworld.prompts.seed import SEED, SEED_IMPORTED
from waymark.worlds.scienceworld.prompts.transcript import TRANSCRIPT
from waymark.worlds.without_history import WithoutHistory

_WITH_HISTORY: tuple[PromptFormat, ...] = (SEED, SEED_IMPORTED, COMPACT, COMPACT_PLAIN)
FORMATS: tuple[PromptFormat, ...] = (*_WITH_HISTORY, COMPACT_REASONS, TRANSCRIPT, *map(WithoutHistory, _WITH_HISTORY))
"""All formats. A checkpoint's card gives the name of its format."""

__all__ = ["FORMATS"]
