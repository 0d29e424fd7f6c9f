"""*Broker and stores*: what everything else stands on."""

from scripts.dashboards.model import JOB, Dashboard, Panel, Row

#: Each node of a cluster tells of the queues it knows; the greatest says it.
OF_QUEUE = "sum by (queue) (max by (namespace, vhost, queue) ({}))"
READY = OF_QUEUE.format("rabbitmq_detailed_queue_messages_ready")
UNACKED = OF_QUEUE.format("rabbitmq_detailed_queue_messages_unacked")
CONSUMERS = OF_QUEUE.format("rabbitmq_detailed_queue_consumers")


def flow(name: str) -> str:
    """Messages a second that RabbitMQ counts, over all protocols and kinds of queue."""
    return f"sum(rate(rabbitmq_global_messages_{name}_total[$__rate_interval]))"


def by_job(expr: str) -> str:
    """What the services count, and 0 for those in which it has never happened."""
    return f'sum by (job) ({expr}) or sum by (job) (0 * manyhands_build_info{{job=~"$job"}})'


NOW = Row("Now", [
    Panel(
        "RabbitMQ nodes", "short",
        "Nodes that answer when they are scraped.",
        {"nodes": 'count(min by (instance) (up{job="rabbitmq"}) == 1) or vector(0)'},
        kind="stat", width=3, steps={0: "red", 1: "green"},
    ),
    Panel(
        "Alarms", "short",
        "Nodes that are out of memory or disk, and so let nobody publish.",
        {"alarms": "sum(rabbitmq_alarms_memory_used_watermark) + sum(rabbitmq_alarms_free_disk_space_watermark)"},
        kind="stat", width=3, steps={1: "red"},
    ),
    Panel(
        "Messages", "short",
        "Messages in all queues, ready or delivered.",
        {"messages": "sum(rabbitmq_queue_messages)"},
        kind="stat", width=3,
    ),
    Panel(
        "Connections", "short",
        "Connections to RabbitMQ.",
        {"connections": "sum(rabbitmq_connections)"},
        kind="stat", width=3,
    ),
    Panel(
        "Free disk", "bytes",
        "Free disk space of the node that has the least.",
        {"free": "min(rabbitmq_disk_space_available_bytes)"},
        kind="stat", width=3,
    ),
    Panel(
        "Blocked", "short",
        "Processes that RabbitMQ keeps from publishing.",
        {"processes": 'sum(manyhands_publish_blocked{job=~"$job"})'},
        kind="stat", width=3, steps={1: "red"},
    ),
    Panel(
        "Unroutable", "short",
        "Messages that no queue took since the nodes started: returned to their publishers or dropped.",
        {
            "messages":
                "sum(rabbitmq_global_messages_unroutable_returned_total) + "
                "sum(rabbitmq_global_messages_unroutable_dropped_total)",
        },
        kind="stat", width=3, steps={1: "yellow"},
    ),
    Panel(
        "Slow commits", "s",
        "The time within which 95 of 100 transactions of the stores are done, over five minutes.",
        {"95 %": 'histogram_quantile(0.95, sum by (le) (rate(manyhands_commit_seconds_bucket{job=~"$job"}[5m])))'},
        kind="stat", width=3, steps={0.5: "yellow", 2: "red"},
    ),
])  # fmt: skip

RABBITMQ = Row("RabbitMQ: messages", [
    Panel(
        "Flow", "suffix: /s",
        "Messages that RabbitMQ received, put into queues, delivered, and was told are settled.",
        {
            "received": flow("received"),
            "routed": flow("routed"),
            "delivered": flow("delivered"),
            "acknowledged": flow("acknowledged"),
        },
    ),
    Panel(
        "Delivered again", "suffix: /s",
        "Messages delivered a second time: a consumer ended or handed them back.",
        {"redelivered": flow("redelivered")},
    ),
    Panel(
        "Dead-lettered", "suffix: /s",
        "Messages that a queue passed on: when the wait on the retry ladder was over, after too many deliveries, or "
        "because they were rejected.",
        {
            "waited": flow("dead_lettered_expired"),
            "too many deliveries": flow("dead_lettered_delivery_limit"),
            "rejected": flow("dead_lettered_rejected"),
        },
    ),
    Panel(
        "Ready", "short",
        "Messages waiting in each of the twenty longest queues.",
        {"{{queue}}": f"topk(20, {READY})"},
    ),
    Panel(
        "Delivered and not settled", "short",
        "Messages in the hands of consumers, of the twenty queues with the most.",
        {"{{queue}}": f"topk(20, {UNACKED})"},
    ),
    Panel(
        "Consumers", "short",
        "Consumers of each queue. Queues of judgments have one at work and the others in reserve; retry queues have "
        "none.",
        {"{{queue}}": CONSUMERS},
    ),
])  # fmt: skip

