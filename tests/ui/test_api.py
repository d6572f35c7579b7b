"""The endpoints, asked as a program would: through gradio_client, and past it."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from dataclasses import asdict
from urllib.request import Request, urlopen

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from abn.app.inspector.changes import Change
from abn.common.data import CLASS_NAMES
from abn.interpret.attribution.attribute import METHODS
from tests.conftest import HOME


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False, httpx_kwargs={"timeout": 60})


@pytest.fixture(scope="module")
def picture(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("sent") / "picture.png"
    Image.fromarray(pictures[3]).save(path)
    return handle_file(str(path))


def test_every_listed_endpoint_is_one_that_is_meant(client):
    listed = client.view_api(return_format="dict", print_info=False)
    assert set(listed["named_endpoints"]) == {"/inspect", "/attribute", "/intervene"}
    assert listed["unnamed_endpoints"] == {}


def test_parameters_are_named_and_typed(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = [p["parameter_name"] for p in endpoints["/attribute"]["parameters"]]
    options = [option.name for method in METHODS.values() for option in method.options]
    assert names == ["image", "fit_mode", "target", "against", "method", *options]
    types = {p["parameter_name"]: p["python_type"]["type"] for p in endpoints["/attribute"]["parameters"]}
    assert "'crop'" in types["fit_mode"]
    assert "'grad_cam'" in types["method"]
    assert "'ship'" in types["target"]
    assert (types["steps"], types["noise_level"]) == ("int", "float")
    assert "softmax" in endpoints["/inspect"]["description"]
    changed = {p["parameter_name"]: p for p in endpoints["/intervene"]["parameters"]}
    assert list(changed) == ["image", "fit_mode", "block", "gates", "strength", "vector", "channel", "factor"]
    assert [name for name, each in changed.items() if not each["parameter_has_default"]] == ["image"]
    assert [changed[name]["python_type"]["type"] for name in ("vector", "channel", "factor")] == [
        "int",
        "int",
        "float",
    ]
    assert "'layer3.1'" in changed["block"]["python_type"]["type"]
    assert "'one vector'" in changed["gates"]["python_type"]["type"]


def test_inspect_returns_what_the_library_computes(client, picture, pictures, inspector):
    answer = client.predict(picture, api_name="/inspect")
    expected = inspector.inspect(pictures[3])
    assert answer["picture"] == {"size": [32, 32], "used": [0, 0, 32, 32], "fit": "crop"}
    for side, network in zip(("baseline", "dmb"), expected.networks, strict=True):
        assert list(answer[side]["raw_softmax"]) == list(CLASS_NAMES)
        np.testing.assert_allclose(list(answer[side]["raw_softmax"].values()), network.probabilities, atol=1e-6)
        assert answer[side]["predicted"] == network.predicted_name
    for block in expected.dmb.blocks:
        sent = answer["dmb"]["blocks"][block.name]
        np.testing.assert_allclose(sent["factors"], block.factors, atol=1e-6)
        np.testing.assert_allclose(sent["gate_weights"], block.gate_weights, atol=1e-6)
        total = np.array(sent["linear_term"]) + np.array(sent["bias_term"])
        np.testing.assert_allclose(1 + np.tanh(total), sent["factors"], atol=1e-5)
    assert "gate_weights" not in answer["baseline"]["blocks"]["layer1.0"]


def test_attribute_returns_the_maps_values(client, picture, pictures, inspector):
    answer = client.predict(
        picture, target="ship", against="cat", method="grad_cam", stage="layer2", api_name="/attribute"
    )
    expected = inspector.attribute(pictures[3], "ship", "cat", "grad_cam", {"stage": "layer2", "relu": True})
    assert answer["target"] == "ship against cat"
    assert answer["options"] == {"stage": "layer2", "relu": True}
    assert answer["dmb"]["resolution"] == [16, 16]
    np.testing.assert_allclose(answer["dmb"]["map"], expected.maps[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(answer["baseline"]["map"], expected.maps[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        ({}, Change()),
        ({"strength": 0}, Change(strength=0)),
        ({"gates": "one vector", "vector": 1, "block": "layer2.0"}, Change("layer2.0", "one vector", vector=1)),
        ({"block": "layer3.0", "channel": 255, "factor": 0}, Change("layer3.0", channel=255, factor=0)),
    ],
)
def test_intervene_returns_what_the_library_computes(client, picture, pictures, inspector, arguments, change):
    answer = client.predict(picture, api_name="/intervene", **arguments)
    expected = inspector.intervene(pictures[3], change)
    assert answer["network"] == "ResNet-DMB"
    assert answer["change"] == asdict(change)
    assert answer["total_variation"] == pytest.approx(expected.total_variation, abs=1e-6)
    assert (answer["total_variation"] > 0) == bool(arguments)
    for name, network in (("before", expected.before), ("after", expected.after)):
        np.testing.assert_allclose(list(answer[name]["raw_softmax"].values()), network.probabilities, atol=1e-6)
        for block in network.blocks:
            np.testing.assert_allclose(answer[name]["blocks"][block.name]["factors"], block.factors, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channel": 3, "factor": 0}, "block none, channel 3, factor 0: to change one channel, name its block"),
        ({"block": "layer1.0", "factor": 0}, "block layer1.0, channel none, factor 0: to change one channel"),
        ({"block": "layer1.0", "channel": 64, "factor": 0}, "channel is 64; expected a whole number from 0 to 63"),
        ({"block": "layer1.0", "channel": 2.5, "factor": 0}, "channel is 2.5; expected a whole number"),
        ({"block": "layer9.0"}, "layer9.0"),
        ({"gates": "vector"}, "'own', 'uniform', 'no bank', 'one vector'"),
        ({"gates": "one vector", "vector": 4}, "vector is 4; expected a whole number from 0 to 3"),
        ({"strength": 5}, "strength is 5; expected a number from 0 to 4"),
        ({"strength": "x"}, "strength is 'x'; expected a number from 0 to 4"),
        ({"strength": None}, "strength is None; expected a number from 0 to 4"),
        ({"block": "layer1.0", "channel": 0, "factor": -1}, "factor is -1; expected a number from 0 to 2"),
    ],
)
def test_a_change_that_does_not_fit_is_answered_with_a_sentence(client, picture, arguments, message):
    with pytest.raises((AppError, ValueError)) as caught:
        client.predict(picture, api_name="/intervene", **arguments)
    assert message in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "ship", "against": "ship"}, "ship is set against itself; choose another class"),
        ({"method": "occlusion", "window": 4, "stride": 9}, "stride"),
        ({"method": "integrated_gradients", "steps": 100_000}, "512"),
        ({"method": "integrated_gradients", "steps": 32.7}, "steps is 32.7; expected a whole number"),
        ({"method": "deep_lift"}, "deep_lift"),
        ({"target": "unicorn"}, "unicorn"),
    ],
)
def test_nonsense_is_answered_with_a_sentence(client, picture, arguments, message):
    with pytest.raises((AppError, ValueError)) as caught:
        client.predict(picture, api_name="/attribute", **arguments)
    assert message in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_no_picture_is_answered_with_a_sentence(client):
    with pytest.raises(AppError, match="No picture was sent"):
        client.predict(None, api_name="/inspect")


def test_a_file_that_is_no_picture_gets_the_pages_sentence(client, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("just words")
    with pytest.raises(AppError, match="picture") as caught:
        client.predict(handle_file(str(path)), api_name="/inspect")
    assert str(tmp_path) not in str(caught.value)
    assert "/" not in str(caught.value).replace("PNG/JPEG", "")


@pytest.mark.parametrize(
    "value",
    [
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": str(HOME / "assets" / "examples" / "ship.png")},
        {"path": str(HOME / "assets" / "examples" / "ship.png"), "orig_name": "x.svg"},
        {"url": "file:///etc/passwd", "path": ""},
        {"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}},
    ],
)
def test_no_endpoint_opens_what_was_not_uploaded(url, value):
    said = call(url, "inspect", [value, "crop"])
    assert said["event"] == "error"
    assert "raw_softmax" not in said["data"]
    assert "upload the file first" in said["data"]
    assert "/etc" not in said["data"]
    assert str(HOME) not in said["data"]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": None},
        {"method": ["saliency"]},
        {"window": "x"},
        {"window": []},
        {"steps": {}},
        {"target": 7},
        {"fit_mode": None},
        {"fit_mode": "x" * 100_000},
    ],
)
def test_values_of_another_kind_are_answered_with_a_sentence(url, client, pictures, changes):
    parameters = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/attribute"][
        "parameters"
    ]
    values = {p["parameter_name"]: p.get("parameter_default") for p in parameters}
    buffer = io.BytesIO()
    Image.fromarray(pictures[0]).save(buffer, "PNG")
    values["image"] = {"url": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}
    said = call(url, "attribute", list((values | changes).values()))
    assert said["event"] == "error"
    message = json.loads(said["data"])["error"]
    assert message is not None
    assert 20 < len(message) < 600
    assert "Traceback" not in message


def test_no_endpoint_escapes_the_queue(url):
    config = json.load(urlopen(f"{url}config"))
    names = {d["api_name"] for d in config["dependencies"] if d["backend_fn"]}
    for name in ["inspect", "attribute", "intervene", *sorted(names)]:
        request = Request(
            f"{url}gradio_api/run/{name}", json.dumps({"data": []}).encode(), {"Content-Type": "application/json"}
        )
        with pytest.raises(OSError, match=r"HTTP Error 40[0-9]|HTTP Error 42[0-9]"):
            urlopen(request, timeout=60)


def call(url: str, name: str, data: list) -> dict[str, str]:
    """An endpoint's last event, through the two-step REST protocol."""
    request = Request(
        f"{url}gradio_api/call/{name}", json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    )
    event = json.load(urlopen(request, timeout=60))["event_id"]
    stream = urlopen(f"{url}gradio_api/call/{name}/{event}", timeout=60).read().decode()
    kind, content = re.findall(r"event: (.*)\ndata: (.*)", stream)[-1]
    return {"event": kind, "data": content}


