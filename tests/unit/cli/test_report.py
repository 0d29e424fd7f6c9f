"""The report: figures worked out by hand, one page that needs nothing else, and text that cannot become markup."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from manyhands.messages import GOLD_ID, Failure
from manyhands.spec import JobSpec
from manyhands_aggregator.bundle import files
from manyhands_aggregator.bundle.confidence import Confidence
from manyhands_aggregator.bundle.figures import Figures
from manyhands_aggregator.bundle.files import Bundle
from manyhands_aggregator.bundle.reading import suites
from manyhands_aggregator.bundle.tally import Share
from manyhands_aggregator.report import charts, said
from manyhands_aggregator.report.markup import el, outside
from tests.unit.aggregator.kit import Job
from tests.unit.cli.bundles import Shelf, letters

#: Elements without an end tag, and all the elements that a report is made of.
VOID = {"meta", "br"}
KNOWN = VOID | {
    "html", "head", "title", "style", "body", "header", "main", "section", "figure", "figcaption", "details", "summary",
    "div", "span", "p", "b", "i", "bdi", "code", "dl", "dt", "dd", "h1", "h2", "table", "caption", "thead", "tbody",
    "tr", "th", "td", "svg", "rect", "line", "circle", "text",
}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><b>", "</title></svg>", "a&lt;b",
    "\u202egnp", "' onload='x", "]]>", "&#60;", "\x00\x1b[31m", "javascript:alert(1)", "<!--",
]  # fmt: skip


class Page(HTMLParser):
    """A report, parsed: its elements, its attributes, its text, and whether every element is closed where it should."""

    def __init__(self, markup: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.styles = ""
        self._open: list[str] = []
        self.feed(markup.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It ends."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        if self._open[-1:] == ["style"]:
            self.styles += data
        else:
            self.words.append(data)


def _page(bundle: Bundle) -> Page:
    return Page((bundle.folder / files.REPORT).read_bytes())


def _figures(bundle: Bundle) -> Figures:
    figures = Figures(bundle.spec(), {"opened": 0.0, "ended": 10.0, "judgments": 16})
    for suite in suites(bundle.folder):
        figures.add(suite)
    return figures


def test_gold_that_was_mixed_in_is_no_task(shelf: Shelf) -> None:
    """It is told of its judges alone: tasks, answers and what was asked are those of the job's own."""
    bundle = shelf.bundle(letters(shelf.bench, ids=["0", GOLD_ID, "1", GOLD_ID, GOLD_ID, "2"]))
    figures = _figures(bundle)
    assert (figures.tasks, figures.answered, figures.mixed) == (3, 3, 3)
    assert figures.stages[0].judgments == sum(n * tasks for n, tasks in figures.each.items()) == 8
    assert figures.voters.judges["one"].judgments == 6
    said = " ".join(_page(bundle).words)
    assert "3 tasks, all answered, from 18 judgments by one, two and three; 3 tasks of gold mixed in." in said
    assert "Of 6 tasks of known truth 33.3 % are answered right" in said
    assert "No truth is known" not in said


