"""Fixtures for `evaluate` and `predict`: a run folder, and the calls they make."""

from __future__ import annotations

import pytest
from bright_images import save_images
from commanding import mlpx

from mlpx import MLP


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder of a small data set of two images, one all dark and one all bright."""
    folder = tmp_path_factory.mktemp("trained")
    save_images(folder / "bright.npz")
    with pytest.MonkeyPatch.context() as patch:
        # It is slow, and not what is meant here.
        patch.setattr("mlpx.training.run_folder.learning_curves", lambda *_, **__: None)
        found = mlpx(
            "train", folder / "bright.npz", "--out", folder / "run", "--epochs", 30, "--lr", 0.05
        )
    assert found.exit_code == 0, found.output
    return folder / "run"


@pytest.fixture
def calls(monkeypatch):
    """The options that MLP.load, evaluate and predict were called with."""
    seen = {}

    def watch(name):
        method = getattr(MLP, name)

        def spied(*given, **options):
            seen[name] = options
            return method(*given, **options)

        monkeypatch.setattr(MLP, name, spied)

    for name in ("load", "evaluate", "predict"):
        watch(name)
    return seen
