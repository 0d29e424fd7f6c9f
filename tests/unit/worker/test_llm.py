"""Judges that are language models, against a server that speaks the protocol, faults included."""

from __future__ import annotations

import contextlib
import email.utils
import json
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from manyhands import Judgment, RejectTask, RetryTask
from manyhands.errors import HandBack, HandlerError
from manyhands.handlers import Asked
from manyhands.spec import Answer, Llm
from manyhands.testing import FakeClock
from manyhands_worker.judging import NoJudgment
from manyhands_worker.llm import limits
from manyhands_worker.llm.client import BARRED, Declined, Misconfigured, Trouble
from manyhands_worker.llm.judge import GIVE_UP, LlmJudge
from manyhands_worker.offer import offers
from tests.llm import Model, Response, Server, answered, completion, failed, payload, serving
from tests.services import wait_until
from tests.unit.certificates import Authority
from tests.unit.worker.harness import (
    PATIENCE,
    PLAIN,
    Results,
    dead,
    delivery,
    judge,
    judgments,
    pool,
    retried,
    setup,
    suite,
    values,
)

CHOICE = Answer(type="choice", options=["positive", "negative", "mixed"])
KEY = "sk-a-secret-key"


class Turned(FakeClock):
    """A clock that whoever waits turns; it keeps for how long they did."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.waits.append(seconds)
        self.turn(seconds)


def ask(
    model: Model, *payloads: Any, answer: Answer = CHOICE, clock: Turned | None = None, patience: float = PATIENCE,
    share: float = 1.0, **keys: Any,
) -> tuple[list[Any], Server]:  # fmt: skip
    """What a judge at a server with this model says of the payloads, one after the other unless told otherwise."""
    clock = clock or Turned()
    with serving(model) as server:
        llm = Llm(**{"url": server.url, "model": "m", "concurrency": 1, "prompt": "{payload}", **keys})
        made = LlmJudge(
            "gpt", llm, "Is it good?", answer, share=share, patience=patience, clock=clock, sleep=clock.sleep
        )
        try:
            return made(range(len(payloads)), payloads), server
        finally:
            made.close()


def in_turn(*responses: Response) -> Model:
    """A model that responds so, one after the other, and then for ever with the last."""
    left = list(responses)
    return lambda _asked: left.pop(0) if len(left) > 1 else left[0]


def test_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request for each task, with key, prompt and schema; values in the order of the tasks."""
    monkeypatch.setenv("LLM_KEY", f" {KEY}\n")
    monkeypatch.setenv("TEAM", "t-1")
    said, server = ask(
        lambda asked: answered("positive" if "so good" in payload(asked) else "negative"), "so good", "so bad",
        api_key_env="LLM_KEY", headers={"X-Team": "${TEAM}"}, system="Be brief.", seed=7,
        prompt="{question}\n---\n{payload}\n---\n{answer}", extra={"top_k": 1, "max_tokens": None},
    )  # fmt: skip
    assert said == [Judgment("positive"), Judgment("negative")]
    first = server.asked[0]
    assert server.paths[0] == "/v1/chat/completions"
    assert (server.headers[0]["authorization"], server.headers[0]["x-team"]) == (f"Bearer {KEY}", "t-1")
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": "Is it good?\n---\nso good\n---\nAnswer with nothing but a JSON object "
            '{"answer": …}; the answer is one of "positive", "negative", "mixed".',
        },
    ]
    assert (first["model"], first["temperature"], first["seed"], first["top_k"]) == ("m", 0, 7, 1)
    assert "max_tokens" not in first
    assert (first["logprobs"], first["top_logprobs"]) == (True, 5)
    schema = first["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["answer"]["enum"] == ["positive", "negative", "mixed"]


@pytest.mark.parametrize("rest", ["", "/", "/chat/completions", "/chat/completions?v=1"])
def test_a_whole_endpoint_may_be_given(rest: str) -> None:
    """Or the base, with or without a slash; an endpoint may have a query, as some clouds want it."""
    with serving(lambda _: answered("mixed")) as server:
        made = LlmJudge("gpt", Llm(url=server.url + rest, model="m"), "", CHOICE, share=1, patience=PATIENCE)
        assert made([0], ["a"]) == [Judgment("mixed")]
        made.close()
    assert server.paths == ["/v1/chat/completions" + ("?v=1" if "?" in rest else "")]


def test_what_is_none_of_the_options_is_passed_on() -> None:
    """Whether a value is an answer of the job is for the aggregator to say, which has it judged again."""
    said, _ = ask(lambda _: answered("great", tokens=[('{"answer": "', 1, {}), ("great", 0.5, {}), ('"}', 1, {})]), "a")
    assert said == [Judgment("great", 0.5)]


@pytest.mark.parametrize(
    ("response", "kind", "told"),
    [
        (completion("positive"), NoJudgment, "did not answer as asked"),
        (completion('```json\n{"answer": "positive"}\n```'), NoJudgment, "did not answer as asked"),
        (completion('{"answer": "positive", "why": "it is"}'), NoJudgment, "alone is expected"),
        (completion('{"answer": "posi', finish="length"), NoJudgment, "cut off at max_tokens"),
        (completion(""), NoJudgment, "empty"),
        (completion(None), NoJudgment, "empty"),
        (completion("[" * 5000), NoJudgment, "did not answer as asked"),
        (completion(None, refusal="I would rather not"), RejectTask, "I would rather not"),
        (completion("", finish="content_filter"), RejectTask, "content_filter"),
        (Response(body=b"{torn"), NoJudgment, "as a chat endpoint does: {torn"),
        (Response(body=b'{"choices": []}'), NoJudgment, "as a chat endpoint does"),
        (Response(body=b'{"choices": [{"message": {"content": 3}}]}'), NoJudgment, "as a chat endpoint does"),
        (Response(body=b"[" * 100_000), NoJudgment, "as a chat endpoint does"),
        (failed(400, "context too long"), RejectTask, "answered 400: context too long"),
        (failed(413), RejectTask, "answered 413"),
    ],
)
def test_one_bad_task(response: Response, kind: type[Exception], told: str) -> None:
    """A refusal, an answer that is none, a request that is not taken: that task fails alone, and is sent once."""
    said, server = ask(lambda asked: response if payload(asked) == "bad" else answered("mixed"), "a", "bad", "b")
    assert (said[0], said[2]) == (Judgment("mixed"), Judgment("mixed"))
    assert type(said[1]) is kind
    assert told in str(said[1])
    assert len(server.asked) == 3


@pytest.mark.parametrize(("response", "kind"), [
    (failed(401, "Incorrect API key provided: " + KEY), Misconfigured), (failed(402, "no money"), Misconfigured),
    (failed(429, "pay", code="insufficient_quota"), Misconfigured), (failed(403, KEY), Declined),
    (failed(404, "no model m"), Declined), (failed(302, Location="http://127.0.0.1:9/"), Declined),
])  # fmt: skip
def test_who_is_not_let_in(monkeypatch: pytest.MonkeyPatch, response: Response, kind: type[Exception]) -> None:
    """One is asked, and no task is lost to a wrong key: all go back for a while, told why in the server's words.

    Of what may be one task's fault it counts as a try of the one that was asked.
    """
    monkeypatch.setenv("LLM_KEY", KEY)
    said, server = ask(lambda _: response, "a", "b", "c", api_key_env="LLM_KEY")
    assert [type(one) for one in said] == [kind, HandBack, HandBack]
    assert {one.after for one in said} == {BARRED}
    assert len(server.asked) == 1
    assert f"the judge gpt at {server.url}/chat/completions: it answered {response.status}" in str(said[0])
    assert KEY not in str(said[0])
    assert server.headers[0]["authorization"].endswith(KEY)


def test_a_key_that_is_mended() -> None:
    """Nothing is asked for a while, whichever suite comes; then it is seen whether it judges again."""
    clock, responses = Turned(), in_turn(failed(401, "who are you"), answered("mixed"))
    with serving(responses) as server:
        made = LlmJudge("gpt", Llm(url=server.url, model="m", concurrency=1), "", CHOICE, share=1, patience=PATIENCE,
                        clock=clock, sleep=clock.sleep)  # fmt: skip
        made([0], ["a"])
        clock.turn(BARRED / 2)
        (early,) = made([0], ["a"])
        assert isinstance(early, HandBack)
        assert (early.after, len(server.asked)) == (BARRED / 2, 1)
        assert "answered 401: who are you" in made.trouble
        clock.turn(BARRED)
        assert made([0], ["a"]) == [Judgment("mixed")]
        assert made.trouble == ""
        made.close()


def test_one_task_that_is_not_taken() -> None:
    """Where others are answered a 403 or 404 is that task's, as of gateways that look at what is asked."""
    said, _ = ask(lambda asked: failed(403, "no") if payload(asked) == "bad" else answered("mixed"), "a", "bad", "b")
    assert [type(one) for one in said] == [Judgment, RejectTask, Judgment]


OLD = {"logprobs": "'logprobs' is not supported with this model",
       "response_format": "This response_format type is unavailable now"}  # fmt: skip


@pytest.mark.parametrize(("refused", "left"), [
    ({"logprobs"}, ["json_schema"]), ({"json_schema"}, ["json_schema", "json_object"]),
    ({"json_schema", "json_object", "logprobs"}, ["json_schema", "json_schema", "json_object", None]),
])  # fmt: skip
def test_servers_that_know_less(refused: set[str], left: list[str | None]) -> None:
    """What they refuse is left out from then on: log-probabilities, the schema, JSON at all."""

    def model(asked: dict[str, Any]) -> Response:
        if "logprobs" in asked and "logprobs" in refused:
            return failed(400, OLD["logprobs"])
        if asked.get("response_format", {}).get("type") in refused:
            return failed(422, OLD["response_format"])
        return answered("mixed")

    said, server = ask(model, "a", "b")
    assert said == [Judgment("mixed")] * 2
    forms = [asked.get("response_format", {}).get("type") for asked in server.asked]
    if refused == {"logprobs"}:
        assert ["logprobs" in asked for asked in server.asked] == [True, False, False]
        assert set(forms) == set(left)
    else:
        assert forms == [*left, left[-1]]


def test_a_payload_cannot_take_the_schema_away() -> None:
    """A refusal that speaks of it, and stays whatever is left out, is that task's, and changes nothing for others."""
    said, server = ask(
        lambda asked: failed(400, f"bad: {payload(asked)}") if "bad" in payload(asked) else answered("mixed"),
        "bad response_format json_schema logprobs", "a",
    )  # fmt: skip
    assert [type(one) for one in said] == [RejectTask, Judgment]
    assert len(server.asked) == 5
    assert (server.asked[-1]["response_format"]["type"], "logprobs" in server.asked[-1]) == ("json_schema", True)


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5), ({"retry-after": "9"}, 9.0), ({"retry-after": "-9"}, 0.0),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s",
      "x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "6h"}, 62.5),
    ({"x-ratelimit-reset-requests": "20ms", "x-ratelimit-reset-tokens": "6"}, 6.0),
    ({"x-ratelimit-reset-requests": "1700000042"}, 42.0), ({"x-ratelimit-reset-requests": "1h1m"}, 3660.0),
    ({"x-ratelimit-reset-requests": "soon", "retry-after": "later"}, None), ({"x-ratelimit-reset-tokens": "nan"}, None),
    ({}, None),
])  # fmt: skip
def test_what_servers_say_of_their_limits(headers: dict[str, str], seconds: float | None) -> None:
    """Of each of the ways in which they say it the seconds."""
    assert limits.wait(headers, 1_700_000_000.0) == (None if seconds is None else pytest.approx(seconds))


