"""The family for each task type."""

from __future__ import annotations

from collections.abc import Callable

from training.worlds.scienceworld.expert.circuits import check_conductivity, power_component
from training.worlds.scienceworld.expert.finding import find_and_box
from training.worlds.scienceworld.expert.heat import change_of_state, find_melting_point, measure_temperature
from training.worlds.scienceworld.expert.life_stages import animal_stages, answer_by_name, plant_stages
from training.worlds.scienceworld.expert.mixing import follow_recipe, mix_paint
from training.worlds.scienceworld.expert.planes import compare_planes
from training.worlds.scienceworld.expert.plants import cross_plants, grow
from training.worlds.scienceworld.expert.walk import Walk

MISPLACED = ("1-1", "1-2", "1-3", "1-4")
"""Task types in which the thing may be moved to any room."""
SCRIPTED_EXPERTS: dict[str, Callable[[Walk], None]] = {
    **dict.fromkeys(("1-1", "1-2", "1-3", "1-4"), change_of_state),
    "2-1": measure_temperature,
    **dict.fromkeys(("2-2", "2-3"), find_melting_point),
    **dict.fromkeys(("3-1", "3-2"), power_component),
    **dict.fromkeys(("3-3", "3-4"), check_conductivity),
    **dict.fromkeys(("4-1", "4-2", "4-3", "4-4"), find_and_box),
    **dict.fromkeys(("5-1", "5-2"), grow),
    "6-1": follow_recipe,
    **dict.fromkeys(("6-2", "6-3"), mix_paint),
    **dict.fromkeys(("7-1", "7-2", "7-3"), answer_by_name),
    "8-1": animal_stages,
    "8-2": plant_stages,
    **dict.fromkeys(("9-1", "9-2", "9-3"), compare_planes),
    **dict.fromkeys(("10-1", "10-2"), cross_plants),
}
"""The function that plays each task type."""
WITHOUT_ORACLE = ("5-2", "10-1", "10-2")
"""Task types whose expert does not need the oracle's path. The simulator takes half a minute to compute such a path."""
