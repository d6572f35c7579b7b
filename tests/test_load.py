"""What the load and soak benchmarks take for a right answer."""

import pytest

from benchmarks.load import check
from benchmarks.requests import Request, difference
from benchmarks.visitor import Answer

EXPECTED = ("complete", {"factors": [1.0, 2.0], "label": "ship"})


def answer(content, kind="complete"):
    return Answer(kind, content, str(content), 10, 0.1)


@pytest.mark.parametrize(
    ("content", "off"),
    [
        ({"factors": [1.0, 2.0], "label": "ship", "more": 1}, 0.0),
        ({"factors": [1.0, 2.5], "label": "ship"}, 0.25),
        ({"factors": [1.0, 2.0], "label": "cat"}, None),
        ({"factors": [1.0], "label": "ship"}, None),
        ({"factors": [1.0, None], "label": "ship"}, None),
        ({"factors": [1.0, float("nan")], "label": "ship"}, None),
        ({"factors": "none", "label": "ship"}, None),
        ({"factors": [[1.0], [1.0, 2.0]], "label": "ship"}, None),
        ({"label": "ship"}, None),
    ],
)
def test_an_answer_is_as_far_off_as_its_worst_number(content, off):
    assert difference(answer(content), EXPECTED) == off


def test_an_error_where_none_was_expected_is_wrong_and_one_that_says_as_much_right():
    assert difference(answer("no picture", "error"), EXPECTED) is None
    assert difference(answer("This is no picture.", "error"), ("error", "no picture")) == 0
    assert difference(answer(None, "error"), ("error", "no picture")) is None


def test_what_is_lost_or_wrong_is_counted(capsys):
    requests = [Request("inspect", "inspect", None, f"{i}.png", {}) for i in range(3)]
    right, wrong = answer(EXPECTED[1]), answer({"factors": [None, 2.0], "label": "ship"})
    assert not check(requests, {0: right, 1: wrong}, [EXPECTED] * 3, "3 clients")
    assert "3 clients: 3 sent, 1 lost, 2 other than computed alone; 1 exactly the same" in capsys.readouterr().out
    assert check(requests, dict.fromkeys(range(3), right), [EXPECTED] * 3, "3 clients")