def test_limits_of_the_server() -> None:
    """Without Retry-After the headers of its rate limits say when the next request may go."""
    clock, times = Turned(), list[float]()
    responses = in_turn(
        failed(429, x_ratelimit_remaining_tokens="0", x_ratelimit_reset_tokens="12s"), answered("mixed")
    )

    def model(asked: dict[str, Any]) -> Response:
        times.append(clock.now())
        return responses(asked)

    ask(model, "a", "b", clock=clock)
    assert 11 <= times[1] - times[0] <= 13


def test_a_worker_that_stops() -> None:
    """What is under way is finished, since it is paid for; the rest of the suite goes back at once."""
    begun, stopped = threading.Event(), threading.Event()

    def model(asked: dict[str, Any]) -> Response:
        if payload(asked) == "limited":
            assert begun.wait(PATIENCE)
            return failed(429, Retry_After="20")
        begun.set()
        assert stopped.wait(PATIENCE)
        return answered("mixed")

    with serving(model) as server:
        llm = Llm(url=server.url, model="m", prompt="{payload}", concurrency=2)
        made = LlmJudge("gpt", llm, "", CHOICE, share=1, patience=PATIENCE)
        said: list[Any] = []
        thread = threading.Thread(target=lambda: said.extend(made(range(4), ["limited", "a", "b", "c"])))
        thread.start()
        wait_until(lambda: len(server.asked) == 2, PATIENCE, "two requests")
        made.hurry()
        stopped.set()
        thread.join(PATIENCE)
        made.close()
    assert [type(one) for one in said] == [HandBack, Judgment, HandBack, HandBack]
    assert len(server.asked) == 2


