"""*Pipeline*: is work flowing, where does it wait, and is anything lost."""

from scripts.dashboards.model import JUDGE, Dashboard, Panel, Row

NOW = Row("Now", [
    Panel(
        "Open jobs", "short",
        "Jobs that have not ended, as the aggregator counts them.",
        {"jobs": 'sum(max by (namespace) (manyhands_jobs_open{process="aggregator"}))'},
        kind="stat", width=3,
    ),
    Panel(
        "Open tasks", "short",
        "Tasks of open jobs that have no answer yet and have not failed.",
        {"tasks": "sum(max by (namespace) (manyhands_open_tasks))"},
        kind="stat", width=3,
    ),
    Panel(
        "Waiting suites", "short",
        "Suites in the queues of the chosen judges that no worker has been given.",
        {"suites": 'sum(judge:manyhands_suites_waiting:sum{judge=~"$judge"})'},
        kind="stat", width=3,
    ),
    Panel(
        "Suites in flight", "short",
        "Suites that were published and not all of whose tasks are settled.",
        {"suites": "sum(manyhands_suites_in_flight)"},
        kind="stat", width=3,
    ),
    Panel(
        "Oldest suite", "s",
        "Age of the oldest suite that was published to a chosen judge and is not settled.",
        {"age": 'max(manyhands_oldest_suite_seconds{judge=~"$judge"})'},
        kind="stat", width=3, steps={600: "yellow", 3600: "red"},
    ),
    Panel(
        "Dead letters", "short",
        "Messages that were set aside since the aggregators started. `manyhands dead list` shows them.",
        {"messages": "sum(manyhands_dead_letters_total) or vector(0)"},
        kind="stat", width=3, steps={1: "yellow"},
    ),
    Panel(
        "Conservation", "short",
        "Tasks, suites or deliveries that are in no account. It must be 0: anything else is a fault of Manyhands.",
        {"difference": "max(manyhands_conservation_difference)"},
        kind="stat", width=3, steps={1: "red"},
    ),
    Panel(
        "Alerts", "short",
        "Alerts of Manyhands that are firing. Each has a section in the runbooks, docs/operations.md.",
        {"firing": 'count(ALERTS{alertname=~"Manyhands.+", alertstate="firing"}) or vector(0)'},
        kind="stat", width=3, steps={1: "red"},
    ),
])  # fmt: skip

THROUGHPUT = Row("Throughput", [
    Panel(
        "Tasks by stage", "suffix: /s",
        "Tasks read from sources, judgments made of them (several a task where several judges are asked), tasks "
        "settled. What is read and not settled piles up in between.",
        {
            "read": "sum(rate(manyhands_tasks_read_total[5m]))",
            "judged": 'sum(judge:manyhands_tasks_judged:rate5m{judge=~"$judge"})',
            "settled": "sum(result:manyhands_tasks_settled:rate5m)",
        },
    ),
    Panel(
        "Tasks settled", "suffix: /s",
        "Tasks that were answered or failed.",
        {"{{result}}": "sum by (result) (result:manyhands_tasks_settled:rate5m)"},
        stack=True,
    ),
    Panel(
        "Suites published", "suffix: /s",
        "Suites sent to each judge; the producer publishes no more than are let into flight.",
        {"{{judge}}": 'sum by (judge) (judge:manyhands_suites_published:rate5m{judge=~"$judge"})'},
    ),
    Panel(
        "Messages taken in", "suffix: /s",
        "Deliveries that the services received, by service and type of message.",
        {"{{job}} {{type}}": "sum by (job, type) (rate(manyhands_delivered_total[$__rate_interval]))"},
    ),
    Panel(
        "Messages sent", "suffix: /s",
        "Messages that the broker confirmed, by service and type of message.",
        {"{{job}} {{type}}": "sum by (job, type) (rate(manyhands_published_total[$__rate_interval]))"},
    ),
    Panel(
        "Jobs ended", "short",
        "Jobs that ended since the aggregators started, by how: complete, partial, cancelled.",
        {
            "{{state}}": "sum by (state) (manyhands_jobs_ended_total)",
            "all": "sum(manyhands_jobs_ended_total) or vector(0)",
        },
    ),
])  # fmt: skip

