"""What the measuring command counts, and what it says where there is no GPU."""

import pytest
import torch

from alexnet_exp.bench import kernels as measure


def test_says_that_it_needs_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        measure.main()
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_counts_each_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "STORED_IMAGES", 1)
    counted = {case.name: case.bytes for case in measure.cases(2, torch.device("cpu"))}
    norm1, norm2 = 2 * 290_400 * 2, 2 * 186_624 * 2  # images, activations, bytes of bf16
    assert counted == {
        "norm1 forward": 2 * norm1,
        "norm1 backward": 3 * norm1,
        "norm2 forward": 2 * norm2,
        "norm2 backward": 3 * norm2,
        "crop": 2 * 224 * 224 * 3 * (1 + 2),
    }
