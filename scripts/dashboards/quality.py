"""*Quality*: how far the answers can be trusted."""

from scripts.dashboards.model import JUDGE, Dashboard, Panel, Row


def mean(name: str, window: str) -> str:
    """The mean of what a histogram observed; nothing where it observed nothing."""
    return f"sum(rate(manyhands_{name}_sum[{window}])) / (sum(rate(manyhands_{name}_count[{window}])) > 0)"


def quantile(share: float, name: str) -> str:
    """A quantile of what a histogram observed."""
    return f"histogram_quantile({share}, sum by (le) (rate(manyhands_{name}_bucket[$__rate_interval])))"


def distribution(name: str) -> str:
    """How often what was observed."""
    return f"sum by (le) (increase(manyhands_{name}_bucket[$__rate_interval]))"


def share_of_answers(part: str, window: str) -> str:
    """A rate as a share of the answers."""
    return f"{part} / (sum(rate(manyhands_answer_judgments_count[{window}])) > 0)"


#: Answers with a confidence of at most 60 in 100, a second.
UNSURE = 'sum(rate(manyhands_answer_confidence_bucket{le="0.6"}[5m]))'

NOW = Row("The last hour", [
    Panel(
        "Agreement", "percentunit",
        "Share of a task's judgments that are its answer, on the average of the answers that two or more judgments "
        "made.",
        {"mean": "min(manyhands:answer_agreement:mean_rate1h)"},
        kind="stat", width=4, steps={0: "red", 0.6: "yellow", 0.8: "green"},
    ),
    Panel(
        "Confidence", "percentunit",
        "Confidence of the answers on the average: the share of the votes, or what the only judge stated.",
        {"mean": "min(manyhands:answer_confidence:mean_rate1h)"},
        kind="stat", width=4, steps={0: "red", 0.6: "yellow", 0.8: "green"},
    ),
    Panel(
        "Judgments for an answer", "short",
        "Judgments that an answer rests on, on the average: what an answer costs.",
        {"mean": mean("answer_judgments", "1h")},
        kind="stat", width=4,
    ),
    Panel(
        "Ties", "percentunit",
        "Share of the answers that the tie rule decided, the votes being equal.",
        {"share": share_of_answers("sum(rate(manyhands_ties_total[1h]))", "1h")},
        kind="stat", width=4,
    ),
    Panel(
        "Failed tasks", "percentunit",
        "Share of the settled tasks that have no answer, over five minutes.",
        {
            "share":
                'sum(result:manyhands_tasks_settled:rate5m{result="failed"}) / '
                "(sum(result:manyhands_tasks_settled:rate5m) > 0)",
        },
        kind="stat", width=4, steps={0.01: "yellow", 0.05: "red"},
    ),
    Panel(
        "Set-aside judgments", "short",
        "Judgments that were no valid answers, since the aggregators started.",
        {"messages": 'sum(manyhands_dead_letters_total{kind="judgments"}) or vector(0)'},
        kind="stat", width=4, steps={1: "yellow"},
    ),
])  # fmt: skip

