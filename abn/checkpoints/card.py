"""The `README.md` of a checkpoint: a model card with the Hub's front matter."""

from __future__ import annotations

import json

from abn.checkpoints.info import CheckpointInfo
from abn.common.texts import escape
from abn.models.registry import ARCHITECTURES, label_of

HUB_DATA_SETS = {"CIFAR-10": "uoft-cs/cifar10"}  # as `CheckpointInfo` calls them: their ids on the Hub
SPLITS = {"test": "test", "holdout": "train"}  # what `evaluated_on` says: the data set's own name for it


def model_card(info: CheckpointInfo) -> str:
    """Front matter and text; what `info` does not know is left out."""
    title = label_of(info.architecture)
    data = f" on {escape(info.dataset)}" if info.dataset else ""
    return "\n".join(
        [
            *_front_matter(info),
            f"# {title}{data}",
            "",
            _introduction(info),
            "",
            "## Training",
            "",
            *_table(info),
            "",
            *([escape(info.dataset_note), ""] if info.dataset_note else []),
            "## Loading",
            "",
            "```python",
            "from abn import load_checkpoint",
            "",
            'model = load_checkpoint("FOLDER")  # this one; or "user/repo", "user/repo@revision" on the Hub',
            "model.info.class_names, model.info.accuracy",
            "```",
            "",
            "The weights are safetensors; loading them runs no code. Images are normalised by mean "
            f"{_numbers(info.mean)} and standard deviation {_numbers(info.std)}, on the scale 0…1.",
            "",
        ]
    )


def _front_matter(info: CheckpointInfo) -> list[str]:
    # JSON strings are YAML strings: no name can break out of its line.
    licence = [f"license: {info.license}"] if info.license else []
    lines = ["---", *licence, "library_name: abn", "pipeline_tag: image-classification", "tags:"]
    lines += [f"- {json.dumps(tag)}" for tag in ("pytorch", "channel-modulation", info.architecture)]
    if info.dataset:
        lines += ["datasets:", f"- {json.dumps(_hub_id(info.dataset))}"]
    return [*lines, *_model_index(info), "---", ""]


def _hub_id(dataset: str) -> str:
    return HUB_DATA_SETS.get(dataset, dataset.lower().replace(" ", "-"))


def _model_index(info: CheckpointInfo) -> list[str]:
    """The accuracy in the form the Hub reads: as a share, from 0 to 1, which its metric `accuracy` is."""
    if info.accuracy is None or info.dataset is None or info.evaluated_on is None:
        return []
    return [
        "metrics:",
        "- accuracy",
        "model-index:",
        f"- name: {json.dumps(label_of(info.architecture))}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "      name: Image Classification",
        "    dataset:",
        f"      name: {json.dumps(info.dataset)}",
        f"      type: {json.dumps(_hub_id(info.dataset))}",
        f"      split: {SPLITS[info.evaluated_on]}",
        "    metrics:",
        "    - type: accuracy",
        f"      value: {info.accuracy / 100:.6f}",
        f"      name: {json.dumps(f'Accuracy{_evaluated_on(info)}')}",
    ]


def _evaluated_on(info: CheckpointInfo) -> str:
    where = "held-out training images" if info.evaluated_on == "holdout" else "test images"
    return f" on {info.test_images:,} {where}" if info.test_images else ""


def _introduction(info: CheckpointInfo) -> str:
    about = ARCHITECTURES[info.architecture].about.format(num_biases=info.num_biases)
    names = escape(", ".join(info.class_names))
    return f"Tells {len(info.class_names)} classes of 32 × 32 pictures apart: {names}. {about}"


def _table(info: CheckpointInfo) -> list[str]:
    recipe = dict(info.recipe or {})
    name = recipe.pop("name", None)
    settings = ", ".join(f"{key} {value}" for key, value in recipe.items())
    trained_by = f"{name} ({settings})" if name and settings else name or settings
    rows = {
        "recipe": escape(str(trained_by)),
        "seed": info.seed,
        "epochs": info.epochs,
        "hardware": info.hardware and escape(info.hardware),
        "PyTorch": info.torch_version and escape(info.torch_version),
        "accuracy, last epoch": None if info.accuracy is None else f"{info.accuracy:.2f} %{_evaluated_on(info)}",
        "best evaluated epoch, for comparison only": None
        if info.best_accuracy is None
        else f"{info.best_accuracy:.2f} % (epoch {info.best_epoch})",
        "SHA-256 of model.safetensors": f"`{info.weights_sha256}`",
    }
    known = [f"| {row} | {value} |" for row, value in rows.items() if value not in (None, "")]
    return ["| | |", "|---|---|", *known]


def _numbers(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