BACKLOG = Row("Backlog", [
    Panel(
        "Waiting for a worker", "short",
        "Suites in the queue of each judge. A line that climbs needs more replicas of that worker.",
        {"{{judge}}": 'sum by (judge) (judge:manyhands_suites_waiting:sum{judge=~"$judge"})'},
        stack=True,
    ),
    Panel(
        "Held by workers", "short",
        "Suites delivered to the workers of each judge and not settled yet.",
        {"{{judge}}": 'sum by (judge) (judge:manyhands_suites_in_hand:sum{judge=~"$judge"})'},
        stack=True,
    ),
    Panel(
        "Waiting for the aggregator", "short",
        "Messages in the queues of judgments. A line that climbs: the aggregator or its store is too slow.",
        {"messages": "sum(manyhands:judgments_waiting:sum)"},
    ),
    Panel(
        "At the producer", "short",
        "Suites cut and not published yet, and suites published and not settled.",
        {
            "spooled": "sum(manyhands_suites_spooled)",
            "in flight": "sum(manyhands_suites_in_flight)",
        },
    ),
    Panel(
        "In hand", "short",
        "Deliveries that each service has received and not settled.",
        {"{{job}}": "sum by (job) (manyhands_in_hand)"},
    ),
    Panel(
        "Oldest suite", "s",
        "Age of the oldest suite of each judge that is not settled; 0 where there is none.",
        {"{{judge}}": 'max by (judge) (manyhands_oldest_suite_seconds{judge=~"$judge"})'},
    ),
])  # fmt: skip

LATENCY = Row("Latency", [
    Panel(
        "Latency by stage, 95 %", "s",
        "The time within which 95 of 100 suites pass a stage: waiting for a worker and being judged (of the chosen "
        "judge that is slowest), being settled by the aggregator, and the whole way from published to settled.",
        {
            "waiting": 'max(judge:manyhands_queue_seconds:p95_rate5m{judge=~"$judge"})',
            "judging": 'max(judge:manyhands_suite_seconds:p95_rate5m{judge=~"$judge"})',
            "settling": "max(manyhands:settle_seconds:p95_rate5m)",
            "whole way": "max(manyhands:turnaround_seconds:p95_rate5m)",
        },
    ),
    Panel(
        "Waiting for a worker, 95 %", "s",
        "The time within which 95 of 100 suites of a judge are begun with. Retries are not counted.",
        {"{{judge}}": 'max by (judge) (judge:manyhands_queue_seconds:p95_rate5m{judge=~"$judge"})'},
    ),
    Panel(
        "Whole way", "s",
        "From the publishing of a suite to when all its tasks are settled: half, 95 and 99 of 100.",
        {
            "50 %":
                "histogram_quantile(0.5, sum by (le) (rate(manyhands_turnaround_seconds_bucket[$__rate_interval])))",
            "95 %":
                "histogram_quantile(0.95, sum by (le) (rate(manyhands_turnaround_seconds_bucket[$__rate_interval])))",
            "99 %":
                "histogram_quantile(0.99, sum by (le) (rate(manyhands_turnaround_seconds_bucket[$__rate_interval])))",
        },
    ),
])  # fmt: skip

TROUBLE = Row("Trouble", [
    Panel(
        "Retries", "suffix: /s",
        "Tasks put on the retry ladder because their judge failed, by judge.",
        {
            "{{judge}}":
                'sum by (judge) (rate(manyhands_retries_total{judge=~"$judge"}[$__rate_interval])) or sum by (judge) '
                '(0 * manyhands_prefetch{judge=~"$judge"})',
        },
        stack=True,
    ),
    Panel(
        "Retries by rung", "short",
        "Tasks put on each rung of the retry ladder since the workers started: how long they wait there.",
        {
            "{{rung}}": 'sum by (rung) (manyhands_retries_total{judge=~"$judge"})',
            "all": 'sum(manyhands_retries_total{judge=~"$judge"}) or vector(0)',
        },
    ),
    Panel(
        "Dead letters", "short",
        "Messages set aside since the aggregators started, by kind and cause.",
        {
            "{{kind}}: {{code}}": "sum by (kind, code) (manyhands_dead_letters_total)",
            "all": "sum(manyhands_dead_letters_total) or vector(0)",
        },
    ),
    Panel(
        "Tasks refused", "short",
        "Tasks that failed before any judge saw them since the producers started: rows that cannot be read, payloads "
        "that are too large.",
        {
            "{{code}}": "sum by (code) (manyhands_tasks_refused_total)",
            "all": "sum(manyhands_tasks_refused_total) or vector(0)",
        },
    ),
    Panel(
        "Judged again", "short",
        "Tasks sent to be judged again since the aggregators started, by reason.",
        {
            "{{reason}}": "sum by (reason) (manyhands_escalated_total)",
            "all": "sum(manyhands_escalated_total) or vector(0)",
        },
    ),
    Panel(
        "Conservation", "short",
        "What is in no account: tasks (aggregator), suites (producer), deliveries (worker). It must be 0.",
        {"{{process}}": "max by (process) (manyhands_conservation_difference)"},
        steps={1: "red"},
    ),
])  # fmt: skip

PIPELINE = Dashboard(
    "pipeline", "Pipeline", "Is work flowing, where does it wait, and is anything lost? The first page to open.",
    [JUDGE], [NOW, THROUGHPUT, BACKLOG, LATENCY, TROUBLE],
)  # fmt: skip
