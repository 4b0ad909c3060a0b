"""Fixtures of several commands: a run, the calls they make, and a training that is killed."""

from __future__ import annotations

import pytest
from bright_images import save_images
from commanding import mlpx

from mlpx import MLP, Callback


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


class Killed(BaseException):
    """Ends a training as SIGKILL does: nothing is written any more."""


@pytest.fixture
def killed(monkeypatch):
    """Kills `mlpx train` with the given options after an epoch, or after a step."""

    def kill(*options, after=2, step=None):
        class Kill(Callback):
            def on_train_begin(self, run):
                keeper = run.callbacks[-1]
                monkeypatch.setattr(keeper._writer, "start", lambda work: work())

            def on_epoch_begin(self, run, epoch):
                if epoch - run.begun[0] == after:
                    raise Killed

            def on_steps(self, run):
                if run.steps_done == step:
                    raise Killed

        with monkeypatch.context() as patch:
            patch.setattr("mlpx.cli.train.run._Keep", Kill)
            with pytest.raises(Killed):
                mlpx("train", *options, "--checkpoint-every", "1")

    return kill
