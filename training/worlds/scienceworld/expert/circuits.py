"""Task type 3: circuits that light a lamp or test whether a thing conducts."""

from __future__ import annotations

import re

from training.worlds.scienceworld.expert.walk import Unsolved, Walk, words_of

_WIRE = re.compile(r"\b[a-z]+ wire\b")
_LAMP = r"\ban? ([a-z]+ (?:light bulb|motor|buzzer)), which is off"
_JOINED = re.compile(r"(anode|cathode|terminal \d) on (.+?) is now connected to (anode|cathode|terminal \d) on (.+)")
_PARTED = re.compile(r"disconnecting ([^)]+)\)|(.+) has been disconnected")
_ACROSS = {"anode": "cathode", "cathode": "anode", "terminal 1": "terminal 2", "terminal 2": "terminal 1"}
_End = tuple[str, str]
"""A component and one of its two terminals."""


def check_conductivity(walk: Walk) -> None:
    """3-3, 3-4: connect the tested thing in a circuit with the first lamp or motor that is listed."""
    thing, room = words_of(r"determine if (.+?) is electrically .*?located around the ([a-z ]+)\.", walk.task)
    box = walk.oracle_object("move ").rpartition(" to ")[2]
    if not walk.did(f"focus on {thing}"):
        walk.fetch(thing, room)
        walk.focus(thing)
    walk.go("workshop")
    if not walk.sees(thing):
        walk.fetch(thing, room)
        walk.go("workshop")
    if walk.has(thing):
        walk.act(f"drop {thing}")
    _lay_circuit(walk, "battery", "", thing)
    walk.act("wait1")
    walk.act("wait1")
    walk.act(f"move {thing} to {box}")


def power_component(walk: Walk) -> None:
    """3-1, 3-2: use the oracle's source, moved to a place where it works, and the first wires that are listed."""
    (lamp,) = words_of(r"turn on the (.+?)(?: by |\.)", walk.task)
    (source,) = words_of(r"connect (.+?) anode ", " ; ".join(walk.oracle))
    if not all(walk.sees(part) or walk.has(part) for part in (lamp, source)):
        walk.go("workshop")
    walk.focus(lamp)
    if "teleport to outside" in walk.oracle:
        carried = [lamp, source, *list(dict.fromkeys(_WIRE.findall(walk.inventory + walk.look)))[:2]]
        for name in carried:
            if walk.room != "outside" and not walk.has(name):
                walk.act(f"pick up {name}")
        walk.go("outside")
        for name in carried:
            if walk.has(name):
                walk.act(f"drop {name}")
    _lay_circuit(walk, source, lamp)
    if f"activate {source}" in walk.oracle:
        walk.act(f"activate {source}")
    for _ in range(3):
        walk.act("wait1")


def _lay_circuit(walk: Walk, source: str, lamp: str, thing: str = "") -> None:
    """Lay a circuit from a source through a lamp (empty: the first one listed), and through the tested thing, back to
    the source. Each wire begins where the last connection ended. Wires of another circuit are disconnected.
    """
    joined = _joined(walk)
    if _is_closed(joined, source, {lamp, thing} - {""}):
        return
    for wire in dict.fromkeys(name for name, _ in joined if name.endswith(" wire")):
        walk.act(f"disconnect {wire}")
    lamp = lamp or words_of(_LAMP, walk.look)[0]
    wires = list(dict.fromkeys(_WIRE.findall(walk.look)))
    if len(wires) < (3 if thing else 2):
        raise Unsolved("there are too few wires")
    walk.act(f"connect {source} anode to {wires[0]} terminal 1")
    walk.act(f"connect {wires[0]} terminal 2 to cathode in {lamp}")
    walk.act(f"connect {wires[1]} terminal 1 to anode in {lamp}")
    if thing:
        walk.act(f"connect {wires[1]} terminal 2 to {thing} terminal 1")
        walk.act(f"connect {wires[2]} terminal 1 to {thing} terminal 2")
    walk.act(f"connect {wires[2 if thing else 1]} terminal 2 to {source} cathode")


def _joined(walk: Walk) -> dict[_End, _End]:
    """The present connections, each pair in both directions."""
    joined: dict[_End, _End] = {}
    for taken in walk.taken:
        answer = taken.step.observation.lower()
        if match := _PARTED.search(answer):
            parted = match[1] or match[2]
            joined = {end: other_end for end, other_end in joined.items() if parted not in (end[0], other_end[0])}
        if match := _JOINED.search(answer):
            end, other_end = (match[2], match[1]), (match[4].strip(), match[3])
            joined |= {end: other_end, other_end: end}
    return joined


def _is_closed(joined: dict[_End, _End], source: str, wanted: set[str]) -> bool:
    """Whether there is a closed circuit from a source through everything that is wanted, not only through wires."""
    end, passed = (source, "anode"), set[str]()
    while end in joined and len(passed) < len(joined):
        name, terminal = joined[end]
        if name == source:
            more = {part for part in passed if not part.endswith(" wire")} - wanted
            return terminal == "cathode" and wanted <= passed and bool(more or len(wanted) == 1)
        passed.add(name)
        end = (name, _ACROSS[terminal])
    return False
