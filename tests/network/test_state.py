"""Training in parts equals training in one go, bit for bit: by epochs, by steps, via a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded import EMBEDDINGS
from small_training import D, K, N, data, net, quiet, same

from mlpx import MLP, Adam, Optimizer
from mlpx.layers import Layer
from mlpx.training.sampling import SAMPLINGS

# L-BFGS learns its approximate Hessian anew in every fit: SciPy keeps it to itself.
RESUMED = sorted(name for name, rule in Optimizer.table.items() if not rule.full_batch)


@pytest.mark.parametrize("sampling", sorted(SAMPLINGS))
@pytest.mark.parametrize("optimizer", RESUMED)
def test_in_parts_is_as_in_one(sampling: str, optimizer: str, tmp_path: Path) -> None:
    """Also if the training state comes from a file."""
    x, y = data()
    options = {"sampling": sampling, "optimizer": optimizer}
    whole = net()
    told = quiet(whole, x, y, epochs=4, **options)
    for saved in (False, True):
        parts, losses = net(), []
        for _ in range(2):
            losses.append(quiet(parts, x, y, epochs=2, **options).step_loss)
            if saved:
                parts.save(tmp_path / "m.safetensors")
                parts = MLP.load(tmp_path / "m.safetensors")
        assert same(whole, parts), saved
        assert told.step_loss.tobytes() == np.concatenate(losses).tobytes(), saved


@pytest.mark.parametrize("saved", [False, True])
def test_from_the_middle_of_an_epoch(saved: bool, tmp_path: Path) -> None:
    """Four steps per epoch: 3 + 2 + 1 + 5 stop within epochs, across a boundary, and at one."""
    x, y = data()
    whole, parts = net(), net()
    told = quiet(whole, x, y, steps=11, optimizer="adam")
    losses = []
    for steps in (3, 2, 1, 5):
        losses.append(quiet(parts, x, y, steps=steps, optimizer="adam").step_loss)
        if saved:
            parts.save(tmp_path / "m.safetensors")
            parts = MLP.load(tmp_path / "m.safetensors")
    assert same(whole, parts)
    assert whole.training_state is not None
    assert (whole.training_state.epoch, whole.training_state.position) == (2, 3)
    assert told.step_loss.tobytes() == np.concatenate(losses).tobytes()


@pytest.mark.parametrize("layer", sorted(set(Layer.table) - {"residual", "dense"}))
def test_masks_and_running_statistics_go_on(layer: str, tmp_path: Path) -> None:
    x, y = data()
    given = EMBEDDINGS.get(layer, layer)
    whole, parts = (MLP([D, 5, given, 4, K], dtype="float64", seed=3) for _ in range(2))
    quiet(whole, x, y, steps=11)
    for steps in (3, 2, 1, 5):
        quiet(parts, x, y, steps=steps)
        parts.save(tmp_path / "m.safetensors")
        parts = MLP.load(tmp_path / "m.safetensors")
    assert same(whole, parts)


def test_epochs_end_where_epochs_end() -> None:
    x, y = data()
    whole, parts = net(), net()
    quiet(whole, x, y, epochs=3)
    first = quiet(parts, x, y, steps=6)
    second = quiet(parts, x, y, epochs=2)
    assert same(whole, parts)
    assert (len(first), len(second)) == (2, 2)
    assert second.first_epoch == 1
    assert len(second.step_loss) == 6


@pytest.mark.parametrize("change", [{"batch_size": 7}, {"sampling": "sequential"}, {"n": 20}])
def test_another_pace_begins_the_epoch_anew(change: dict[str, Any]) -> None:
    x, y = data()
    n = change.pop("n", N)
    model = net()
    quiet(model, x, y, steps=3)
    history = quiet(model, x[:n], y[:n], epochs=1, **change)
    assert len(history.step_loss) == 4
    assert model.training_state is not None
    assert (model.training_state.epoch, model.training_state.position) == (1, 0)
    assert model.training_state.step == 7


def test_another_optimizer_starts_fresh_but_counts_the_epochs() -> None:
    x, y = data()
    model = net()
    quiet(model, x, y, epochs=2, optimizer=Adam(0.01))
    quiet(model, x, y, epochs=1, optimizer=Adam(0.02))
    state = model.training_state
    assert state is not None
    assert (state.step, state.epoch) == (4, 3)


def test_history_tells_the_rest_of_a_begun_epoch() -> None:
    x, y = data()
    model = net()
    quiet(model, x, y, steps=3)
    before = model.flat.copy()
    history = quiet(model, x, y, epochs=1)
    assert history["loss"] == [pytest.approx(history.step_loss[0], rel=1e-15)]
    assert len(history.step_loss) == 1
    assert not np.array_equal(before, model.flat)
