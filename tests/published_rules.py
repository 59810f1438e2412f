"""The published prompts and targets, written a second time from the rules in words (`tests/golden/README.md`) alone.

It shares no code with `waymark.worlds.scienceworld.prompts` and `training.worlds.scienceworld.published_examples`. So
episodes other than the golden ones can be compared, and a mistake in one is not a mistake in the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

END = "end subgoal"
ENDED = "the current subgoal is done."
EXECUTOR_QUESTION = " What action should you do next? </s> "
CONTROLLER_QUESTION = " . What subtask should you do next? </s> "
OF_ONE_OBJECT = {
    "focus on": "FOCUS",
    "look at": "LOOK",
    "read": "READ",
    "pick up": "PICK",
    "open door to": "OPEN_DOOR",
    "close door to": "CLOSE_DOOR",
    "open": "OPEN",
    "close": "CLOSE",
    "activate": "ACTIVATE",
    "deactivate": "DEACTIVATE",
    "go to": "GO",
    "teleport to": "TELEPORT",
    "examine": "EXAMINE",
    "mix": "MIX",
}
OF_TWO_OBJECTS = {"connect": "to", "move": "to", "use": "on", "pour": "into", "dunk": "into"}


@dataclass
class Taken:
    """A step of a path: `look` and `inventory` before its action, the rest after it."""

    action: str
    observation: str
    score: int
    look: str
    inventory: str
    subgoal: str


def with_ends(path: list[Taken]) -> list[Taken]:
    """The path with an `end subgoal` after each run of equal sub-goals but the last."""
    steps: list[Taken] = []
    for _, run in groupby(path, key=lambda step: step.subgoal):
        if steps:
            last = steps[-1]
            steps.append(Taken(END, ENDED, last.score, last.look, last.inventory, last.subgoal))
        steps += run
    return steps


def formal(action: str) -> str | None:
    """The functional form; None where the published table has none."""
    if action == END:
        return "END_SG()"
    if action in ("wait", "wait1"):
        return "WAIT()"
    if action == "look around":
        return "SEE()"
    if action.isdigit():
        return f"CHOOSE({action})"
    verb, _, rest = action.partition(" ")
    if verb in OF_TWO_OBJECTS:
        word = f" {OF_TWO_OBJECTS[verb]} "
        if verb == "pour" and word not in rest:
            word = " in "
        if word not in rest:
            return None
        at = rest.rindex(word)
        return f"{verb.upper()}({rest[:at]}, {rest[at + len(word) :]})"
    if verb == "drop":
        if " in " not in rest:
            return f"DROP({rest})"
        at = rest.rindex(" in ")
        return f"DROP({rest[:at]}, {rest[at + 4 :]})"
    for beginning in sorted(OF_ONE_OBJECT, key=len, reverse=True):
        if action.startswith(beginning + " "):
            return f"{OF_ONE_OBJECT[beginning]}({action[len(beginning) + 1 :]})"
    return None


def clean(text: str) -> str:
    """Line breaks, tabs and names."""
    for mark in ("\n\t", "\n", "\t"):
        text = text.replace(mark, " | ")
    for before, after in (
        ("green house", "greenhouse"),
        ("activate bee hive", "open bee hive"),
        ("seed peach tree", "peach seed"),
        ("orange tree seed", "orange seed"),
    ):
        text = text.replace(before, after)
    return text


def target(action: str) -> str | None:
    """What the executor learns to write."""
    return formal(clean(action))


def cut(points: int) -> int:
    """A score as printed."""
    return int((points / 100) * 100)


def see(rooms: list[str], observation: str, look: str) -> None:
    """Add the rooms that one more step names."""
    if "move to the" in observation:
        add(rooms, observation.split("move to the")[1][:-1].strip())
    if "This room is called the" in look:
        add(rooms, look.partition("This room is called the")[2].partition(".")[0].strip())


def add(rooms: list[str], room: str) -> None:
    """Each once."""
    if room not in rooms:
        rooms.append(room)


@dataclass
class Moment:
    """What a prompt shows besides sub-goals."""

    task: str
    time: int
    score: int
    turns: list[tuple[str, int, str]]
    """Action, reward and answer."""
    look: str
    inventory: str
    rooms: list[str]


def prompt(moment: Moment, subgoals: list[str] | None, question: str) -> str:
    """A prompt of the executor, the controller or the flat model (`given` is None). The last of `given` is current."""
    text = f"{moment.task} </s> Time: {moment.time}; Score: {moment.score}; </s> "
    if subgoals is not None:
        text += (
            ". No completed subtasks" if len(subgoals) < 2 else ". Completed subtasks are: " + ", ".join(subgoals[:-1])
        )
        if subgoals:
            text += f". The current subtask is {subgoals[-1]}"
    text += "Action history: </s>"
    window = [("look around", 0, "N/A"), *moment.turns][-10:]
    for place, (action, reward, observation) in enumerate(window):
        text += f" <extra_id_{10 - place}> {formal(action)} (+{reward}) --> {observation} | "
    text += f" </s> Current environment: {moment.look} </s> Current inventory: {moment.inventory} </s> "
    if moment.rooms:
        text += f"Visited rooms: {', '.join(moment.rooms)} </s> "
    text = clean(text + question)
    return text.replace("(that is open)", "").replace("(containing nothing)", "")


def dataset(task: str, steps: list[Taken], *, subgoals: bool = True) -> list[dict[str, str | None]]:
    """Rows of the published datasets; without `subgoals` the flat ones of the same steps."""
    rows: list[dict[str, str | None]] = []
    rooms: list[str] = []
    turns: list[tuple[str, int, str]] = []
    before = 0.0
    for i in range(1, len(steps)):
        step, last = steps[i], steps[i - 1]
        see(rooms, last.observation, step.look)
        subgoals_so_far: list[str] = []
        for earlier in steps[: i + 1]:
            if earlier.subgoal not in subgoals_so_far[-1:]:
                subgoals_so_far.append(earlier.subgoal)
        score = 0 if i == 1 else cut(last.score)
        moment = Moment(task, i, score, turns, step.look, step.inventory, rooms)
        rows.append(
            {
                "executor": prompt(moment, subgoals_so_far, EXECUTOR_QUESTION),
                "controller": prompt(moment, subgoals_so_far[:-1], CONTROLLER_QUESTION),
                "twin": prompt(moment, subgoals_so_far, CONTROLLER_QUESTION),
                "flat": prompt(moment, None, EXECUTOR_QUESTION),
                "action": target(step.action),
                "subgoal": steps[i + 1].subgoal if i + 1 < len(steps) else "complete_task()",
            }
        )
        turns.append((step.action, int((step.score / 100 - before) * 100), step.observation))
        before = step.score / 100
    return rows if subgoals else [{"flat": row["flat"], "action": row["action"]} for row in rows]


def evaluation(task: str, steps: list[Taken]) -> list[dict[str, str]]:
    """The prompts of the published loop over the same steps. At an ended sub-goal nothing is played."""
    entries: list[dict[str, str]] = []
    rooms: list[str] = []
    turns: list[tuple[str, int, str]] = []
    subgoals_so_far: list[str] = []
    score, observation = 0, ""
    for k, step in enumerate(steps):
        scene = steps[k + 1] if step.action == END else step  # after an ended sub-goal the scene is the next step's
        see(rooms, observation, scene.look)
        moment = Moment(task, k + 1, cut(score), turns, scene.look, scene.inventory, rooms)
        entry = {}
        if k:
            entry["controller"] = prompt(moment, subgoals_so_far, CONTROLLER_QUESTION)
            entry["as imported"] = prompt(moment, subgoals_so_far[:-1], CONTROLLER_QUESTION)
        if step.subgoal not in subgoals_so_far[-1:]:
            subgoals_so_far.append(step.subgoal)
        entry["executor"] = prompt(moment, subgoals_so_far, EXECUTOR_QUESTION)
        entries.append(entry)
        if step.action == END:
            turns.append((END, 0, observation))
        else:
            turns.append((step.action, cut(step.score - score), step.observation))
            score, observation = step.score, step.observation
    return entries
