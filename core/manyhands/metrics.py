"""The metric catalogue: every metric of every process, in one file. ``docs/metrics.md`` is generated from here.

Labels never grow with jobs, tasks or people; those are in the logs.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# a series less for each of the others; Prometheus finds restarts by itself
disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs

#: From a cheap function over a suite to a slow model: 1 ms to 10 minutes.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
#: The same for waits that are counted once a process, up to a day.
WAITS = (*SECONDS, 1800, 3600, 4 * 3600, 24 * 3600)
#: Finer where it matters: the confidences that people ask for.
CONFIDENCE = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1)
#: The shares that two to five judgments can make, and beyond.
AGREEMENT = (0.2, 0.25, 0.34, 0.4, 0.5, 0.6, 0.67, 0.75, 0.8, 0.9, 0.99, 1)

# -- every process: what goes through its connections ------------------------------------------------------------------
PUBLISHED = Counter("manyhands_published", "Messages confirmed by the broker.", ["type"])
PUBLISH_FAILED = Counter(
    "manyhands_publish_failed",
    "Publishes that were not confirmed, by reason; they are published again.",
    ["reason"],
)
UNCONFIRMED = Gauge("manyhands_unconfirmed", "Messages published and not yet confirmed.")
BLOCKED = Gauge("manyhands_publish_blocked", "1 while the broker blocks this process from publishing.")
RECONNECTS = Counter("manyhands_reconnects", "Connections to the broker made again.", ["role"])
CONSUMERS = Gauge("manyhands_consumers", "Queues on which this process is registered as a consumer.")
DELIVERED = Counter("manyhands_delivered", "Deliveries received.", ["type"])
SETTLED = Counter("manyhands_settled", "Deliveries settled, by verdict.", ["verdict"])
IN_HAND = Gauge("manyhands_in_hand", "Deliveries received and not yet settled.")
STORE_RETRIES = Counter(
    "manyhands_store_retries",
    "Transactions that failed because the store was away, busy, full or read-only; they are tried again.",
)
CERTIFICATE_EXPIRES = Gauge(
    "manyhands_certificate_expires_timestamp_seconds",
    "When the TLS certificate in use expires (http: the one served; broker: ours or the broker's, the earlier); "
    "absent where there is none.",
    ["use"],
)
COMMIT_SECONDS = Histogram("manyhands_commit_seconds", "Time of one store transaction.", buckets=SECONDS)
BUILD_INFO = Gauge("manyhands_build_info", "1, with the version that runs.", ["version", "process"])

# -- producer ----------------------------------------------------------------------------------------------------------
TASKS_READ = Counter("manyhands_tasks_read", "Tasks read from sources or pushed over the API.")
TASKS_REFUSED = Counter("manyhands_tasks_refused", "Tasks that failed before any judge saw them.", ["code"])
SUITES_PUBLISHED = Counter("manyhands_suites_published", "Suites published, one for each judge and slot.", ["judge"])
SUITES_IN_FLIGHT = Gauge("manyhands_suites_in_flight", "Suites published and not yet settled.")
SUITES_SPOOLED = Gauge("manyhands_suites_spooled", "Suites cut and not yet published.")
OLDEST_SUITE = Gauge(
    "manyhands_oldest_suite_seconds",
    "Age of the oldest suite that is published and not settled, of the jobs that name the judge; 0 when there is none. "
    "After a restart from then on.",
    ["judge"],
)
TURNAROUND_SECONDS = Histogram(
    "manyhands_turnaround_seconds",
    "Time from when a suite was published to when all its tasks were settled.",
    buckets=WAITS,
)
JOBS_OPEN = Gauge("manyhands_jobs_open", "Jobs that have not ended.", ["process"])

# -- worker ------------------------------------------------------------------------------------------------------------
HANDLER_INFO = Gauge(
    "manyhands_handler_info", "1, with the version of the handler that judges for a judge.", ["judge", "version"]
)
TASKS_JUDGED = Counter(
    "manyhands_tasks_judged", "Tasks judged, by judge and result (value, error).", ["judge", "result"]
)
SUITE_SECONDS = Histogram(
    "manyhands_suite_seconds", "Time in which a handler judged a suite.", ["judge"], buckets=SECONDS
)
QUEUE_SECONDS = Histogram(
    "manyhands_queue_seconds",
    "Time from when a suite was published to when a child began with it; tries after the first are not counted.",
    ["judge"],
    buckets=WAITS,
)
BUSY_SECONDS = Counter(
    "manyhands_busy_seconds",
    "Time that children spent judging; divided by that of all children, utilisation.",
    ["judge"],
)
RETRIES = Counter("manyhands_retries", "Tasks put on the retry ladder.", ["judge", "rung"])
CHILDREN = Gauge("manyhands_children", "Child processes running.")
CHILD_DEATHS = Counter(
    "manyhands_child_deaths", "Child processes that ended without being asked, by how.", ["judge", "how"]
)
CHILD_RECYCLED = Counter("manyhands_child_recycled", "Child processes replaced after their share of work.")
PREFETCH = Gauge("manyhands_prefetch", "Suites a worker holds at most.", ["judge"])
LLM_REQUESTS = Counter("manyhands_llm_requests", "Requests that a language model has answered.", ["judge"])
LLM_INPUT_TOKENS = Counter("manyhands_llm_input_tokens", "Tokens of prompts to language models.", ["judge"])
LLM_OUTPUT_TOKENS = Counter("manyhands_llm_output_tokens", "Tokens of what language models answered.", ["judge"])
LLM_COST = Counter(
    "manyhands_llm_cost", "What language models cost by the prices in the job file, in its money.", ["judge"]
)

# -- aggregator --------------------------------------------------------------------------------------------------------
TASKS_SETTLED = Counter(
    "manyhands_tasks_settled",
    "Tasks settled, by result (answered, failed, cancelled); one that failed and is mended later counts as both.",
    ["result"],
)
JUDGMENTS = Counter(
    "manyhands_judgments", "Judgments taken in, by what became of them (kept, duplicate, late).", ["fate"]
)
DEAD_LETTERS = Counter("manyhands_dead_letters", "Messages set aside, by kind and code.", ["kind", "code"])
BELOW_FLOOR = Gauge(
    "manyhands_people_below_floor",
    "People who earn less by the hour than the floor of an open job they work for, of whoever worked ten minutes.",
)
#: What is done about a worker whose judgments are not good, by the rules of a job.
ACTIONS = ("warn", "pause", "retire")
WORKERS_RATED = Gauge(
    "manyhands_workers_rated",
    "Workers about whom something is done by the rules of an open job (warn, pause, retire): people, machines.",
    ["kind", "action"],
)
BUDGET_USED = Gauge(
    "manyhands_budget_used_ratio",
    "The greatest share of its budget that an open job has used, of those that may still ask for something.",
)
DEAD_LETTERS_EXPIRED = Counter(
    "manyhands_dead_letters_expired",
    "Dead letters taken from the file because they were kept for MANYHANDS_DEAD_KEEP days; their tasks stay failed.",
    ["kind"],
)
SETTLE_SECONDS = Histogram(
    "manyhands_settle_seconds",
    "Time from when a worker had judged a suite to when the aggregator had committed its judgments.",
    buckets=WAITS,
)
ANSWER_CONFIDENCE = Histogram("manyhands_answer_confidence", "Confidence of answers.", buckets=CONFIDENCE)
ANSWER_AGREEMENT = Histogram(
    "manyhands_answer_agreement",
    "Share of a task's judgments that are its answer, where two or more were put to the vote.",
    buckets=AGREEMENT,
)
ANSWER_JUDGMENTS = Histogram(
    "manyhands_answer_judgments", "Judgments that an answer rests on.", buckets=(1, 2, 3, 4, 5, 7, 10, 15, 20)
)
OPEN_TASKS = Gauge("manyhands_open_tasks", "Tasks of open jobs that are not settled.")
TIES = Counter("manyhands_ties", "Answers decided by the tie rule.")
ESCALATED = Counter(
    "manyhands_escalated", "Tasks sent to the next stage, to one more slot, or to be judged again.", ["reason"]
)
JOBS_ENDED = Counter("manyhands_jobs_ended", "Jobs ended, by state.", ["state"])
CONSERVATION_DIFFERENCE = Gauge(
    "manyhands_conservation_difference",
    "What is in no account: tasks (aggregator), suites (producer), deliveries (worker); anything but 0 is a fault.",
    ["process"],
)
BATCH_MESSAGES = Histogram(
    "manyhands_batch_messages",
    "Messages in one transaction of the aggregator.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)


def built(process: str) -> None:
    """Say which version of a process this is, and that nothing has failed yet."""
    from manyhands import __version__  # not above: the package may be half imported when this module is

    BUILD_INFO.labels(__version__, process).set(1)
    for reason in ("unroutable", "refused", "unavailable"):
        PUBLISH_FAILED.labels(reason)  # from 0 on, or the first failure would be no increase
    if process == "aggregator":
        for result in ("answered", "failed", "cancelled"):
            TASKS_SETTLED.labels(result)
