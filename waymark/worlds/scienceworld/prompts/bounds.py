"""How much of a text a prompt can show: cut before it is rewritten, so that no caller's text costs more than that.

The bounds are several times what ScienceWorld ever says, so no state of an episode is changed.
"""

from __future__ import annotations

from waymark.contracts import AgentState

TEXT_CHARACTERS = 8_000
"""Of a look, an inventory or an answer that is shown whole."""
CHARACTERS_A_WORD = 80
"""Of raw text, for each word that is shown of it."""
CACHE_BYTES = 4_000_000
"""The size of each cache of rewritten texts; the lines of an episode take about 10 kB."""
HISTORY = 40
"""The number of past turns in which readings are looked for."""


def within_bounds(state: AgentState) -> AgentState:
    """The state with the beginnings of what it sees and carries. What turns say is cut where it is shown."""
    if max(len(state.look), len(state.inventory), len(state.observation)) <= TEXT_CHARACTERS:
        return state
    return state.model_copy(
        update={
            "look": state.look[:TEXT_CHARACTERS],
            "inventory": state.inventory[:TEXT_CHARACTERS],
            "observation": state.observation[:TEXT_CHARACTERS],
        }
    )