ANSWERS = Row("Answers", [
    Panel(
        "Agreement and confidence", "percentunit",
        "Means over all answers of the time; agreement only where two or more judgments were put to the vote.",
        {
            "agreement": mean("answer_agreement", "$__rate_interval"),
            "confidence": mean("answer_confidence", "$__rate_interval"),
        },
        most=1,
    ),
    Panel(
        "Confidence, lowest answers", "percentunit",
        "The confidence under which the worst 5, 25 and 50 of 100 answers are.",
        {
            "5 %": quantile(0.05, "answer_confidence"),
            "25 %": quantile(0.25, "answer_confidence"),
            "50 %": quantile(0.5, "answer_confidence"),
        },
        most=1,
    ),
    Panel(
        "Unsure answers", "percentunit",
        "Share of the answers with a confidence of 60 % or less: what one would look at again.",
        {"share": share_of_answers(UNSURE, "5m")},
        most=1,
    ),
    Panel(
        "Answers by confidence", "percentunit",
        "How many answers have which confidence.",
        {"{{le}}": distribution("answer_confidence")},
        kind="heatmap",
    ),
    Panel(
        "Answers by agreement", "percentunit",
        "How many answers have which agreement, of those that were voted on.",
        {"{{le}}": distribution("answer_agreement")},
        kind="heatmap",
    ),
    Panel(
        "Answers by judgments", "short",
        "How many answers rest on how many judgments.",
        {"{{le}}": distribution("answer_judgments")},
        kind="heatmap",
    ),
    Panel(
        "Judgments for an answer", "short",
        "Judgments that an answer rests on, on the average. It falls when judges fail.",
        {"mean": mean("answer_judgments", "$__rate_interval")},
    ),
    Panel(
        "Ties", "suffix: /s",
        "Answers that the tie rule decided.",
        {"ties": "sum(rate(manyhands_ties_total[$__rate_interval]))"},
    ),
    Panel(
        "Answered and failed", "suffix: /s",
        "Tasks that got an answer, and tasks for which no judge gave a valid one.",
        {"{{result}}": "sum by (result) (result:manyhands_tasks_settled:rate5m)"},
        stack=True,
    ),
])  # fmt: skip

JUDGMENTS = Row("Judgments", [
    Panel(
        "Judgments taken in", "suffix: /s",
        "Judgments that were kept, that came a second time, and that came after their job was cancelled.",
        {"{{fate}}": "sum by (fate) (rate(manyhands_judgments_total[$__rate_interval]))"},
        stack=True,
    ),
    Panel(
        "Set-aside judgments", "short",
        "Judgments set aside since the aggregators started, by cause: no valid answers, of unknown jobs, unreadable.",
        {
            "{{code}}": 'sum by (code) (manyhands_dead_letters_total{kind="judgments"})',
            "all": 'sum(manyhands_dead_letters_total{kind="judgments"}) or vector(0)',
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
        "Errors by judge", "percentunit",
        "Share of the tasks for which a judge failed, and so had no vote.",
        {"{{judge}}": 'max by (judge) (judge:manyhands_task_errors:ratio_rate5m{judge=~"$judge"})'},
        most=1,
    ),
    Panel(
        "Judgments by judge", "suffix: /s",
        "Judgments that each judge gave: who the answers come from.",
        {
            "{{judge}}":
                'sum by (judge) (rate(manyhands_tasks_judged_total{judge=~"$judge", '
                'result="value"}[$__rate_interval]))',
        },
        stack=True,
    ),
    Panel(
        "Jobs ended", "short",
        "Jobs that ended since the aggregators started, by how: partial ones have tasks without answers.",
        {
            "{{state}}": "sum by (state) (manyhands_jobs_ended_total)",
            "all": "sum(manyhands_jobs_ended_total) or vector(0)",
        },
    ),
])  # fmt: skip

PEOPLE = Row("People and money", [
    Panel(
        "Rated workers", "short",
        "Workers about whom something is done by the rules of an open job: people and machines that are warned about, "
        "paused or retired.",
        {"{{kind}}: {{action}}": "max by (kind, action) (manyhands_workers_rated)"},
    ),
    Panel(
        "People below the floor", "short",
        "People who earn less by the hour than their open job promises, of those who have worked for ten minutes.",
        {"people": "max(manyhands_people_below_floor)"},
        steps={1: "yellow"},
    ),
    Panel(
        "Budget used", "percentunit",
        "The greatest share of its budget that an open job has used, of those that may still ask for something.",
        {"share": "max(manyhands_budget_used_ratio)"},
        most=1, steps={0.9: "yellow"},
    ),
])  # fmt: skip

QUALITY = Dashboard(
    "quality", "Quality",
    "How far the answers can be trusted: whether judges agree, are sure, and give valid answers at all; who is rated.",
    [JUDGE], [NOW, ANSWERS, JUDGMENTS, PEOPLE],
)  # fmt: skip
