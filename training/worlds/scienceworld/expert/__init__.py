"""The scripted expert: it does what the simulator's path does, by the shortest way that an agent can find by looking.

The simulator's own paths (the oracle) know what no agent can see: where a thing lies, which stove is broken, how many
waits a seed needs. Copying them teaches guessing. Here each family of tasks is played anew. The oracle's path says
*what* (which box, which animal, which paints); what is seen decides *when* and *where*:

- a thing is fetched only after it was seen; the expert looks for it room after room, container after container, always
  in the same order;
- of several things that would do, the first that is listed is taken;
- waiting ends when what was waited for is there, not after a number of ticks;
- heating is done in the blast furnace, which always works; a stove may turn out to be broken, and is then left;
- what an answer depends on is measured first, and the reading stays in sight of the agent.

The simulator keeps nearly all that training tasks ask for in the kitchen. So that agents learn to search the other
rooms, `misplace` carries a thing elsewhere before a path begins.

A path is kept only if it reaches 100. With perturbations, moves that lead nowhere are added (another room, something
opened, a wait). They are recorded as such (`detour` in the data), so that agents learn the way back.

    walk          an agent that looks before it acts
    families      which family plays which task type
    heat  circuits  finding  plants  mixing  life_stages  planes     a module for each family
"""

from training.worlds.scienceworld.expert.families import MISPLACED, SCRIPTED_EXPERTS, WITHOUT_ORACLE
from training.worlds.scienceworld.expert.heat import misplace
from training.worlds.scienceworld.expert.walk import ROOMS, Simulator, Solved, Taken, Unsolved, Walk

__all__ = [
    "MISPLACED",
    "ROOMS",
    "SCRIPTED_EXPERTS",
    "WITHOUT_ORACLE",
    "Simulator",
    "Solved",
    "Taken",
    "Unsolved",
    "Walk",
    "misplace",
]
