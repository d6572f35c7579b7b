import pytest

from abn.ui.page.latest import Latest, Superseded


def test_only_the_newest_request_of_a_visitor_counts():
    latest = Latest()
    first, other = latest.begin("a"), latest.begin("b")
    latest.require("a", first)
    second = latest.begin("a")
    with pytest.raises(Superseded):
        latest.require("a", first)
    latest.require("a", second)
    latest.require("b", other)


def test_it_knows_what_a_visitors_newest_request_asks_for():
    latest = Latest(visitors=2)
    latest.begin("a", "reset")
    latest.begin("b")
    assert [latest.newest(name) for name in ("a", "b", "c")] == ["reset", "", ""]
    latest.begin("a")
    assert latest.newest("a") == ""


def test_visitors_of_long_ago_are_forgotten_and_not_stopped():
    latest = Latest(visitors=2)
    first = latest.begin("a")
    latest.begin("b")
    latest.begin("c")
    assert len(latest._newest) == 2
    latest.require("a", first)
