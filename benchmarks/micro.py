"""The two things that every message passes, each by itself: the codec, and a publish with its confirm."""

from __future__ import annotations

import secrets
import threading
import time

from benchmarks.context import Context, Figures
from benchmarks.tasks import texts
from manyhands import codec
from manyhands.broker import Outgoing, Verdict, connect
from manyhands.errors import BrokerError
from manyhands.messages import Suite
from manyhands.topology import Binding, Exchange, Queue, Topology

SUITE = 500
REPEATS = 200


def encoding(_context: Context) -> Figures:
    """Suites of 500 short texts to bytes and back, on one core."""
    suite = Suite(
        job="bench-00000000", suite=7, stage=0, judge="length", slot=0, spec="0123456789abcdef",
        positions=list(range(SUITE)), payloads=list(texts(SUITE)),
    )  # fmt: skip
    plain = sum(len(text.encode()) for text in suite.payloads)
    encoded = codec.encode(suite)
    there, back = [], []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        encoded = codec.encode(suite)
        turned = time.perf_counter()
        codec.decode(encoded.body, encoded.type, encoded.content_encoding)
        there.append(turned - begun)
        back.append(time.perf_counter() - turned)
    encode, decode = sum(there) / REPEATS, sum(back) / REPEATS
    return {
        "encode_tasks_per_second": SUITE / encode,
        "encode_mb_per_second": plain / encode / 1e6,
        "decode_tasks_per_second": SUITE / decode,
        "decode_mb_per_second": plain / decode / 1e6,
        "bytes_per_task": len(encoded.body) / SUITE,
    }


def publishing(context: Context) -> Figures:
    """Messages of 200 bytes into a quorum queue with asynchronous confirms, a window of 1,000; then out again."""
    count, name = context.sizes.micro, f"bench-{secrets.token_hex(4)}"
    topology = Topology(
        exchanges=(Exchange(name=name, kind="direct"),),
        queues=(Queue(name=name),),
        bindings=(Binding(exchange=name, queue=name, key="k"),),
    )
    broker = connect(context.broker, name="bench")
    try:
        broker.declare(topology)
        publisher = broker.publisher(window=1000)
        message = Outgoing(exchange=name, key="k", body=secrets.token_bytes(200), type="bench")
        errors: list[BrokerError] = []
        left, all_confirmed = iter(range(count - 1)), threading.Event()

        def confirmed(error: BrokerError | None) -> None:
            if error is not None:
                errors.append(error)
            if next(left, None) is None:
                all_confirmed.set()

        warm = threading.Event()
        publisher.publish(message, lambda _: warm.set())
        if not warm.wait(30):
            raise TimeoutError("the broker does not confirm")
        begun = time.perf_counter()
        for _ in range(count):
            publisher.publish(message, confirmed)
        if not all_confirmed.wait(120) or errors:
            raise TimeoutError(f"not every publish was confirmed: {errors[:1]}")
        published = time.perf_counter() - begun

        consumer = broker.consumer([name], prefetch=1000)
        taken, begun = len(consumer.receive(1, 30)), time.perf_counter()
        while taken <= count:
            deliveries = consumer.receive(500, 10)
            consumer.settle(deliveries, Verdict.ACK)
            taken += len(deliveries)
            if not deliveries:
                raise TimeoutError(f"{taken} of {count + 1} messages came back")
        taking = time.perf_counter() - begun
        consumer.close()  # before its queue goes
        return {"confirmed_per_second": count / published, "taken_per_second": count / taking}
    finally:
        broker.delete(topology)
        broker.close()
