"""*Workers*: what each judge does, how long it takes and how much more it could do."""

from scripts.dashboards.model import INSTANCE, JUDGE, Dashboard, Panel, Row

NOW = Row("Now", [
    Panel(
        "Replicas", "short",
        "Workers that answer when they are scraped.",
        {"workers": 'count(up{job="worker", instance=~"$instance"} == 1) or vector(0)'},
        kind="stat", width=4, steps={0: "red", 1: "green"},
    ),
    Panel(
        "Children", "short",
        "Processes in which handlers run.",
        {"children": 'sum(manyhands_children{job="worker", instance=~"$instance"})'},
        kind="stat", width=4,
    ),
    Panel(
        "Judged", "suffix: /s",
        "Tasks that the chosen judges judge in a second.",
        {"tasks": 'sum(judge:manyhands_tasks_judged:rate5m{judge=~"$judge"})'},
        kind="stat", width=4,
    ),
    Panel(
        "Utilisation", "percentunit",
        "Share of the children's time in which they judge. Near 100 %, more replicas bring more throughput.",
        {"busy": 'avg(instance:manyhands_busy:ratio_rate5m{job="worker", instance=~"$instance"})'},
        kind="stat", width=4,
    ),
    Panel(
        "Waiting suites", "short",
        "Suites in the queues of the chosen judges that no worker has been given.",
        {"suites": 'sum(judge:manyhands_suites_waiting:sum{judge=~"$judge"})'},
        kind="stat", width=4,
    ),
    Panel(
        "Child deaths", "short",
        "Children that ended without being asked since the workers started.",
        {"deaths": 'sum(manyhands_child_deaths_total{judge=~"$judge"}) or vector(0)'},
        kind="stat", width=4, steps={1: "yellow"},
    ),
])  # fmt: skip

RATE = Row("Rate and errors", [
    Panel(
        "Judged", "suffix: /s",
        "Tasks judged in a second, values and errors together.",
        {"{{judge}}": 'sum by (judge) (judge:manyhands_tasks_judged:rate5m{judge=~"$judge"})'},
        stack=True,
    ),
    Panel(
        "Judged, by result", "suffix: /s",
        "Tasks for which the handler gave a value, and for which it failed.",
        {
            "{{judge}} {{result}}":
                'sum by (judge, result) (rate(manyhands_tasks_judged_total{judge=~"$judge"}[$__rate_interval]))',
        },
    ),
    Panel(
        "Errors", "percentunit",
        "Share of the judged tasks for which the handler failed. None is shown of a judge that judges nothing.",
        {"{{judge}}": 'max by (judge) (judge:manyhands_task_errors:ratio_rate5m{judge=~"$judge"})'},
        most=1,
    ),
    Panel(
        "Retries", "percentunit",
        "Tasks put on the retry ladder, as a share of the judged ones, over fifteen minutes.",
        {
            "{{judge}}":
                'max by (judge) (judge:manyhands_retries:ratio_rate15m{judge=~"$judge"}) '
                'or sum by (judge) (0 * manyhands_prefetch{judge=~"$judge"})',
        },
    ),
    Panel(
        "Child deaths", "short",
        "Children that ended without being asked since the workers started, by judge and by how.",
        {
            "{{judge}}: {{how}}": 'sum by (judge, how) (manyhands_child_deaths_total{judge=~"$judge"})',
            "all": 'sum(manyhands_child_deaths_total{judge=~"$judge"}) or vector(0)',
        },
    ),
    Panel(
        "Suspects", "short",
        "Suites, or parts of them, of which workers may have died: waiting to be judged alone, or being judged so.",
        {"{{judge}}": 'sum by (judge) (judge:manyhands_suspects:sum{judge=~"$judge"})'},
        steps={1: "yellow"},
    ),
    Panel(
        "Children replaced", "suffix: /s",
        "Children replaced after their share of work or past their share of memory, as they are meant to be.",
        {
            "{{instance}}":
                'sum by (instance) (rate(manyhands_child_recycled_total{job="worker", '
                'instance=~"$instance"}[$__rate_interval]))',
        },
    ),
])  # fmt: skip


def duration(share: float) -> str:
    """The time within which such a share of the suites is judged."""
    return (
        f"histogram_quantile({share}, sum by (judge, le) "
        '(rate(manyhands_suite_seconds_bucket{judge=~"$judge"}[$__rate_interval])))'
    )


