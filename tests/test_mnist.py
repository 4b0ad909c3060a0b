"""The two published MNIST runs, as the examples do them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_sgd_reaches_97_percent(data_dir: Path) -> None:
    train = example("mnist_sgd").train
    reached = [train(seed, steps=50_000, data_dir=data_dir, device="cpu") for seed in range(3)]
    assert sum(reached) / 3 >= 0.970
    assert min(reached) >= 0.968


@pytest.mark.slow
def test_adam_reaches_96_7_percent(data_dir: Path) -> None:
    train = example("mnist_adam").train
    reached = [train(seed, epochs=10, data_dir=data_dir, device="cpu") for seed in range(3)]
    assert sum(reached) / 3 >= 0.967


def test_examples_run_shortened(data_dir: Path) -> None:
    """Far fewer steps, so that an example that no longer runs is seen at once."""
    assert example("mnist_sgd").train(0, steps=300, data_dir=data_dir, device="cpu") > 0.1
    assert example("mnist_adam").train(0, epochs=1, data_dir=data_dir, device="cpu") > 0.85
