from services.env_runner.queue.abandoned_leases import Sighting, Silence


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def lease(renewals: int, entry: str = "1-0", deliveries: int = 1) -> Sighting:
    return Sighting("a", entry, deliveries, renewals)


def test_a_lease_that_looks_the_same_for_long_is_silent() -> None:
    clock = Clock()
    silence = Silence(30, clock)
    assert silence.look([lease(1)]) == []
    clock.now += 29
    assert silence.look([lease(1)]) == []
    clock.now += 1
    assert silence.look([lease(1)]) == [lease(1)]


def test_a_renewal_breaks_the_silence() -> None:
    clock = Clock()
    silence = Silence(30, clock)
    for renewals in range(10):
        assert silence.look([lease(renewals)]) == []
        clock.now += 29


def test_another_delivery_breaks_the_silence() -> None:
    clock = Clock()
    silence = Silence(30, clock)
    silence.look([lease(1)])
    clock.now += 31
    assert silence.look([lease(1, deliveries=2)]) == []


def test_only_silent_leases_are_given_out() -> None:
    clock = Clock()
    silence = Silence(30, clock)
    silence.look([lease(1, "1-0"), lease(1, "2-0")])
    clock.now += 31
    assert silence.look([lease(1, "1-0"), lease(2, "2-0")]) == [lease(1, "1-0")]


def test_gone_leases_are_forgotten() -> None:
    clock = Clock()
    silence = Silence(30, clock)
    silence.look([lease(1)])
    silence.look([])
    clock.now += 31
    assert silence.look([lease(1)]) == []


def test_an_own_lease_counts_from_when_it_was_given() -> None:
    clock = Clock()
    silence = Silence(30, clock)
    silence.note(lease(1))
    clock.now += 31
    assert silence.look([lease(1)]) == [lease(1)]
