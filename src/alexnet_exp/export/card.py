"""A folder as on Hugging Face: weights, configuration, and a card that says what was measured."""

import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from alexnet_exp import __version__
from alexnet_exp.config.training import Views
from alexnet_exp.console import percent, visible
from alexnet_exp.export.portable import Trained
from alexnet_exp.export.tensors import write_safetensors
from alexnet_exp.runs.chance import FEW_CLASSES
from alexnet_exp.training.checkpoint import is_unfinished

_TEMPLATES = Path(__file__).with_name("templates")
_LISTED = 20  # classes in the card; config.json has all


def write_card(trained: Trained, folder: Path) -> str:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` into a new folder.

    Returns what it holds, for the user.
    """
    folder.mkdir()
    said = write_safetensors(trained, folder / "model.safetensors")
    config = json.dumps(_config(trained), indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(trained), encoding="utf-8")
    return f"{said}; config.json, README.md"


def _config(trained: Trained) -> dict[str, Any]:
    """By Hugging Face's names where it has any, and our whole configuration."""
    names, config = trained.classifier.output_names, trained.classifier.config
    recorded = json.loads(trained.to_json())
    return {
        "architectures": ["AlexNet"],
        "model_type": "alexnet_exp",
        "torch_dtype": "float32",
        "num_channels": config.model.input_channels,
        "image_size": config.model.input_size,
        "id2label": {str(label): name for label, name in enumerate(names)},
        "label2id": {name: label for label, name in enumerate(names)},
        "preprocessing": _preprocessing(trained),
        "alexnet_exp_version": __version__,
        "alexnet_exp": recorded["config"],
    }


def _preprocessing(trained: Trained) -> list[str]:
    """What is done to a photo, step by step."""
    config, augmentation = trained.config, trained.classifier.augmentation
    data, side = config.data, config.model.input_size
    colors = "RGB" if data.channels == 3 else "gray"
    size = data.image_size
    steps = [
        f"Decode to {colors}, 0 to 255; an EXIF orientation is not applied, alpha is dropped.",
        f"Resize the shorter side to {size} pixels (as Pillow's BILINEAR does) and cut out the"
        f" central {size} x {size}, uint8.",
    ]
    if data.upscale_to is not None:
        steps.append(f"Enlarge to {data.upscale_to} x {data.upscale_to} (bilinear).")
    if config.augmentation.mean_image:
        steps.append("Subtract the mean image, `statistics.mean` in model.safetensors.")
    if config.augmentation.scale != 1:
        steps.append(f"Multiply by {config.augmentation.scale:g}.")
    views = augmentation.view_count(config.evaluation.views)
    crop = f"Cut out the central {side} x {side} pixels."
    if config.evaluation.views == Views.ten:
        crop = (
            f"Cut out {views} views of {side} x {side} pixels (center, corners, and their mirror"
            " images) and average their softmax."
        )
    return [*steps, crop]


def _card(trained: Trained) -> str:
    config, result = trained.config, trained.result
    names = [visible(name).replace("`", "'") for name in trained.classifier.output_names]
    parameters = sum(parameter.numel() for parameter in trained.classifier.parameters())
    template = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template("card.md.jinja")
    return template.render(
        head=yaml.safe_dump(_head(trained), sort_keys=False, allow_unicode=True),
        config=config,
        result=result,
        rows=_errors(result) if result else [],
        names=names[:_LISTED],
        classes=len(names),
        parameters=f"{parameters:,}",
        steps=_preprocessing(trained),
        synthetic=config.data.source == "synthetic",
        unfinished=is_unfinished(trained.path),
    )


def _errors(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Cells of each split that was evaluated: its name, number of images, top-1 and top-5 error."""
    metrics, rows = result["metrics"], []
    for split in ("val", "test"):
        if f"{split}/top1_error" in metrics:
            top5 = percent(metrics[f"{split}/top5_error"])
            if result["classes"] <= FEW_CLASSES:
                top5 = f"n/a with {result['classes']} classes"
            images = f"{result['images'][split]:,}"
            rows.append((split, images, percent(metrics[f"{split}/top1_error"]), top5))
    return rows


def _head(trained: Trained) -> dict[str, Any]:
    """What Hugging Face reads at the top of a card."""
    config, result = trained.config, trained.result
    head: dict[str, Any] = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["alexnet", "image-classification"],
    }
    if result and "test/top1_error" in result["metrics"]:
        data = "drawn images" if config.data.source == "synthetic" else config.data.name
        accuracy = 1 - result["metrics"]["test/top1_error"]
        found = {
            "task": {"type": "image-classification"},
            "dataset": {"name": data, "type": config.data.name, "split": "test"},
            "metrics": [{"type": "accuracy", "value": round(accuracy, 6)}],
        }
        head["model-index"] = [{"name": f"{config.model.name}-{config.data.name}",
                                "results": [found]}]  # fmt: skip
    return head
