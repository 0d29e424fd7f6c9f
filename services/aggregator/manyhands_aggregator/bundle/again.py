"""Answers computed once more, beside those that a bundle holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from manyhands.spec import JobSpec, received
from manyhands_aggregator import export, values
from manyhands_aggregator.answers import Block
from manyhands_aggregator.bundle.answering import answers
from manyhands_aggregator.bundle.files import Bundle
from manyhands_aggregator.bundle.reading import settled, suites


@dataclass(slots=True)
class Compared:
    """Tasks, and how many have another answer now; of those of ``known`` truth, how many were right and are."""

    tasks: int = 0
    different: int = 0
    known: int = 0
    was_right: int = 0
    right: int = 0


def spec_of(bundle: Bundle, method: str | None) -> JobSpec:
    """The job file of a bundle, with another method in it if one is named.

    Raises:
        SpecError: there is no such method, or not for this type of answer.
    """
    spec = bundle.spec()
    return spec if method is None else received({**spec.plain(), "method": method})


def again(bundle: Bundle, spec: JobSpec, compared: Compared) -> Iterator[Block]:
    """The answers, computed from the judgments; what they are beside those of the bundle is counted in ``compared``.

    Raises:
        NoBundle: its files do not fit together.
    """
    blocks = answers(spec, str(bundle.manifest["state"]), suites(bundle.folder))
    return _beside(bundle, spec, blocks, compared)


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
                compared.was_right += "error" not in old and values.same(spec.answer, check, old["answer"], truth)
                compared.right += "error" not in new and values.same(spec.answer, check, new["answer"], truth)
        yield block
