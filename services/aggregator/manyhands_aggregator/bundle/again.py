"""Answers computed once more, beside those that a bundle holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import get_args

from manyhands.messages import GOLD_ID
from manyhands.spec import JobSpec, received
from manyhands.spec.methods import Plain
from manyhands_aggregator import export, values
from manyhands_aggregator.answers import Block
from manyhands_aggregator.bundle.answering import answers
from manyhands_aggregator.bundle.files import Bundle
from manyhands_aggregator.bundle.reading import Suite, fitting_together, settled, suites
from manyhands_aggregator.bundle.whole import named
from manyhands_aggregator.decide import Decision


@dataclass(slots=True)
class Compared:
    """Tasks, and how many have another answer now; of those of ``known`` truth, how many were right and are.

    Gold that was ``mixed`` in is of known truth, and none of the tasks.
    ``taken`` are the ids of those whose answers were not computed: an earlier version has recorded nothing else.
    """

    tasks: int = 0
    different: int = 0
    known: int = 0
    was_right: int = 0
    right: int = 0
    mixed: int = 0
    taken: list[str] = field(default_factory=list)


def again(bundle: Bundle, compared: Compared, method: str | None = None) -> Iterator[Block]:
    """The answers, computed from the judgments; what they are beside those of the bundle is counted in ``compared``.

    With a ``method`` they are computed by that one: one of the job file, or any of the truth package.

    Raises:
        NoBundle: its files do not fit together.
        NoMethod: there is no such method for answers of this type.
        SpecError: a method of the job file that is not for answers of this type.
    """
    spec, state, own = bundle.spec(), str(bundle.manifest["state"]), bundle.manifest["method"]
    other = None if method == own else method
    if other in get_args(Plain):
        spec, method = received({**spec.plain(), "method": other}), None
    elif other is None:
        method = None
    else:
        named(spec.answer, other)

    out = frozenset(bundle.manifest.get("out", ()))

    def read() -> Iterator[Suite]:
        return suites(bundle.folder)

    def mixed(suite: Suite, decision: Decision) -> None:
        for index, task in enumerate(suite.tasks):
            if task["id"] == GOLD_ID and (truth := task.get("truth")) is not None:
                compared.mixed += 1
                compared.right += index not in decision.errors and values.same(
                    spec, check, decision.values[index], truth
                )

    check = values.check(spec.answer)
    blocks = answers(
        spec, state, read, reason=bundle.manifest.get("reason"), accepted=other is None, method=method, out=out,
        taken=compared.taken if other is None else None, mixed=mixed,
    )  # fmt: skip
    with fitting_together(bundle.folder):
        yield from _beside(bundle, spec, blocks, compared)
    compared.known += compared.mixed
    if compared.mixed:  # what was said of it is on record as a share alone
        compared.was_right = round(bundle.manifest.get("accuracy", 0.0) * compared.known)


def _beside(bundle: Bundle, spec: JobSpec, blocks: Iterable[Block], compared: Compared) -> Iterator[Block]:
    check, before = values.check(spec.answer), settled(bundle.folder)
    for block in blocks:
        for new in export.as_maps(block):
            task, old = next(before)
            compared.tasks += 1
            compared.different += new.get("answer") != old["answer"] or ("error" in new) != ("error" in old)
            truth = task.get("truth")
            if truth is not None:
                compared.known += 1
                compared.was_right += "error" not in old and values.same(spec, check, old["answer"], truth)
                compared.right += "error" not in new and values.same(spec, check, new["answer"], truth)
        yield block
