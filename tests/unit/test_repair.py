from waymark.repair import SHORTLIST, first_valid, shortlist

VALID = [
    "focus on baby wolf",
    "focus on door",
    "look at baby wolf",
    "look at door",
    "move metal pot to stove",
    "move metal pot to sink",
    "open door to kitchen",
    "pick up metal pot",
    "pick up thermometer",
    "wait1",
]


def test_the_first_valid_alternative_wins_even_over_a_later_better_spelt_one() -> None:
    assert first_valid(["pick up metl pot", "pick up thermometer", "pick up metal pot"], VALID) == "pick up thermometer"


def test_an_alternative_is_compared_as_the_simulator_reads_it_and_returned_as_it_writes_it() -> None:
    assert first_valid(["examine baby wolf"], VALID) == "look at baby wolf"
    assert first_valid(["take  thermometer"], VALID) == "pick up thermometer"


def test_no_valid_alternative_is_none() -> None:
    assert first_valid(["pick up moon", "not an action, at all"], VALID) is None


def test_the_shortlist_ranks_the_same_verb_first_then_shared_words() -> None:
    assert shortlist("move metal pott to stove", [], VALID) == [
        "move metal pot to stove",
        "move metal pot to sink",
        "pick up metal pot",
    ]


def test_a_focus_is_shortlisted_only_when_the_executor_named_its_object() -> None:
    proposal = "focus on baby baby wolf"
    assert "focus on baby wolf" not in shortlist(proposal, [proposal], VALID)
    named = shortlist(proposal, [proposal, "look at baby wolf"], VALID)
    assert named[0] == "focus on baby wolf"
    assert "focus on door" not in named


def test_the_shortlist_is_short_and_holds_nothing_unlike_the_proposal() -> None:
    crowd = [f"pick up cup {number}" for number in range(200)]
    chosen = shortlist("pick up red cup", [], [*crowd, "open fridge"])
    assert len(chosen) == SHORTLIST
    assert shortlist("eat apple", [], ["open fridge"]) == []
