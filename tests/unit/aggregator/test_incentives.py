"""Rewards: worked by hand; and a ledger that balances whatever comes twice, late or in another order."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.messages import Failure, Judgments
from manyhands.spec.rewards import Rewards
from manyhands_aggregator.fairness import hourly, left, most, underpaid
from manyhands_aggregator.incentives import (
    Entry,
    Ledger,
    Rules,
    Sum,
    Work,
    due,
    micro,
    plain,
    works,
)

RULES = Rules(judgment=50, gold=20, agreement=10, penalty=40)


def work(worker: str = "ann", suite: int = 0, **more: Any) -> Work:
    """What a person judged of a suite: ten tasks, unless said otherwise."""
    said = {"positions": frozenset(range(10)), **more}
    return Work(job="j", suite=suite, stage=0, judge="people", slot=0, worker=worker, **said)


def message(suite: int, slot: int, worker: str, said: Mapping[int, str], failed: Sequence[int] = ()) -> Judgments:
    """What a person says of some positions."""
    positions = [*said, *failed]
    return Judgments(
        job="j", suite=suite, stage=0, judge="people", slot=slot, worker=worker, version="1", positions=positions,
        values=[*said.values(), *[None] * len(failed)], started=0.0, finished=1.0,
        errors={p: Failure(code="e", message="m") for p in failed},
    )  # fmt: skip


def total(rules: Rules, done: Work) -> int:
    """What is due for it in all."""
    return sum(one.amount for one in due(rules, done).values())


def test_due_by_hand() -> None:
    """Ten judgments; of three gold tasks two right; of the seven others five are the answer."""
    found = due(RULES, work(right=2, wrong=1, agreed=5, millis=7000))
    assert found == {"judgment": (500, 10, 7000), "gold": (40, 2, 0), "agreement": (50, 5, 0), "penalty": (-40, 1, 0)}
    assert total(RULES, work(positions={1}, wrong=1)) == 10
    assert total(Rules(judgment=50, penalty=500), work(wrong=9)) == 0  # nobody comes to owe


def test_a_later_outcome_adds_and_never_changes() -> None:
    """First only the judgments are known; then answers; then one of them is another, and the bonus is taken back."""
    ledger = Ledger()
    first = ledger.settle(RULES, [work()])
    assert [(e.key.kind, e.number, e.amount, e.positions) for e in first] == [("judgment", 0, 500, (0, 9))]
    second = ledger.settle(RULES, [work(right=2, agreed=6)])
    assert [(e.key.kind, e.number, e.amount) for e in second] == [("gold", 0, 40), ("agreement", 0, 60)]
    third = ledger.settle(RULES, [work(right=2, agreed=5)])
    assert [(e.key.kind, e.number, e.amount) for e in third] == [("agreement", 1, -10)]
    assert ledger.settle(RULES, [work(right=2, agreed=5)]) == []
    assert ledger.balance("j", "ann") == ledger.spent("j") == 590
    assert Ledger([*first, *second, *third]).balance("j", "ann") == 590


def test_an_entry_counts_once() -> None:
    """A ledger that is read back refuses what is there already, and what has a gap before it."""
    (entry,) = Ledger().settle(RULES, [work()])
    with pytest.raises(ValueError, match="1 is expected"):
        Ledger([entry, entry])
    with pytest.raises(ValueError, match="0 is expected"):
        Ledger([Entry(entry.key, 1, Sum(5))])


def test_the_cap_of_a_person() -> None:
    """What is beyond it is taken back by an entry of its own, and given when there is room again."""
    rules = Rules(judgment=50, agreement=10, per_person=700)
    ledger = Ledger()
    ledger.settle(rules, [work(suite=0, agreed=10)])
    found = ledger.settle(rules, [work(suite=1)])
    assert [(e.key.kind, e.key.suite, e.amount) for e in found] == [("judgment", 1, 500), ("cap", -1, -400)]
    assert ledger.balance("j", "ann") == 700
    assert [e.amount for e in ledger.settle(rules, [work(suite=1, positions=set())])] == [-500, 400]
    assert ledger.balance("j", "ann") == 600


def test_work_from_what_was_said() -> None:
    """Parts are joined, repeats and failures left out; who judges a task in two slots is paid for the first."""
    said = [
        message(3, 1, "ann", {30: "a", 31: "a"}),
        message(3, 0, "ann", {30: "b"}, failed=[32]),
        message(3, 0, "ann", {30: "x", 32: "a"}),
        message(3, 0, "bob", {31: "a", 33: "b"}),
    ]
    found = works("j", 3, said, {30: "a", 33: "b"}, {31: "a", 32: "a", 33: "b"}, str.__eq__)
    assert [(w.slot, w.worker, set(w.positions), w.right, w.wrong, w.agreed) for w in found] == [
        (0, "ann", {30, 32}, 0, 1, 1),
        (0, "bob", {31, 33}, 1, 0, 1),
        (1, "ann", {31}, 0, 0, 1),
    ]


people = st.sampled_from(["ann", "bob", "cy"])
values = st.sampled_from(["a", "b"])
#: A message: slot, person, what it says of the positions of one suite of four, and a failed one perhaps.
heard = st.tuples(
    st.integers(0, 2), people, st.dictionaries(st.integers(0, 3), values, min_size=1), st.lists(st.just(3), max_size=1)
)
outcomes = st.dictionaries(st.integers(0, 3), values)


@settings(max_examples=150)
@given(st.lists(heard, max_size=6), st.lists(outcomes, min_size=1, max_size=4), outcomes, st.booleans(), st.randoms())
def test_the_ledger_balances(
    said: list[Any], answers: list[dict[int, str]], truths: dict[int, str], capped: bool, lot: random.Random
) -> None:
    """Messages in any order, twice, with answers that come and change on the way: the sum is that of the facts.

    It is what a ledger has that hears all at once; nobody is in debt or above the cap; nothing is written twice, and
    the entries of each key are numbered without a gap.
    """
    rules = Rules(judgment=50, gold=20, agreement=10, penalty=80, per_person=130 if capped else None)
    slots: dict[tuple[int, str], Any] = {}
    for slot, worker, judged, failed in said:  # a slot that contradicts itself is held to what it said first
        slots.setdefault((slot, worker), message(0, slot, worker, judged, [p for p in failed if p not in judged]))
    messages = list(slots.values())

    def now(heard_: list[Judgments], answers_: dict[int, str]) -> list[Work]:
        return works("j", 0, heard_, truths, answers_, str.__eq__)

    at_once = Ledger()
    at_once.settle(rules, now(messages, answers[-1]))
    ledger, written, known = Ledger(), list[Entry](), list[Judgments]()
    arriving = messages * 2
    lot.shuffle(arriving)
    for one in arriving:
        known.append(one)
        written += ledger.settle(rules, now(known, lot.choice(answers)))
    written += ledger.settle(rules, now(known, answers[-1]))
    assert ledger.settle(rules, now(known[::-1], answers[-1])) == []
    names = [(entry.key, entry.number) for entry in written]
    assert len(set(names)) == len(names)
    for worker in ("ann", "bob", "cy"):
        balance = ledger.balance("j", worker)
        assert balance == at_once.balance("j", worker) == Ledger(written).balance("j", worker)
        assert balance == sum(entry.amount for entry in written if entry.key.worker == worker)
        facts = sum(total(rules, w) for w in now(messages, answers[-1]) if w.worker == worker)
        assert balance == (min(facts, 130) if capped else facts)
        assert balance >= 0
    assert ledger.spent("j") == sum(entry.amount for entry in written)


def test_shares_and_caps_before_the_work() -> None:
    """Nobody gives more than a share of the job, or works for nothing; everybody may give one."""
    fair = Rules(judgment=50, share=0.2)
    assert [left(fair, 100, given_, 0) for given_ in (0, 19, 20, 25)] == [20, 1, 0, 0]
    assert left(fair, 3, 0, 0) == 1
    assert left(RULES, 100, 50, 0) is None
    assert [most(0.29, 100), most(0.1, 30)] == [29, 3]  # 0.29 x 100 is less than 29 in binary
    capped = Rules(judgment=50, per_person=120)
    assert [left(capped, 100, 2, balance) for balance in (0, 100, 120)] == [3, 1, 0]


def test_wages_by_hand() -> None:
    """300 judgments at 0.05 in 90 minutes are 10 an hour; who has worked for a minute is not judged by it."""
    assert plain(hourly(micro(Decimal("0.05")) * 300, 5400) or 0) == 10
    assert hourly(5, 0) is None
    rules = Rules(judgment=50_000, floor=micro(Decimal(12)))
    people = {
        "ann": Sum(15_000_000, 300, 5_400_000), "bob": Sum(15_000_000, 300, 4_000_000), "cy": Sum(1, 1, 60_000),
        "dee": Sum(0, 0, 700_000),
    }  # fmt: skip
    assert underpaid(rules, people) == {"ann": 10_000_000, "dee": 0}
    assert underpaid(RULES, people) == {}


def test_money_is_not_rounded() -> None:
    """The decimal that stands in the file is what is paid, to a millionth; finer it is refused."""
    rewards = Rewards.model_validate({"judgment": 0.1, "gold": "0.000001", "per_job": 1000})
    rules = Rules.of(Rewards.model_validate(rewards.model_dump(mode="json", exclude_none=True)))
    assert (rules.judgment, rules.gold, rules.per_job, rules.share) == (100_000, 1, 1_000_000_000, None)
    assert plain(3 * rules.judgment) == Decimal("0.3")
    with pytest.raises(ValueError, match="finer"):
        micro(Decimal("0.0000001"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"judgment": -1}, "greater than or equal to 0"),
        ({"judgment": 0.0000001}, "no more than 6 decimal places"),
        (
            {"judgment": 1, "gold": 1, "per_person": 1.5},
            "per_person does not pay for one judgment, which may come to 2",
        ),
        ({"judgment": 1, "per_person": 9, "per_job": 5}, "per_person must not be greater"),
        ({"judgment": 1, "share": 0}, "greater than 0"),
        ({}, "Field required"),
    ],
)
def test_rewards_that_cannot_be(said: dict[str, Any], why: str) -> None:
    """What is wrong is said."""
    with pytest.raises(ValueError, match=why):
        Rewards.model_validate(said)