def test_visitors_at_once_get_their_own_answers(url, pictures, inspector, tmp_path):
    paths = []
    for index in range(8):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pictures[index]).save(paths[-1])
    answers: dict[int, dict] = {}

    def visit(index: int) -> None:
        visitor = Client(url, verbose=False, httpx_kwargs={"timeout": 60})
        answers[index] = visitor.predict(handle_file(str(paths[index])), api_name="/inspect")

    threads = [threading.Thread(target=visit, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(8):
        expected = inspector.inspect(pictures[index]).dmb.probabilities
        np.testing.assert_allclose(list(answers[index]["dmb"]["raw_softmax"].values()), expected, atol=1e-6)


def test_the_readmes_example_runs(url, monkeypatch, capsys):
    readme = (HOME / "README.md").read_text()
    example = re.search(r"<!-- client example -->\n```python\n(.*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(HOME)
    exec(example.replace("http://127.0.0.1:7860", url.rstrip("/")), {})
    printed = capsys.readouterr().out
    assert any(name in printed for name in CLASS_NAMES)


def asked(url: str, name: str, *values) -> str:
    """What curl is told: the events of a call with these values, as they are written in the request."""
    address = f"{url}gradio_api/call/{name}"
    event = httpx.post(address, json={"data": list(values)}, timeout=60).json()["event_id"]
    return httpx.get(f"{address}/{event}", timeout=60).text


def test_values_left_out_at_the_end_have_their_documented_defaults(url, client, pictures):
    stream = io.BytesIO()
    Image.fromarray(pictures[3]).save(stream, "PNG")
    sent = {"url": "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()}
    defaults = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name in ("inspect", "attribute", "intervene"):
        documented = [each["parameter_default"] for each in defaults[f"/{name}"]["parameters"][1:]]
        short, full = asked(url, name, sent), asked(url, name, sent, *documented)
        assert short.startswith("event: complete")
        assert json.loads(short.partition("data: ")[2]) == json.loads(full.partition("data: ")[2])
        assert "This call takes" in asked(url, name)
