"""The scripted expert: reaches the goal of the simulator's path by a short way that uses only what an agent can
observe.

The simulator's own paths (the oracle) use facts that no agent can see: where a thing is, which stove is broken, how
many waits a seed needs. Copying them teaches guessing. So each family of tasks has a program that plays it. The
oracle's path says *what* to reach (which box, which animal, which paints); observations decide *when* and *where*:

- a thing is fetched only after it was seen; the expert searches rooms and containers, always in the same order;
- of several things that would do, the first that is listed is taken;
- waiting ends when the awaited event is visible, not after a number of ticks;
- heating is done in the blast furnace, which always works; a stove may turn out to be broken, and is then left;
- the quantity on which an answer depends is measured first, and the reading stays in the agent's prompt.

In training variations nearly everything that tasks ask for is in the kitchen. `misplace` moves a thing to another room
before a path begins, so that agents learn to search the other rooms.

A path is kept only if it reaches 100. A perturbation adds moves that do not lead to the goal (another room, something
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
