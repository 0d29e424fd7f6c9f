"""The audit read from the stores themselves, where no service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manyhands.errors import StoreUnavailable, UnknownJob
from manyhands.settings import store_url
from manyhands_aggregator import ledger
from manyhands_cli.balance import UNHEARD, balance
from manyhands_producer.requests import account
from manyhands_producer.store import ProducerStore
from manyhands_service.store import Store


def see(url: str, *services: str) -> None:
    """See that there are stores of these services: a file is not to be made by looking for it.

    Raises:
        StoreUnavailable: there is none.
    """
    for service in services:
        file = store_url(url, service).removeprefix("sqlite:///")
        if url.startswith("sqlite") and not Path(file).exists():
            raise StoreUnavailable(f"there is no file {file}")


def audit_stores(job: str, url: str) -> dict[str, Any]:
    """The account of a job, read from the stores of producer and aggregator.

    Raises:
        UnknownJob: the producer's store does not know it.
        StoreUnavailable: there is no such store.
    """
    see(url, "producer", "aggregator")
    # neither is opened as a service opens it: an audit only reads, and neither migrates nor waits
    producer, aggregator = ProducerStore(url), Store(url, "aggregator", "manyhands_aggregator")
    try:
        published = account(producer, job)
        try:
            said = ledger.audit(aggregator, job)
        except UnknownJob:
            said = {"job": job, **UNHEARD}
        return balance(published, said, account(producer, job))
    finally:
        for store in (producer, aggregator):
            store.close()
