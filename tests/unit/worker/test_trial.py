"""The gate, and the dock that suspects come from: while one is tried, nothing else is judged."""

import threading
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from manyhands.broker import Delivery, Verdict
from manyhands.testing import FakeClock
from manyhands_worker.trial import LOOK, Dock, Gate
from tests.services import wait_until
from tests.unit.worker.harness import PATIENCE, delivery, suite


class FakePuller:
    """Has what it is given; what it gave out is kept with how it was settled."""

    def __init__(self, *waiting: Delivery) -> None:
        self.waiting = list(waiting)
        self.looks = 0
        self.settled: list[tuple[Delivery, Verdict]] = []
        self.ready = True
        self.closed = False

    def look(self) -> bool:
        """Whether there is something."""
        self.looks += 1
        return bool(self.waiting)

    def take(self) -> Delivery | None:
        """The next."""
        return self.waiting.pop(0) if self.waiting else None

    def settle(self, deliveries: Sequence[Delivery], verdict: Verdict) -> None:
        """Keep the verdict."""
        self.settled.extend((d, verdict) for d in deliveries)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def suspect() -> Delivery:
    """One."""
    return delivery(suite("one", ["a"]), suspect=True)


def entered(gate: Gate) -> threading.Event:
    """Somebody comes in, in a thread, and goes at once; the event is set when he was in."""
    was_in = threading.Event()

    def come() -> None:
        with gate:
            was_in.set()

    threading.Thread(target=come, daemon=True).start()
    return was_in


def test_many_come_in_until_one_is_alone() -> None:
    """Whoever claims waits for those inside; those who come later wait for him."""
    gate = Gate()
    with gate:
        assert entered(gate).wait(PATIENCE)
        assert not gate.claim(0)
        late = entered(gate)
        with gate.outside():
            assert gate.claim(PATIENCE)
            gate.release()
    assert late.wait(PATIENCE)
    assert gate.claim(0)
    late = entered(gate)
    assert not late.wait(0.05)
    gate.release()
    assert late.wait(PATIENCE)


def test_a_closed_gate_holds_nobody_up() -> None:
    """Who is alone stays so in name only: the others come to be told to go."""
    gate = Gate()
    assert gate.claim(0)
    late = entered(gate)
    gate.close()
    assert late.wait(PATIENCE)


def test_a_suspect_is_taken_only_when_nothing_else_is_judged() -> None:
    """Until then it stays in its queue, and nobody else begins."""
    gate, puller = Gate(), FakePuller(suspect())
    dock = Dock(puller, gate, FakeClock())
    with gate:
        assert dock.receive(1, 0.01) == []
        assert puller.waiting
        late = entered(gate)
    (taken,) = dock.receive(1, PATIENCE)
    assert not late.wait(0.05)
    assert dock.receive(1, 0.01) == []
    dock.settle([taken], Verdict.ACK)
    assert late.wait(PATIENCE)
    assert puller.settled == [(taken, Verdict.ACK)]


def test_another_worker_may_have_been_alone_before() -> None:
    """Then everybody goes on here."""
    gate, puller = Gate(), FakePuller(suspect())
    dock = Dock(puller, gate, FakeClock())
    with gate:
        assert dock.receive(1, 0) == []
        late = entered(gate)
        puller.waiting.clear()
        assert dock.receive(1, 0) == []
        assert late.wait(PATIENCE)


def test_it_looks_now_and_then() -> None:
    """When there was nothing: again after about a second. After a trial: at once."""
    puller, clock = FakePuller(), FakeClock()
    dock = Dock(puller, Gate(), clock, lambda: 0.5)
    for _ in range(3):
        assert dock.receive(1, 0.01) == []
    assert puller.looks == 1
    clock.turn(LOOK)
    puller.waiting = [suspect(), suspect()]
    (first,) = dock.receive(1, 1)
    dock.settle([first], Verdict.ACK)
    assert len(dock.receive(1, 1)) == 1
    assert puller.looks == 3


def test_stopping_waits_for_no_trial() -> None:
    """A claim is given up; a trial goes on until it is settled, and nothing new is taken."""
    gate, puller = Gate(), FakePuller(suspect(), suspect())
    dock = Dock(puller, gate, FakeClock())
    (held,) = dock.receive(1, 1)
    dock.stop()
    late = entered(gate)
    assert not late.wait(0.05)
    dock.settle([held], Verdict.HAND_BACK)
    assert late.wait(PATIENCE)
    assert dock.receive(1, PATIENCE) == []
    dock.close()
    assert puller.closed


def test_stopping_ends_a_wait() -> None:
    """Who waits for the next look does not wait for it then."""
    dock = Dock(FakePuller(), Gate(), FakeClock())
    dock.receive(1, 0)
    ended = threading.Event()

    def wait() -> None:
        dock.receive(1, PATIENCE)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    dock.stop()
    wait_until(ended.is_set, PATIENCE, "the wait to end")


class Entrances(RuleBasedStateMachine):
    """Whatever comes and goes in whatever order: never is anybody alone while somebody else is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.inside = 0
        self.claimed = self.alone = False

    @precondition(lambda self: not self.claimed)
    @rule()
    def enter(self) -> None:
        """Nobody waits for it, so one comes in at once."""
        self.gate.__enter__()
        self.inside += 1

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self) -> None:
        """One goes."""
        self.gate.__exit__()
        self.inside -= 1

    @precondition(lambda self: not self.alone)
    @rule(wait=st.just(0.0))
    def claim(self, wait: float) -> None:
        """Somebody wants to be alone."""
        self.claimed = True
        self.alone = self.gate.claim(wait)
        assert self.alone == (self.inside == 0)

    @rule()
    def release(self) -> None:
        """It is over."""
        self.gate.release()
        self.claimed = self.alone = False

    @invariant()
    def alone_is_alone(self) -> None:
        """The law."""
        assert not (self.alone and self.inside)


TestEntrances = Entrances.TestCase
TestEntrances.settings = settings(max_examples=50, stateful_step_count=20)