def test_figures_worked_out_by_hand(shelf: Shelf) -> None:
    """Three judges say a a c and b c c of every two tasks (the third fails once); the truth is a b c a b c."""
    figures = _figures(shelf.bundle(letters(shelf.bench)))
    # of suite 1 the third says nothing: a is said twice, and b beats c, which is the later option
    assert figures.answers == {"a": 3, "b": 1, "c": 2}
    assert figures.accuracy == Share(2, 6)
    assert figures.each == {3: 4, 2: 2}
    judges = figures.voters.judges
    assert (judges["three"].judgments, judges["three"].errors, judges["three"].cost) == (4, 2, 2.0)
    assert [judges[name].accuracy for name in ("one", "two", "three")] == [Share(2, 6), Share(2, 6), Share(1, 4)]
    assert [judges[name].agreement for name in ("one", "two", "three")] == [Share(4, 6), Share(5, 6), Share(2, 4)]
    assert judges["one"].seconds == 3.0
    assert figures.cost == 2.0
    assert figures.errors == {"error": 2}
    assert figures.truths is not None
    assert figures.truths.tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 1]]
    assert figures.said["two"].tolist() == [[3, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert [hard.position for hard in figures.hardest] == [3, 0, 1, 4, 5]
    assert figures.hardest[0].votes == [("b", 1), ("c", 1)]
    agreement = figures.agreement
    assert agreement is not None
    assert (agreement["tasks"], agreement["observed"]) == (6, 0.388889)


def test_a_share_has_an_interval() -> None:
    """Wilson's, as tables have it: of 8 right among 10 the share lies between 0.49 and 0.943; none has none."""
    low, high = Share(8, 10).interval or (0.0, 0.0)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Share(10, 10).interval == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert Share(0, 0).interval is None
    assert Share(0, 0).share is None


def test_the_calibration_error_by_hand() -> None:
    """Two bins: 0.9 stated and half right, 0.62 stated and all right: (0.4 x 2 + 0.38 x 1) / 3."""
    found = Confidence()
    for confidence, right in ((0.9, True), (0.9, False), (0.62, True), (1.0, None)):
        found.add(confidence, right)
    assert found.error == pytest.approx((0.4 * 2 + 0.38) / 3)
    assert found.mean == pytest.approx((0.9 * 2 + 0.62 + 1) / 4)
    assert found.count[-1] == 1
    assert Confidence().error is None


@pytest.mark.parametrize("answer", [{"type": "choice", "options": HOSTILE}, {"type": "text"}], ids=["choice", "text"])
def test_text_of_others_is_no_markup(shelf: Shelf, answer: dict[str, object]) -> None:
    """Questions, labels, ids, workers, codes of errors: every one of them is text in the page, and no more."""
    job = Job(
        count=len(HOSTILE), size=len(HOSTILE), judges=["one", "two", "three"], ids=HOSTILE, truths=HOSTILE[::-1],
        more={"answer": answer, "question": " ".join(HOSTILE)},
    )  # fmt: skip
    shelf.bench.take(*job.news())
    shelf.bench.take(job.judged(0, HOSTILE, judge="one"))
    two = replace(job.judged(0, [*HOSTILE[1:], HOSTILE[0]], judge="two"), worker=HOSTILE[0])
    errors = {p: Failure(code=HOSTILE[p], message="m") for p in range(len(HOSTILE) - 1)}
    three = job.judged(0, [None] * len(errors), judge="three", positions=list(errors), errors=errors)
    last = job.judged(0, [HOSTILE[0]], judge="three", positions=[len(HOSTILE) - 1])
    shelf.bench.take(two, replace(three, worker=HOSTILE[1]), replace(last, worker=HOSTILE[3]))
    page = _page(shelf.bundle(job))
    assert set(page.elements) <= KNOWN
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    shown = "\n".join(page.words)
    for text in HOSTILE:
        assert str(outside(text)).startswith("<bdi>")
        seen = text.replace("\u202e", "\\u202e").replace("\x00", "\\u0000").replace("\x1b", "\\u001b")
        assert seen in shown
    assert not re.search("[\x00\x1b\u202e]", shown)


def test_the_page_needs_nothing_else(shelf: Shelf) -> None:
    """No scripts, no links, nothing that a browser would fetch; it says so itself; and each chart has its words."""
    page = _page(shelf.bundle(letters(shelf.bench)))
    assert set(page.elements) <= KNOWN
    assert not {name for _, name, _ in page.attributes} & {"src", "href", "srcset", "action", "data", "xlink:href"}
    assert not re.search(r"url\(|@import|expression|//", page.styles)
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in (value or ""))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert page.elements["svg"] == len(labels) >= 4
    assert page.elements["caption"] == page.elements["table"]
    assert page.elements["h1"] == 1
    text = " ".join(page.words)
    for part in ("Answers", "Confidence", "Agreement", "Judges", "What is taken for what", "Time and cost", "SHA-256"):
        assert part in text
    for theme in ("prefers-color-scheme: dark", "@media print"):
        assert theme in page.styles


def test_elements_escape_their_text_and_attributes() -> None:
    """Text and attributes are escaped; what is markup already is taken as it is."""
    assert el("b", "<i>", class_='"x"') == '<b class="&quot;x&quot;">&lt;i&gt;</b>'
    assert el("p", el("b", "x"), None, 3) == "<p><b>x</b>3</p>"
    assert outside("x" * 500).count("x") == 159


@pytest.mark.parametrize(
    ("part", "words"), [(0.5, "50.0 %"), (1.0, "100.0 %"), (0.9999, ">99.9 %"), (0.0001, "<0.1 %"), (0.0, "0.0 %")]
)
def test_what_is_not_quite_all_is_not_said_to_be_all(part: float, words: str) -> None:
    """Nor is next to nothing said to be nothing."""
    assert said.share(part) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5e-5, "50 µs"),
        (0.0123, "12.3 ms"),
        (59.94, "59.9 s"),
        (61, "1 min 01 s"),
        (7320, "2 h 02 min"),
        (2e5, "2 d 7 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """In the unit that fits."""
    assert said.seconds(seconds) == words


@pytest.mark.parametrize(("most", "scale"), [(0, (1, 1)), (3, (3, 1)), (1797, (2000, 500)), (1e6, (1e6, 500_000))])
def test_axes_end_at_round_numbers(most: float, scale: tuple[float, float]) -> None:
    """Steps of 1, 2 or 5 times a power of ten, and never less than one task."""
    assert charts._scale(most) == scale


def test_what_was_never_judged_can_be_reported(shelf: Shelf) -> None:
    """A job that was cancelled at once has a page, too."""
    job = Job(more={"answer": {"type": "number"}})
    shelf.bench.take(*job.news())
    shelf.bench.take(job.cancelled())
    page = _page(shelf.bundle(job))
    assert "cancelled" in " ".join(page.words)
    assert JobSpec.model_validate(shelf.bundle(job).spec().plain()).answer.type == "number"


def test_price_and_rewards(shelf: Shelf) -> None:
    """What judgments cost by price, what people earned, and the whole; in the manifest as in the report."""
    judges = ["one", {"judge": "people", "price": 0.25}]
    job = Job(count=2, size=2, judges=judges, more={"rewards": {"judgment": 0.5, "agreement": 0.125}})
    shelf.bench.take(*job.news(), job.judged(0, "a"), replace(job.judged(0, "a", judge="people"), worker="people/ann"))
    bundle = shelf.bundle(job)
    assert bundle.manifest["cost"] == {"by_price": 0.5, "rewards": 1.25, "whole": 1.75}
    words = _page(bundle).words
    at = words.index("judgments, by price")
    assert words[at : at + 6] == [
        "judgments, by price", "0.5", "rewards, what people earned", "1.25", "the whole", "1.75",
    ]  # fmt: skip
