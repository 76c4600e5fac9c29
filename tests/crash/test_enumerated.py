"""Every crash of every workload, recovered in memory."""

import pytest

from . import campaign, workloads


@pytest.mark.parametrize("workload", workloads.WORKLOADS, ids=lambda workload: workload.__name__)
def test_crash_leaves_old_or_new(workload):
    result = campaign.run([workload], subsets=1, most_single=3, nested_every=40)
    assert not result.wrong, (str(result), result.torn[:3], result.lost[:3], result.failed[:3])
    assert result.states > 20
