"""The breaker of an outage counts what it has seen."""

import asyncio

import pytest

from stream.outage import Outage


@pytest.fixture
def outage():
    async def ping():
        pass

    return Outage(ping, asyncio.Event(), is_degrading=True)


def test_an_outage_counts_once_and_its_time_stops_when_it_is_over(outage):
    for _ in range(5):
        outage.failed()
    during = outage.total_s
    assert (outage.is_on, outage.n_outages) == (True, 1)
    assert outage.total_s > during
    outage.over()
    outage.over()
    after = outage.total_s

    assert (outage.is_on, outage.n_outages, outage.total_s) == (False, 1, after)
    outage.failed()
    outage.failed()
    assert outage.n_outages == 2
    assert outage.total_s > after > during


def test_one_failure_alone_is_no_outage(outage):
    outage.failed()
    outage.worked()
    outage.failed()

    assert (outage.is_on, outage.n_outages, outage.total_s) == (False, 0, 0.0)