@pytest.mark.parametrize("tls", [False, True])
def test_a_head_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tls: bool) -> None:
    """A server that drips is given up in time, byte by byte though it may answer."""
    authority, stop = Authority(tmp_path), threading.Event()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    files = authority.issue("127.0.0.1")

    def drip() -> None:
        line, _ = listening.accept()
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.cert or "", files.key)
            line = context.wrap_socket(line, server_side=True)
        with line, contextlib.suppress(OSError):
            line.recv(1 << 16)
            line.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.05):
                line.sendall(b"X")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip)
        thread.start()
        llm = Llm(url=f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}", model="m")
        made = LlmJudge("gpt", llm, "", CHOICE, share=1, patience=1)
        said = made([0], ["a"])
        made.close()
        stop.set()
        thread.join(PATIENCE)
    assert isinstance(said[0], Trouble)


def test_large_answers() -> None:
    """More than an answer of so many tokens can be is not read."""
    said, _ = ask(lambda _: Response(body=b" " * (2 << 20)), "a", max_tokens=10)
    assert isinstance(said[0], NoJudgment)
    assert "more than 1,089,536 bytes" in str(said[0])


def test_what_is_short_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of a few letters, as local servers have, may stand in answers."""
    monkeypatch.setenv("LLM_KEY", "mixed")
    said, _ = ask(lambda _: answered("mixed"), "a", api_key_env="LLM_KEY")
    assert said == [Judgment("mixed")]


def test_a_key_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the variable is not set the file that NAME_FILE names holds it; one that is not there is told."""
    monkeypatch.setenv("LLM_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(HandlerError, match="the judge gpt: the file that LLM_KEY_FILE names cannot be read"):
        ask(lambda _: answered("mixed"), "a", api_key_env="LLM_KEY")
    (tmp_path / "key").write_text(KEY + "\n")
    _, server = ask(lambda _: answered("mixed"), "a", api_key_env="LLM_KEY")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server is trusted by SSL_CERT_FILE, and one that nobody vouches for is sent nothing."""
    authority = Authority(tmp_path)
    with serving(lambda _: answered("mixed"), authority.issue("127.0.0.1")) as server:
        llm, said = Llm(url=server.url, model="m", retries=0), []
        for trusted in (Authority(tmp_path / "other"), authority):
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted.pem))
            made = LlmJudge("gpt", llm, "", CHOICE, share=1, patience=PATIENCE)
            said += made([0], ["a"])
            made.close()
    assert "CERTIFICATE_VERIFY_FAILED" in str(said[0])
    assert said[1] == Judgment("mixed")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "trouble",
    [failed(500), failed(502), failed(503), failed(408), failed(429), Response(body=b"{", cut=True)],
)
def test_trouble_is_tried_again(trouble: Response) -> None:
    """What may be better in a moment is sent again after longer and longer waits, and costs the task nothing."""
    clock = Turned()
    said, server = ask(in_turn(trouble, trouble, answered("mixed")), "a", clock=clock)
    assert said == [Judgment("mixed")]
    assert len(server.asked) == 3
    assert 0.75 <= sum(clock.waits) <= 2


def test_trouble_that_stays() -> None:
    """After so many retries the task goes to the retry ladder, no sooner than the server says."""
    said, server = ask(lambda _: failed(503, "resting", Retry_After="1"), "a", retries=2)
    assert isinstance(said[0], Trouble)
    assert said[0].after == 1
    assert "503: resting" in str(said[0])
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after(status: int, as_date: bool) -> None:
    """Seconds or a date: until then nothing is sent, for whichever task."""
    clock = Turned()
    after = email.utils.formatdate(clock.now() + 20, usegmt=True) if as_date else "20"
    times: list[float] = []
    responses = in_turn(failed(status, Retry_After=after), answered("mixed"))

    def model(asked: dict[str, Any]) -> Response:
        times.append(clock.now())
        return responses(asked)

    said, _ = ask(model, "a", "b", clock=clock)
    assert said == [Judgment("mixed")] * 2
    assert 19 <= times[1] - times[0] <= 21


def test_a_pause_that_is_too_long() -> None:
    """The one that was sent goes to the ladder; the others go back unsent, which counts as no try."""
    clock = Turned()
    said, server = ask(lambda _: failed(429, Retry_After="900"), "a", "b", "c", clock=clock, patience=30)
    assert [type(one) for one in said] == [Trouble, HandBack, HandBack]
    assert said[0].after == 900
    assert len(server.asked) == 1
    assert sum(clock.waits) == pytest.approx(30)  # waited for: to hand back at once would go round and round


def test_a_server_that_is_away() -> None:
    """After some tasks in a row the others are handed back unasked."""
    made = LlmJudge("gpt", Llm(url="http://127.0.0.1:9/v1", model="m", retries=0, concurrency=1), "", CHOICE,
                    share=1, patience=PATIENCE)  # fmt: skip
    said = made(range(8), ["a"] * 8)
    made.close()
    assert [type(one) for one in said] == [Trouble] * GIVE_UP + [HandBack] * (8 - GIVE_UP)
    assert isinstance(said[0], RetryTask)


def test_tasks_that_the_server_stumbles_over() -> None:
    """Those that get an error every time cost no other its judgment."""
    said, _ = ask(
        lambda asked: failed(500) if payload(asked) == "bad" else answered("mixed"), *["bad", "bad", "a"] * 4, retries=0
    )
    assert [type(one) for one in said] == [Trouble, Trouble, Judgment] * 4


def test_a_slow_server() -> None:
    """No answer within the time limit is trouble."""
    release = threading.Event()

    def slow(_asked: dict[str, Any]) -> Response:
        release.wait(PATIENCE)
        return answered("mixed")

    with serving(slow) as server:
        llm = Llm(url=server.url, model="m", time_limit=0.2, retries=0)
        made = LlmJudge("gpt", llm, "", CHOICE, share=1, patience=PATIENCE)
        (said,) = made([0], ["a"])
        release.set()
        made.close()
    assert isinstance(said, Trouble)
    assert "Timeout" in str(said)


def test_requests_at_once() -> None:
    """As many as the configuration says, and no more: the server answers the first only when all of them are there."""
    lock, all_there = threading.Lock(), threading.Event()
    now, most = 0, 0

    def model(_asked: dict[str, Any]) -> Response:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == 4:
                all_there.set()
        assert all_there.wait(PATIENCE)
        with lock:
            now -= 1
        return answered("mixed")

    said, _ = ask(model, *["a"] * 12, concurrency=4)
    assert said == [Judgment("mixed")] * 12
    assert most == 4


def minutes(times: list[float], amounts: list[float]) -> float:
    """The most that any minute saw."""
    return max(sum(a for t, a in zip(times, amounts, strict=True) if s <= t < s + 60) for s in times)


@pytest.mark.parametrize(("keys", "amount", "most"), [
    ({"requests_per_minute": 30}, 1, 30),
    ({"requests_per_minute": 60, "share": 0.5}, 1, 30),
    ({"tokens_per_minute": 3300}, 110, 3300),
])  # fmt: skip
def test_rate_limits(keys: dict[str, Any], amount: int, most: int) -> None:
    """No minute sees more requests or tokens than it may, and not many fewer; a child has its share."""
    clock, times = Turned(), list[float]()

    def model(_asked: dict[str, Any]) -> Response:
        times.append(clock.now())
        return answered("mixed", usage=(100, 10))

    said, _ = ask(model, *["a"] * 90, clock=clock, patience=600, max_tokens=200, **keys)
    assert said == [Judgment("mixed")] * 90
    assert most * 0.9 <= minutes(times, [amount] * 90) <= most * 1.001


def test_tasks_whose_turn_does_not_come() -> None:
    """Within the time for a suite as many are judged as the limit lets through; the others go back."""
    said, server = ask(lambda _: answered("mixed"), *["a"] * 10, patience=59, requests_per_minute=3)
    assert [type(one) for one in said] == [Judgment] * 3 + [HandBack] * 7
    assert len(server.asked) == 3
    assert "limits of gpt" in str(said[-1])


def test_a_suite_that_takes_too_long() -> None:
    """No request is begun when the time for the suite is over, however slow the server is."""
    clock = Turned()

    def slow(_asked: dict[str, Any]) -> Response:
        clock.turn(20)
        return answered("mixed")

    said, _ = ask(slow, *["a"] * 5, clock=clock, patience=50)
    assert [type(one) for one in said] == [Judgment] * 3 + [HandBack] * 2


def test_costs() -> None:
    """Tokens by their price; what was no judgment is paid with another; without a price there is no cost."""
    price = {"input": 2, "output": 8}
    bad = completion("?", usage=(100, 10))
    with serving(lambda asked: bad if payload(asked) == "bad" else answered("mixed", usage=(1000, 5))) as server:
        llm = Llm(url=server.url, model="m", prompt="{payload}", price=price)
        made = LlmJudge("gpt", llm, "", CHOICE, share=1, patience=PATIENCE)
        both, (after,) = made([0, 1], ["bad", "a"]), made([0], ["b"])
        assert (made.used(), made.used()) == (
            {"requests": 3, "input": 2100, "output": 20, "cost": pytest.approx(0.00436)},
            {"requests": 0, "input": 0, "output": 0, "cost": 0},
        )
        made.close()
    assert both[1].cost == pytest.approx((1000 * 2 + 5 * 8 + 100 * 2 + 10 * 8) / 1e6)
    assert after.cost == pytest.approx((1000 * 2 + 5 * 8) / 1e6)
    said, _ = ask(lambda _: answered("mixed"), "a")
    assert said[0].cost is None


@pytest.mark.parametrize(
    ("answer", "bad", "good"),
    [(CHOICE, "great", "mixed"), (Answer(type="choices", options=["a", "b"]), ["a", "c"], ["b"]),
     (Answer(type="choices", options=["a", "b"]), "a", []), (Answer(type="choice", options=["1", "2"]), 3, 1)],
)  # fmt: skip
def test_what_invalid_answers_cost(answer: Answer, bad: Any, good: Any) -> None:
    """Their own: the aggregator counts it, though it keeps nothing else of them."""
    said, _ = ask(in_turn(answered(bad), answered(good)), "a", "b", answer=answer, price={"input": 1e4, "output": 0})
    assert said == [Judgment(bad, None, 1.0), Judgment(good, None, 1.0)]


def test_what_no_judgment_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply without a value is paid by the judgments of its suite, or of a later one of its job, and of no other."""
    suite = Asked()
    monkeypatch.setattr("manyhands_worker.llm.judge.asked", lambda: suite)
    monkeypatch.setattr("manyhands_worker.llm.judge.JOBS", 2)
    nothing = completion("?", usage=(100, 0))
    with serving(lambda asked: nothing if payload(asked) == "none" else answered("mixed", usage=(100, 0))) as server:
        llm = Llm(url=server.url, model="m", prompt="{payload}", price={"input": 1e4, "output": 0})
        made = LlmJudge("gpt", llm, "", CHOICE, share=1, patience=PATIENCE)

        def costs(job: str, *payloads: str) -> list[float | None]:
            nonlocal suite
            suite = Asked(job=job)
            said = made(range(len(payloads)), payloads)
            return [one.cost if isinstance(one, Judgment) else None for one in said]

        one = costs("x", "a")[0] or 0.0
        assert one > 0
        assert costs("x", "none", "a", "b", "none") == [None, 2 * one, 2 * one, None]
        assert costs("x", "none") == [None]
        assert costs("y", "a") == [one]
        assert costs("x", "a", "b") == [1.5 * one, 1.5 * one]
        assert costs("x", "a") == [one]
        for job in ("x", "y", "z"):  # of so many only it is remembered
            costs(job, "none")
        assert [costs(job, "a") for job in ("x", "y", "z")] == [[one], [2 * one], [2 * one]]
        made.close()


@pytest.mark.parametrize("usage", [b"null", b"{}", b'{"prompt_tokens": -1, "completion_tokens": 2}', b"[]"])
def test_costs_without_usage(usage: bytes) -> None:
    """Where the server does not count, or nonsense, tokens are guessed from the bytes: nothing is for free."""
    body = b'{"choices": [{"message": {"content": "{\\"answer\\": \\"mixed\\"}"}}], "usage": ' + usage + b"}"
    said, server = ask(lambda _: Response(body=body), "a", price={"input": 3e6, "output": 3e6})
    sent = len(json.dumps(server.asked[0], ensure_ascii=False).encode())
    assert said[0].cost == pytest.approx(sent + len('{"answer": "mixed"}'), abs=6)


@pytest.mark.parametrize(
    ("keys", "environ", "told"),
    [
        ({"api_key_env": "LLM_KEY"}, {}, "the judge gpt: a header needs the environment variable LLM_KEY"),
        ({"headers": {"X-K": "${NOT_SET}"}}, {}, "variable NOT_SET"),
        ({"api_key_env": "LLM_KEY"}, {"LLM_KEY": "two\nlines"}, "the judge gpt: a header holds a character"),
    ],
)
def test_keys_that_are_not_right(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], environ: dict[str, str], told: str
) -> None:
    """Told before anything is sent, without what they hold."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HandlerError, match=told) as raised:
        LlmJudge("gpt", Llm(url="http://x/", model="m", **keys), "", CHOICE, share=1, patience=1)
    assert "lines" not in str(raised.value)


def counted() -> list[float]:
    """Requests, tokens and money of the judge so far."""
    names = ("requests", "input_tokens", "output_tokens", "cost")
    return [REGISTRY.get_sample_value(f"manyhands_llm_{name}_total", {"judge": "gpt"}) or 0.0 for name in names]


def test_a_judge_that_is_not_served() -> None:
    """It needs no key here; one that is served and has none is told at the start."""
    llm = {"url": "http://x/", "model": "m", "api_key_env": "LLM_NO_SUCH_KEY"}
    config = {"llm": llm, "question": "", "answer": CHOICE.model_dump(), "version": "1"}
    with pool(PLAIN, llm={"gpt": config}, judges=["echo"]):
        pass
    with pytest.raises(HandlerError, match="the judge gpt: a header needs the environment variable LLM_NO_SUCH_KEY"):
        offers(setup(llm={"gpt": config}), lambda _group, _runs: None)


def test_in_a_child(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Through the pool: values, confidences, costs and metrics; the ladder; a dead letter without the key."""
    monkeypatch.setenv("LLM_KEY", KEY)
    sure = [('{"answer": "', 1.0, {}), ("mixed", 0.6, {"positive": 0.2}), ('"}', 1.0, {})]
    responses: dict[str, Callable[[], Response]] = {
        "busy": lambda: failed(500, KEY), "never": lambda: failed(400, f"Bearer {KEY} is no good"),
        "half": lambda: Response(body=f"<html>{KEY}".encode()),
    }  # fmt: skip
    with serving(lambda asked: responses.get(payload(asked), lambda: answered("mixed", tokens=sure))()) as server:
        llm = {"url": server.url, "model": "m", "prompt": "{payload}", "api_key_env": "LLM_KEY", "retries": 0}
        config = {"llm": {**llm, "price": {"input": 1, "output": 1}}, "question": "?", "version": "6",
                  "answer": CHOICE.model_dump()}  # fmt: skip
        before = counted()
        with pool(llm={"gpt": config}, children=1) as made:
            judged, later, never = judge(
                made, suite("gpt", ["a", "b"]), suite("gpt", ["busy"], suite=2),
                suite("gpt", ["never", "c", "half"], suite=3, attempt=3),
            )  # fmt: skip
    assert values(judged) == {100: "mixed", 101: "mixed"}
    found = judgments(judged)
    assert found.version == "6"
    assert found.confidences == pytest.approx([0.75, 0.75])
    assert found.costs == pytest.approx([0.00011, 0.00011])
    assert retried(later)[0][1].attempt == 2
    # three good answers; what was no answer of the protocol has no usage
    assert [now - then for now, then in zip(counted(), before, strict=True)] == pytest.approx([4, 300, 30, 0.00033])
    assert values(never) == {101: "mixed"}
    assert sorted(letter[2]["mh-code"] for letter in dead(never)) == ["error", "rejected"]
    out, err = capfd.readouterr()
    everything = f"{[m.body for m in (*judged, *later, *never)]}{[m.headers for m in (*later, *never)]}{out}{err}"
    assert "*** is no good" in everything
    assert KEY not in everything


