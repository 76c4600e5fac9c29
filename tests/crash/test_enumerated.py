"""Every crash of every workload, recovered in memory."""

import pytest

from . import campaign, workloads


@pytest.mark.parametrize("workload", workloads.WORKLOADS, ids=lambda workload: workload.__name__)
def test_crash_leaves_old_or_new(workload):
    result = campaign.run([workload], subsets=1, most_single=3, nested_every=40)
    assert not result.wrong, (str(result), result.torn[:3], result.lost[:3], result.failed[:3])
    assert result.states > 20


def test_death_beside_the_living_leaves_old_or_new():
    result = campaign.deaths()
    assert not result.wrong, (str(result), result.torn)
    assert result.states > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_campaign(capsys):
    result = campaign.run(subsets=20, most_single=40, nested_every=1)
    for seed in range(2, 9):
        result += campaign.run(subsets=20, most_single=10, nested_every=9, seed=seed)
    with capsys.disabled():
        print(f"\n{result}")
    assert not result.wrong, (result.torn[:3], result.lost[:3], result.failed[:3])
    assert result.states >= 10_000
