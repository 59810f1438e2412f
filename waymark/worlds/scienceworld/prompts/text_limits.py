"""Limits on the texts in a prompt. Texts are cut before they are rewritten, so the cost of a caller's text is limited.

The limits are several times the length of ScienceWorld's longest texts, so no state of an episode is changed.
"""

from __future__ import annotations

from waymark.contracts import AgentState

TEXT_CHARACTERS = 8_000
"""Largest number of characters of a look, an inventory or an answer that is shown whole."""
CHARACTERS_A_WORD = 80
"""Characters of raw text for each word of it that is shown."""
CACHE_BYTES = 4_000_000
"""The size of each cache of rewritten texts; the lines of an episode take about 10 kB."""
HISTORY = 40
"""The number of past turns in which readings are looked for."""


def within_bounds(state: AgentState) -> AgentState:
    """The state with look, inventory and observation cut. Texts of turns are cut where they are shown."""
    if max(len(state.look), len(state.inventory), len(state.observation)) <= TEXT_CHARACTERS:
        return state
    return state.model_copy(
        update={
            "look": state.look[:TEXT_CHARACTERS],
            "inventory": state.inventory[:TEXT_CHARACTERS],
            "observation": state.observation[:TEXT_CHARACTERS],
        }
    )
