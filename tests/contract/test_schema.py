"""The schema of a store, and programs of another version, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from typer.testing import CliRunner

from manyhands.errors import StoreUnavailable
from manyhands_cli.exits import Exit
from manyhands_cli.main import app
from manyhands_service import schema
from manyhands_service.store import Store, open_engine
from tests.services import wait_until

PACKAGE = "manyhands_aggregator"


def migrated(url: str, revision: str | None = None) -> None:
    """The aggregator's schema; with ``revision`` the store says that it is at that one."""
    engine = open_engine(url, "aggregator")
    schema.migrate(engine, PACKAGE, "aggregator")
    if revision is not None:
        with engine.begin() as connection:
            connection.execute(sa.text("update aggregator_version set version_num = :new"), {"new": revision})
    engine.dispose()


def waiting(url: str) -> Store:
    """A store that does not migrate."""
    return Store(url, "aggregator", PACKAGE, migrate=False)


def test_a_service_waits_for_the_schema(store_url: str) -> None:
    """It is not ready, says what to do, changes nothing, and goes on when somebody has migrated."""
    store, stop = waiting(store_url), threading.Event()
    opened: list[bool] = []
    opening = threading.Thread(target=lambda: opened.append(store.open(stop)))
    opening.start()
    wait_until(lambda: "manyhands migrate" in (store.missing() or ""), 30, "it to say what it waits for")
    assert "the store is empty and must be at 0008" in (store.missing() or "")
    assert sa.inspect(store.engine).get_table_names() == []
    migrated(store_url)
    opening.join(60)
    assert opened == [True]
    assert store.missing() is None
    store.close()


def test_a_schema_that_is_ahead_but_of_the_same_generation_will_do(store_url: str) -> None:
    """The schema comes before the code: a version that knows less works on it, and leaves it where it is."""
    migrated(store_url, "0099")
    for migrate in (False, True):
        store = Store(store_url, "aggregator", PACKAGE, migrate=migrate)
        assert store.open(threading.Event())
        assert store.missing() is None
        assert store.read(lambda c: c.scalar(sa.text("select version_num from aggregator_version"))) == "0099"
        store.close()


@pytest.mark.parametrize("migrate", [False, True])
def test_a_schema_of_a_later_generation_is_refused(store_url: str, migrate: bool) -> None:
    """A version that could not work on it touches nothing and says why it waits."""
    migrated(store_url, "0101")
    store, stop = Store(store_url, "aggregator", PACKAGE, migrate=migrate), threading.Event()
    opening = threading.Thread(target=store.open, args=[stop])
    opening.start()
    wait_until(lambda: "0101, of a later generation than 0008" in (store.missing() or ""), 30, "it to say so")
    stop.set()
    opening.join(30)
    store.close()


def test_a_schema_that_is_behind_is_waited_for() -> None:
    """What this version needs is not there yet."""
    assert schema.wrong("0001", "0002") == "the store is at 0001 and must be at 0002; run `manyhands migrate`"
    assert schema.wrong("0199", "0200") is not None
    assert schema.wrong("0002", "0002") is None


@pytest.mark.parametrize("package", ["manyhands_aggregator", "manyhands_producer"])
def test_revisions_say_their_generation(package: str) -> None:
    """Four digits, in one line, each later than the one before: what older versions rely on."""
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert all(len(revision) == 4 and revision.isdecimal() for revision in revisions)
    assert revisions == sorted(set(revisions), reverse=True)


def test_the_command_migrates_both_services_or_one(store_url: str) -> None:
    """It says what it did, and again changes nothing."""
    first = CliRunner().invoke(app, ["migrate", "aggregator", "--store", store_url, "--json"])
    assert json.loads(first.stdout) == {"aggregator": {"before": None, "after": "0008"}}
    both = CliRunner().invoke(app, ["migrate", "--store", store_url])
    assert both.stdout.splitlines() == ["producer: nothing to 0003", "aggregator: was at 0008"]
    assert CliRunner().invoke(app, ["migrate", "--store", store_url]).exit_code == Exit.OK


def test_the_command_says_what_is_wrong(store_url: str, tmp_path: Path) -> None:
    """One sentence, and an exit code that a job controller sees."""
    assert CliRunner().invoke(app, ["migrate", "worker"]).exit_code == Exit.USAGE
    migrated(store_url, "0101")
    refused = CliRunner().invoke(app, ["migrate", "--store", store_url])
    assert refused.exit_code == Exit.INPUT
    assert "of a later generation" in refused.stderr
    away = CliRunner().invoke(app, ["migrate", "--store", "postgresql://nobody@127.0.0.1:1/x"])
    assert (away.exit_code, isinstance(away.exception, SystemExit)) == (Exit.AWAY, True)
    assert str(StoreUnavailable("")).rstrip(".") in away.stderr
    assert CliRunner().invoke(app, ["migrate", "--store", f"sqlite:///{tmp_path}/no/x.db"]).exit_code == Exit.INPUT
