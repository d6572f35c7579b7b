"""What the load and soak benchmarks take for a right answer."""

from itertools import islice

import numpy as np
import pytest

from abn.common.data import CLASS_NAMES
from benchmarks.load import check, send
from benchmarks.mutations import good_files
from benchmarks.requests import BAD_VALUES, Request, difference, mix
from benchmarks.visitor import Answer, Visitor

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
    answers = {0: right, 1: wrong, 2: answer("the connection broke", "lost")}
    assert not check(requests, answers, [EXPECTED] * 3, "3 clients")
    said = capsys.readouterr().out
    assert "3 clients: 3 of 3 sent, 1 lost, 2 other than computed alone; 1 exactly the same" in said
    assert not check(requests, {0: right}, [EXPECTED] * 3, "3 clients")  # the time was up
    assert "3 clients: 1 of 3 sent, 0 lost, 0 other than computed alone" in capsys.readouterr().out
    assert check(requests, dict.fromkeys(range(3), right), [EXPECTED] * 3, "3 clients")


@pytest.mark.parametrize(("endpoint", "values", "phrase"), BAD_VALUES)
def test_what_must_be_refused_is_refused_with_the_words_expected(url, examples, endpoint, values, phrase):
    sent = None if "image" in values else examples[0].read_bytes()
    answer = Visitor(url).ask(endpoint, sent, **values)
    assert difference(answer, ("error", phrase)) == 0, answer


def test_several_clients_get_the_answers_that_each_would_get_alone(url, inspector, capsys):
    requests = list(islice(mix(0, CLASS_NAMES, good_files(np.random.default_rng(0))), 40))
    assert {request.endpoint for request in requests} == {"inspect", "attribute", "intervene"}
    assert {"inspect", "intervene", "mutated file", "bad value"} < {request.kind for request in requests}
    answers, _ = send(url, requests, 4, 120)
    assert check(requests, answers, [request.expected(inspector) for request in requests], "4"), capsys.readouterr()