NODE = Row("RabbitMQ: nodes", [
    Panel(
        "Memory", "percentunit",
        "Memory of each node as a share of its limit, from which on nobody may publish.",
        {
            "{{instance}}":
                "max by (instance) (rabbitmq_process_resident_memory_bytes) "
                "/ max by (instance) (rabbitmq_resident_memory_limit_bytes)",
        },
        steps={0.8: "red"},
    ),
    Panel(
        "Free disk", "bytes",
        "Free disk space of each node, and the least that it must have to let anybody publish.",
        {
            "{{instance}}": "max by (instance) (rabbitmq_disk_space_available_bytes)",
            "{{instance}} at least": "max by (instance) (rabbitmq_disk_space_available_limit_bytes)",
        },
    ),
    Panel(
        "Connections and channels", "short",
        "Of all nodes together. A line that climbs is a client that does not close them.",
        {
            "connections": "sum(rabbitmq_connections)",
            "channels": "sum(rabbitmq_channels)",
            "consumers": "sum(rabbitmq_consumers)",
        },
    ),
    Panel(
        "Connections opened", "suffix: /s",
        "Connections opened in a second. The services keep theirs: a rate above 0 is a service that restarts.",
        {
            "opened": "sum(rate(rabbitmq_connections_opened_total[$__rate_interval]))",
            "closed": "sum(rate(rabbitmq_connections_closed_total[$__rate_interval]))",
        },
    ),
    Panel(
        "Queues", "short",
        "Queues of all nodes together.",
        {"queues": "sum(rabbitmq_queues)"},
    ),
    Panel(
        "Erlang processes", "percentunit",
        "Processes of each node's virtual machine as a share of those it may have.",
        {
            "{{instance}}":
                "max by (instance) (rabbitmq_erlang_processes_used) "
                "/ max by (instance) (rabbitmq_erlang_processes_limit)",
        },
    ),
])  # fmt: skip

SIDE = Row("The services' side of the broker", [
    Panel(
        "Publishes that failed", "suffix: /s",
        "Publishes that RabbitMQ did not confirm, by service. They are made again.",
        {"{{job}}": by_job('rate(manyhands_publish_failed_total{job=~"$job"}[$__rate_interval])')},
    ),
    Panel(
        "Unconfirmed", "short",
        "Messages published and not yet confirmed, by service.",
        {"{{job}}": 'sum by (job) (manyhands_unconfirmed{job=~"$job"})'},
    ),
    Panel(
        "Blocked", "short",
        "Processes of each service that RabbitMQ keeps from publishing.",
        {"{{job}}": 'sum by (job) (manyhands_publish_blocked{job=~"$job"})'},
        steps={1: "red"},
    ),
    Panel(
        "Reconnects", "suffix: /s",
        "Connections made again, by service.",
        {"{{job}}": by_job('rate(manyhands_reconnects_total{job=~"$job"}[$__rate_interval])')},
    ),
    Panel(
        "Queues consumed from", "short",
        "Queues on which the processes of each service are registered as consumers.",
        {"{{job}}": 'sum by (job) (manyhands_consumers{job=~"$job"})'},
    ),
    Panel(
        "Deliveries settled", "suffix: /s",
        "Deliveries settled, by service and verdict: acknowledged, handed back, set aside.",
        {"{{job}} {{verdict}}": 'sum by (job, verdict) (rate(manyhands_settled_total{job=~"$job"}[$__rate_interval]))'},
    ),
])  # fmt: skip