def test_a_child_that_is_not_let_in() -> None:
    """Its suites go back for half a minute, no try of theirs, and the worker says what keeps it; until it is let in."""
    out = [True]
    with serving(lambda _: failed(401, "no such key") if out[0] else answered("mixed")) as server:
        llm = {"url": server.url, "model": "m", "concurrency": 1}
        config = {"llm": llm, "question": "?", "version": "6", "answer": CHOICE.model_dump()}
        with pool(PLAIN, llm={"gpt": config}, children=1) as made:
            (gone,) = judge(made, suite("gpt", ["a", "b"]))
            ((rung, back, _),) = retried(gone)
            assert (rung, back.attempt, back.payloads) == ("gpt.30s", 1, ["a", "b"])
            assert "answered 401: no such key" in (made.check() or "")
            judge(made, suite("echo", ["a"]))
            assert made.check() is not None
            out[0] = False
        with pool(PLAIN, llm={"gpt": config}, children=1) as made:
            judge(made, suite("gpt", ["a"]))
            assert made.check() is None


def test_a_child_that_is_to_end() -> None:
    """When its worker stops it finishes the requests that are under way, and hands back the rest of the suite."""
    begun, stopped = threading.Event(), threading.Event()

    def model(_asked: dict[str, Any]) -> Response:
        begun.set()
        assert stopped.wait(PATIENCE)
        return answered("mixed")

    with serving(model) as server:
        llm = {"url": server.url, "model": "m", "concurrency": 1}
        config = {"llm": llm, "question": "?", "version": "6", "answer": CHOICE.model_dump()}
        results = Results()
        with pool(llm={"gpt": config}, children=1) as made:
            made.handle([delivery(suite("gpt", ["a"] * 1000))], results.finish)
            assert begun.wait(PATIENCE)
            made.close()
            stopped.set()
            (outcome,) = results.wait(1)
    judged = list(values(outcome.publish))
    assert judged == list(range(100, 100 + len(server.asked)))  # nothing that was paid for is lost
    assert [*judged, *retried(outcome.publish)[0][1].positions] == list(range(100, 1100))
