"""Write a network for other programs: ``python -m alexnet_exp.export runs/... flowers.onnx``."""

import argparse
from pathlib import Path

from alexnet_exp.console import say
from alexnet_exp.errors import UserError, answering
from alexnet_exp.export.formats import check_output, export
from alexnet_exp.hardware import keep_freed_memory
from alexnet_exp.words import parted

_FORMATS = """\
formats, by the ending of OUTPUT:
  .onnx         ONNX, checked with onnxruntime: pixels to probabilities
  .pt2          the same for torch.export.load
  .safetensors  weights, mean image, configuration and classes
  .pth          state dict of torchvision.models.alexnet, if that is the network
  a folder      as on Hugging Face: model.safetensors, config.json, and a card,
                README.md, with the errors that were measured

Pixels are squares of uint8, 0 to 255, of the side that the run stored: the
shorter side of a photo resized to it, the center cut out. Mean image, crops and
the average over the run's views are inside; evaluation.views=one leaves the
center view alone.

examples:
  python -m alexnet_exp.export runs/... flowers.onnx evaluation.views=one
  python -m alexnet_exp.export runs/.../best.ckpt flowers.safetensors card/"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.export",
        description="Write a trained network for other programs.",
        epilog=_FORMATS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a checkpoint")
    what = (
        "a new file with one of the endings below, or a new folder; and changes to the recorded"
        " configuration"
    )
    parser.add_argument("outputs", nargs="+", metavar="OUTPUT|override", help=what)
    given = parser.parse_args()
    outputs, overrides = parted(given.outputs)
    if not outputs:
        parser.error("name an OUTPUT, such as flowers.onnx")
    with answering("what is written so far is whole"):
        keep_freed_memory()
        # A .pth first: torchvision's network alone fits.
        files = sorted(map(Path, outputs), key=lambda file: file.suffix.lower() != ".pth")
        for file in files:  # before what takes minutes
            check_output(file)
            if files.count(file) > 1:
                raise UserError(f"{file} is named twice: give each output a name of its own")
        for output in files:
            say(f"writing {output}")
            print(export(given.run, output, *overrides))


if __name__ == "__main__":
    main()
