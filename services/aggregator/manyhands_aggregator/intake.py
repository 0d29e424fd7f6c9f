"""Deliveries to the store, many in a transaction, and what it leads to. Runs under ``manyhands.runner``.

What goes out is a function of what the store then holds, not of what has just changed: a message that comes twice
leads to the same messages out, so nothing needs an outbox.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from types import MappingProxyType

import sqlalchemy as sa

from manyhands import logs, tracing
from manyhands.broker import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import BODY_LIMIT, encode
from manyhands.errors import StoreUnavailable
from manyhands.messages import SUITES_SETTLED, Event
from manyhands.outcome import trace
from manyhands.runner import Finish, Outcome
from manyhands.topology import Names
from manyhands_aggregator import counting, deadfiles, early, jobs, judging, rewards
from manyhands_aggregator.batch import Batch, Sorter
from manyhands_aggregator.budget import Purse
from manyhands_aggregator.counting import Result
from manyhands_aggregator.judged import Aside, Judged, Means, Said
from manyhands_aggregator.minds import Minds
from manyhands_aggregator.news import News
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.senders import ANYBODY, Senders
from manyhands_aggregator.settling import ask_again, settle
from manyhands_aggregator.shares import Shares
from manyhands_aggregator.suite import UNDECODABLE
from manyhands_service.store import Conflict, Store

_log = logs.get(__name__)


class Intake:
    """Takes in whatever the aggregator consumes. May be used by several threads."""

    def __init__(
        self,
        store: Store,
        names: Names,
        clock: Clock,
        *,
        limit: int = BODY_LIMIT,
        on_commit: Callable[[Result], None] = lambda _: None,
        senders: Senders = ANYBODY,
    ) -> None:
        self._senders = senders
        self._store, self._names, self._clock, self._limit = store, names, clock, limit
        self._on_commit = on_commit
        self._plans = jobs.Plans()
        self.minds = Minds()
        self._sorter = Sorter(names, clock, limit)
        self._over: set[str] = set()

    def over(self) -> set[str]:
        """The jobs that had ended when something came of them, each said once; any thread may ask."""
        said: set[str] = set()
        with contextlib.suppress(KeyError):
            while True:  # one by one, for more may come meanwhile
                said.add(self._over.pop())
        return said

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """Take all of them in; then what this leads to is published, then they are acked.

        A delivery that cannot be taken in for a reason of its own is set aside and costs no other.

        Raises:
            StoreUnavailable: nothing of those not yet finished was taken in; they are to be given here again.
        """
        self._handle(deliveries, finish, self._senders)

    def again(self, held: list[Delivery], finish: Finish) -> None:
        """The same for what was held in the store: who sent it is known no more, and was looked at when it came."""
        self._handle(held, finish, ANYBODY)

    def reopen(self, job: str, suites: Sequence[int], gone: Set[str], again: bool = False) -> list[Outgoing]:
        """Take back the answers of open suites that rest on what these workers said; what is to be published of it.

        Where a machine of the first stage is among them all of the suites are looked at, for it is waited for no more.
        When it is done ``again``, for what it led to may not have gone out, all that is outstanding is asked once more.

        Raises:
            StoreUnavailable: nothing was taken back.
        """
        result = self._store.write(lambda c: self._reopen(c, job, suites, gone, again))
        self.minds.learn(result.taught)
        self._over |= result.over
        self._on_commit(result)
        counting.count(result, len(suites), self._clock.now())
        return result.out

    def _handle(self, deliveries: list[Delivery], finish: Finish, senders: Senders) -> None:
        commit = None if tracing.spans is None else tracing.spans.batch(deliveries)
        try:
            result = self._take(self._sorter.sort(deliveries, senders))
        except StoreUnavailable:
            for delivery in deliveries:
                delivery.redelivered = True  # it may be committed all the same
            raise
        except Exception as error:  # noqa: BLE001  one bad message must not stand in the way of all others for ever
            if len(deliveries) > 1:
                for delivery in deliveries:
                    self._handle([delivery], finish, senders)
                return
            result = self._give_up(deliveries[0], error)
        finally:
            if commit is not None:
                commit.end()
        now = self._clock.now()
        self._over |= result.over
        self.minds.learn(result.taught)
        self._on_commit(result)
        out = result.out if commit is None or tracing.spans is None else tracing.spans.caused(commit, result.out)
        finish(Outcome(deliveries=deliveries, publish=out))
        counting.count(result, len(deliveries), now)

    def _give_up(self, delivery: Delivery, error: Exception) -> Result:
        said = f"{type(error).__name__}: {error}"
        if self._sorter.is_letter(delivery):  # it is where such things go: file it, and conclude nothing from it
            now = self._clock.now()
            _log.warning("a dead letter leads to an error", error=said)
            return Result(filed=self._store.write(lambda c: deadfiles.file(c, [delivery], now))[0])
        return Result(out=[self._sorter.set_aside(delivery, "error", said, traceback=trace(error))])

    def _take(self, batch: Batch) -> Result:
        """News and judgments in a transaction each, since these lock suites and jobs in another order."""
        result = Result(out=batch.out)
        if batch.news:
            result += self._store.write(lambda c: self._news(c, batch.news))
        if batch.judgments or batch.letters:
            tries = itertools.count()  # what looks as if it had failed may be committed
            result += self._store.write(lambda c: self._judgments(c, batch, again=next(tries) > 0))
        return result

    # -- inside a transaction, which may run again: no effects but on the connection -----------------------------------

    def _news(self, connection: sa.Connection, batch: Sequence[News]) -> Result:
        now = self._clock.now()
        result = Result(opened=True)
        accounts = jobs.lock(connection, (n.job for n in batch), create=True)
        for one in batch:
            self._settled(one.job, jobs.note(connection, one, accounts[one.job], now), result)
        self._end(connection, accounts, now, result)
        return result

    def _judgments(self, connection: sa.Connection, batch: Batch, *, again: bool) -> Result:
        now = self._clock.now()
        filed, concluded = deadfiles.file(connection, batch.letters, now, self._senders)
        result = Result(filed=filed)
        by_job: dict[str, list[Said]] = defaultdict(list)
        seen = any(letter.redelivered for letter in batch.letters)
        for said in (*batch.judgments, *(Said(message, None, seen=seen) for message in concluded)):
            said.seen |= again
            by_job[said.message.job].append(said)
        states = jobs.states(connection, by_job)
        held: list[Said] = []
        judged: dict[str, Judged] = {}
        plans: dict[str, Plan] = {}
        purses: dict[str, Purse] = {}
        shares: dict[str, Shares | None] = {}
        means: dict[str, Means | None] = {}
        for job, messages in sorted(by_job.items()):
            plan = self._plans.get(connection, job) if job in states else None
            if plan is None:
                held += messages
            elif states[job] == "cancelled":
                result.late += sum(len(said.message.positions) for said in messages)
                spoiled = [said for said in messages if said.spoiled]
                self._aside([Aside(said, UNDECODABLE, said.spoiled, told=True) for said in spoiled], result)
            else:
                over, plans[job] = states[job] != "open", plan
                purse = purses[job] = jobs.purse(connection, job, plan)
                by = means[job] = self._means(connection, job, plan, purse)
                share = shares[job] = Shares.of(connection, job, purse, (said.message for said in messages))
                ended = jobs.ended_by(connection, job) if over else None
                judged[job] = judging.judge(
                    connection, job, plan, messages, purse, over=over, ended=ended, means=by, shares=share
                )
                # when it is over, what is open has failed: nothing need be concluded of it any more
                held += [said for said in judged[job].unknown if said.delivery or states[job] == "open"]
        early.hold(connection, held, now)
        result.held = bool(held)
        accounts = jobs.lock(connection, states)
        if any(account.state != states[job] for job, account in accounts.items()):
            raise Conflict  # it has just ended: what is open counts otherwise now
        for job, one in judged.items():
            if accounts[job].overspent(plans[job], purses[job], one):
                raise Conflict  # others have asked for more meanwhile
            if (share := shares[job]) is not None and not share.hold(connection):
                raise Conflict  # somebody has given more meanwhile
            if (by := means[job]) is not None and by.out != jobs.out(connection, job, plans[job]):
                raise Conflict  # somebody is out meanwhile: suites that waited for them were looked at before this
            accounts[job].add(one.kept, one.change)
            accounts[job].spend(one, plans[job])
            accounts[job].stop_if_overspent(plans[job], now)
            rewards.reckon(connection, job, plans[job], one.touched, now)
            self._judged(job, one, result)
        self._end(connection, accounts, now, result)
        return result

    def _means(self, connection: sa.Connection, job: str, plan: Plan, purse: Purse) -> Means | None:
        if not plan.cascades:
            return None
        opinion = self.minds.opinion(connection, job, plan)
        return Means(opinion, purse, jobs.out(connection, job, plan))

    def _reopen(
        self, connection: sa.Connection, job: str, suites: Sequence[int], gone: Set[str], again: bool
    ) -> Result:
        """The same inside of the transaction."""
        plan, now, result, judged = self._plans.get(connection, job), self._clock.now(), Result(), Judged()
        if plan is None or not plan.cascades or jobs.states(connection, [job])[job] != "open":
            return result
        states = judging.load(connection, job, suites)
        awaited = any(judge in gone for _, judge, _ in plan.slots)
        changed = [s for s in states.values() if s.take_back(gone) or (awaited and not s.settled)]
        purse = jobs.purse(connection, job, plan)
        settle(connection, job, plan, changed, judged, over=False, means=self._means(connection, job, plan, purse))
        if again:
            for state in states.values():
                ask_again(job, state, judged)
        judged.settled = [state.suite for state in changed if state.settled]
        accounts = jobs.lock(connection, [job])
        if accounts[job].over:
            raise Conflict  # it has just ended
        if accounts[job].overspent(plan, purse, judged):
            raise Conflict  # others have asked for more meanwhile
        accounts[job].add(0, judged.change)
        accounts[job].spend(judged, plan)
        rewards.reckon(connection, job, plan, judged.touched, now)
        self._judged(job, judged, result)
        accounts[job].end_if_done(now)  # upkeep tells of it until that is confirmed: there is no delivery to come again
        if accounts[job].over:
            result.over.add(job)
        result.settled += accounts[job].settled()
        jobs.save(connection, accounts.values())
        return result

    def _judged(self, job: str, judged: Judged, result: Result) -> None:
        result.judged.append(judged)
        if any(judged.taught):
            result.taught[job] = judged.taught
        result.out += [self._event_out(event, headers) for event, headers in judged.escalated]
        self._aside(judged.aside, result)
        self._settled(job, judged.settled, result)

    def _aside(self, some: Iterable[Aside], result: Result) -> None:
        for said, code, why, told in some:
            if said.delivery is not None:  # what we conclude ourselves has its letter on file
                result.out.append(self._sorter.set_aside(said.delivery, code, why, judge=said.message.judge, told=told))

    def _settled(self, job: str, suites: Sequence[int], result: Result) -> None:
        if suites:
            result.out.append(self._event_out(Event(name=SUITES_SETTLED, job=job, data={"suites": list(suites)})))

    def _end(self, connection: sa.Connection, accounts: dict[str, jobs.Account], now: float, result: Result) -> None:
        """End the jobs that are done; say of each that has ended, now or before, that it has."""
        for account in accounts.values():
            before = account.state
            account.end_if_done(now)
            if account.over:
                result.over.add(account.job)
                account.announced = True  # by what goes out now: the deliveries are acked after its confirm
                event = account.completed()
                result.out.append(self._event_out(event))
                if account.ended == now or account.state != before:
                    result.ended.append(event)
            result.settled += account.settled()
        jobs.save(connection, accounts.values())

    def _event_out(self, event: Event, headers: Mapping[str, str] = MappingProxyType({})) -> Outgoing:
        exchange, key = self._names.to_roles(event.name)
        encoded = encode(event, limit=self._limit)
        return Outgoing(
            exchange=exchange, key=key, body=encoded.body, type=encoded.type, content_encoding=encoded.content_encoding,
            headers=headers,
        )  # fmt: skip