DURATION = Row("Duration", [
    Panel(
        "Time for a suite, 50 %", "s",
        "The time within which the handler has judged half of the suites.",
        {"{{judge}}": duration(0.5)},
    ),
    Panel(
        "Time for a suite, 95 %", "s",
        "The time within which the handler has judged 95 of 100 suites, over five minutes.",
        {"{{judge}}": 'max by (judge) (judge:manyhands_suite_seconds:p95_rate5m{judge=~"$judge"})'},
    ),
    Panel(
        "Time for a suite, 99 %", "s",
        "The time within which the handler has judged 99 of 100 suites.",
        {"{{judge}}": duration(0.99)},
    ),
    Panel(
        "Time for a task", "s",
        "Time of a child that a task takes on the average.",
        {
            "{{judge}}":
                'sum by (judge) (rate(manyhands_busy_seconds_total{judge=~"$judge"}[5m])) / '
                '(sum by (judge) (judge:manyhands_tasks_judged:rate5m{judge=~"$judge"}) > 0)',
        },
    ),
    Panel(
        "Waiting for a worker, 95 %", "s",
        "The time within which 95 of 100 suites are begun with, once published.",
        {"{{judge}}": 'max by (judge) (judge:manyhands_queue_seconds:p95_rate5m{judge=~"$judge"})'},
    ),
    Panel(
        "Suites by duration", "s",
        "How many suites took how long, over all chosen judges: two bands are two kinds of work.",
        {"{{le}}": 'sum by (le) (increase(manyhands_suite_seconds_bucket{judge=~"$judge"}[$__rate_interval]))'},
        kind="heatmap",
    ),
])  # fmt: skip

CAPACITY = Row("Capacity", [
    Panel(
        "Utilisation", "percentunit",
        "Share of the time in which the children of a worker judge.",
        {
            "{{instance}}":
                'max by (instance) (instance:manyhands_busy:ratio_rate5m{job="worker", instance=~"$instance"})',
        },
        most=1,
    ),
    Panel(
        "Busy children", "short",
        "Children that judge for each judge, on the average.",
        {"{{judge}}": 'sum by (judge) (rate(manyhands_busy_seconds_total{judge=~"$judge"}[$__rate_interval]))'},
        stack=True,
    ),
    Panel(
        "Replicas", "short",
        "Workers that serve each judge, and consumers that RabbitMQ sees on its queue. They are the same unless one "
        "is starting, draining or cut off.",
        {
            "{{judge}}": 'count by (judge) (manyhands_prefetch{judge=~"$judge"})',
            "{{judge}} (consumers)": 'sum by (judge) (judge:manyhands_queue_consumers:sum{judge=~"$judge"})',
        },
    ),
    Panel(
        "Children", "short",
        "Processes in which handlers run, by worker.",
        {"{{instance}}": 'sum by (instance) (manyhands_children{job="worker", instance=~"$instance"})'},
        stack=True,
    ),
    Panel(
        "In hand and held at most", "short",
        "Suites that a worker has received and not settled, and the most that it takes of a judge.",
        {
            "{{instance}}": 'sum by (instance) (manyhands_in_hand{job="worker", instance=~"$instance"})',
            "{{judge}} at most": 'max by (judge) (manyhands_prefetch{judge=~"$judge"})',
        },
    ),
    Panel(
        "Handlers", "short",
        "Which version of its handler each judge has, and how many workers have it. Two at once: a rollout, or a "
        "worker that was left behind.",
        {"{{judge}} {{version}}": 'sum by (judge, version) (judge:manyhands_handler_info:sum{judge=~"$judge"})'},
        stack=True,
    ),
    Panel(
        "Memory", "bytes",
        "Resident memory of the worker itself. That of its children is the container's less this.",
        {"{{instance}}": 'max by (instance) (process_resident_memory_bytes{job="worker", instance=~"$instance"})'},
    ),
])  # fmt: skip

MODELS = Row("Language models", [
    Panel(
        "Requests", "suffix: /s",
        "Requests that language models have answered, those that had to be sent again among them.",
        {"{{judge}}": 'sum by (judge) (rate(manyhands_llm_requests_total{judge=~"$judge"}[$__rate_interval]))'},
        stack=True,
    ),
    Panel(
        "Tokens", "suffix: /s",
        "Tokens of prompts (in) and of answers (out).",
        {
            "{{judge}} in":
                'sum by (judge) (rate(manyhands_llm_input_tokens_total{judge=~"$judge"}[$__rate_interval]))',
            "{{judge}} out":
                'sum by (judge) (rate(manyhands_llm_output_tokens_total{judge=~"$judge"}[$__rate_interval]))',
        },
    ),
    Panel(
        "Cost by the hour", "short",
        "What language models cost in the last hour, by the prices of their tokens and in the money of these.",
        {"{{judge}}": 'sum by (judge) (increase(manyhands_llm_cost_total{judge=~"$judge"}[1h]))'},
        stack=True,
    ),
])  # fmt: skip

WORKERS = Dashboard(
    "workers", "Workers", "What each judge does, how long it takes, and how much more its workers could do.",
    [JUDGE, INSTANCE], [NOW, RATE, DURATION, CAPACITY, MODELS],
)  # fmt: skip