STORES = Row("Stores", [
    Panel(
        "Commit time, 95 %", "s",
        "The time within which 95 of 100 transactions of a service are done.",
        {
            "{{job}}":
                'histogram_quantile(0.95, sum by (job, le) (rate(manyhands_commit_seconds_bucket{job=~"$job"}[5m])))',
        },
    ),
    Panel(
        "Commits", "suffix: /s",
        "Transactions of each service.",
        {"{{job}}": 'sum by (job) (rate(manyhands_commit_seconds_count{job=~"$job"}[$__rate_interval]))'},
    ),
    Panel(
        "Transactions repeated", "suffix: /s",
        "Transactions made again because the store was away or busy.",
        {"{{job}}": 'sum by (job) (rate(manyhands_store_retries_total{job=~"$job"}[$__rate_interval]))'},
    ),
    Panel(
        "Messages in a transaction", "short",
        "Messages that the aggregator takes into one transaction, on the average. They become more when it has much "
        "to do.",
        {"mean": "sum(rate(manyhands_batch_messages_sum[5m])) / (sum(rate(manyhands_batch_messages_count[5m])) > 0)"},
    ),
    Panel(
        "Transactions by messages", "short",
        "How many transactions of the aggregator had how many messages.",
        {"{{le}}": "sum by (le) (increase(manyhands_batch_messages_bucket[$__rate_interval]))"},
        kind="heatmap",
    ),
    Panel(
        "Commits by duration", "s",
        "How many transactions took how long.",
        {"{{le}}": 'sum by (le) (increase(manyhands_commit_seconds_bucket{job=~"$job"}[$__rate_interval]))'},
        kind="heatmap",
    ),
])  # fmt: skip

PROCESSES = Row("Processes", [
    Panel(
        "CPU", "short",
        "Processors that each process uses; a worker's children are not in it.",
        {
            "{{job}} {{instance}}":
                'sum by (job, instance) (rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval]))',
        },
    ),
    Panel(
        "Memory", "bytes",
        "Resident memory of each process; a worker's children are not in it.",
        {"{{job}} {{instance}}": 'sum by (job, instance) (process_resident_memory_bytes{job=~"$job"})'},
    ),
    Panel(
        "Open files", "percentunit",
        "Files and connections that each process has open, as a share of those it may have.",
        {
            "{{job}} {{instance}}":
                'sum by (job, instance) (process_open_fds{job=~"$job"}) / sum by (job, instance) '
                '(process_max_fds{job=~"$job"})',
        },
    ),
    Panel(
        "Scrape time", "s",
        "How long it takes to read the metrics of each process.",
        {"{{job}} {{instance}}": 'max by (job, instance) (scrape_duration_seconds{job=~"$job"})'},
        width=12,
    ),
    Panel(
        "Series", "short",
        "Series that a scrape of each process has. They do not grow with jobs or tasks.",
        {"{{job}} {{instance}}": 'max by (job, instance) (scrape_samples_post_metric_relabeling{job=~"$job"})'},
        width=12,
    ),
    Panel(
        "Versions", "short",
        "Which version each process is.",
        {"": 'sum by (namespace, job, instance, version) (manyhands_build_info{job=~"$job"})'},
        kind="table", width=12,
    ),
    Panel(
        "Certificates", "s",
        "How long the certificates in use are still valid: the one a service shows (http), and its own or the broker's "
        "(broker). Empty where nothing is encrypted.",
        {
            "{{job}} {{use}}":
                'min by (job, use) (manyhands_certificate_expires_timestamp_seconds{job=~"$job"} - time())',
        },
        width=12, steps={0: "red", 3 * 86400: "yellow", 21 * 86400: "green"},
    ),
])  # fmt: skip

BROKER = Dashboard(
    "broker", "Broker and stores",
    "What everything else stands on: RabbitMQ, the services' connections to it, their stores and processes.",
    [JOB], [NOW, RABBITMQ, NODE, SIDE, STORES, PROCESSES],
)  # fmt: skip
