"""Whoever waits for news looks once before it waits: what was written before it came, nobody tells it."""

import threading
from contextlib import closing
from datetime import timedelta

import pytest

from fleet_server.db.news import Watch

HOUR = timedelta(hours=1)


class Telling:
    """News that tell when a test says so."""

    tells = True

    def __init__(self):
        self.wakes = set()

    def subscribe(self, wake):
        self.wakes.add(wake)
        return lambda: self.wakes.discard(wake)

    def close(self):
        self.wakes.clear()


@pytest.fixture
def news():
    return Telling()


@pytest.mark.timeout(60)
def test_the_first_wait_ends_although_nobody_tells(news):
    with closing(Watch(news, threading.Event())) as watch:
        assert watch.wait(HOUR) is False


@pytest.mark.timeout(60)
def test_a_later_wait_ends_when_something_is_told(news):
    with closing(Watch(news, threading.Event())) as watch:
        watch.wait(HOUR)
        teller = threading.Timer(0, lambda: [wake() for wake in news.wakes])
        teller.start()
        assert watch.wait(HOUR) is False
        teller.join()


@pytest.mark.timeout(60)
def test_a_wait_that_shall_end_does(news):
    stop = threading.Event()
    with closing(Watch(news, stop)) as watch:
        watch.wait(HOUR)
        threading.Timer(0, stop.set).start()
        assert watch.wait(HOUR) is True


def test_one_that_was_closed_is_told_nothing(news):
    Watch(news, threading.Event()).close()
    assert not news.wakes
