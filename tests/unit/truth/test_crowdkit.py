"""The methods that are crowd-kit's come to what crowd-kit comes to. In one file: it takes its time to import."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from crowdkit.aggregation import classification
from crowdkit.aggregation.classification import MajorityVote

from manyhands_aggregator.truth.dawid_skene import dawid_skene, one_coin
from manyhands_aggregator.truth.inferred import Method
from manyhands_aggregator.truth.voting import agreement, majority, wawa
from tests.unit.truth.small import crowd

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # crowd-kit's, of pandas


def test_wawa_is_crowd_kits() -> None:
    """Its own class does not run with a new scikit-learn, its pieces do. Where no vote is level, the method is one."""
    ballots, _ = crowd(3, tasks=200, classes=2)
    table = pd.DataFrame({"task": ballots.task, "worker": ballots.worker, "label": ballots.label})
    vote: Any = MajorityVote().fit(table)
    expected = MajorityVote().fit_predict_proba(table, vote.skills_)
    assert majority(ballots).posterior == pytest.approx(vote.probas_.to_numpy(), abs=1e-12)
    assert wawa(ballots).posterior == pytest.approx(expected.to_numpy(), abs=1e-6)
    assert agreement(ballots, majority(ballots).posterior) == pytest.approx(vote.skills_.sort_index().to_numpy())


@pytest.mark.parametrize("name", ["DawidSkene", "OneCoinDawidSkene"])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_crowd_kits(name: str, seed: int) -> None:
    """Same posteriors, and as many rounds."""
    ours: dict[str, Method] = {"DawidSkene": dawid_skene, "OneCoinDawidSkene": one_coin}
    ballots, _ = crowd(seed, tasks=60, workers=12, classes=2 + seed, good=3.0)
    table = pd.DataFrame({"task": ballots.task, "worker": ballots.worker, "label": ballots.label})
    theirs = getattr(classification, name)()
    expected = theirs.fit_predict_proba(table).sort_index().sort_index(axis=1).to_numpy()
    inferred = ours[name](ballots)
    assert inferred.posterior == pytest.approx(expected, abs=1e-6)
    assert inferred.iterations == len(theirs.loss_history_)
