"""Checkpoints made to harm: what a run would go on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hostile.formats import FORMATS, describing, parted
from safetensors.numpy import load as tensors_of

from mlpx.errors import CheckpointError, InputError
from mlpx.estimators.bookkeeper import check_classes, split_state
from mlpx.network.saved import Saved
from mlpx.network.state import TrainingState
from mlpx.optimizers import Adam

Answer = Callable[[str, bytes], str]


@cache
def _parts() -> tuple[str, Callable[[bytes], bytes]]:
    """The text that describes the checkpoint of a run within an epoch, and what seals it."""
    for file in FORMATS["checkpoint"].envelopes[0].seeds:
        outer, data = parted(file)
        header = json.loads(outer)
        text = header["__metadata__"]["mlpx"]
        described = json.loads(text)
        if described["training"]["position"] > described["beside"]["run"]["reported"]:
            return text, describing(header, data, tensors_of(file))
    raise AssertionError("none is within an epoch")


def _changed(*keys: Any, value: Any) -> bytes:
    text, seal = _parts()
    described = json.loads(text)
    holder = described
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    return seal(json.dumps(described).encode())


RUN = ("beside", "run")
WRONG: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "no run": (("beside",), {}, "is a model, not the checkpoint of a run"),
    "no object": (("beside",), [1], "is a model, not the checkpoint of a run"),
    "seed": (("model", "seed"), "\x1b[2J", "describes a model that cannot be built: seed = "),
    "steps": ((*RUN, "steps_done"), -1, "no run that can go on: steps_done = -1"),
    "many steps": ((*RUN, "steps_done"), 2**60, "no run that can go on: steps_done = 115"),
    "infinite steps": ((*RUN, "total_steps"), float("inf"), "total_steps = inf"),
    "reported": ((*RUN, "reported"), 5, "has reported steps that it has not done"),
    "begun": ((*RUN, "begun"), [0], "no run that can go on: "),
    "begun with": ((*RUN, "begun"), [0, -1], "step = -1; it must be at least 0"),
    "stopping": ((*RUN, "stopping"), [1], "stopping = [1]"),
    "losses": ((*RUN, "step_loss"), [1.0], "step_loss = [1.0]"),
    "losses of weights": ((*RUN, "step_loss"), {"array": "0.W"}, "can go on: step_loss"),
    "log": ((*RUN, "log"), {"array": "beside/1"}, "has not the log of the steps of its epoch"),
    "norms": ((*RUN, "norms"), None, "has not the norms of the steps of its epoch"),
    "no such array": ((*RUN, "log"), {"array": "beside/x"}, "entries beside the model that cannot"),
    "array of the model": ((*RUN, "log"), {"array": "0.W"}, "no run that can go on: log = "),
    "array in a list": ((*RUN, "log"), {"array": []}, "no run that can go on: log = "),
    "history": ((*RUN, "history"), {}, "no run that can go on"),
    "epochs": ((*RUN, "history", "epochs"), {"names": ["a"], "values": 1}, "no run that can go on"),
    "callbacks": ((*RUN, "callbacks"), [1], "no run that can go on"),
    "settings": ((*RUN, "settings"), [], "settings = []"),
    "array of settings": ((*RUN, "settings", "columns"), {"array": "beside/0"}, "can go on: "),
    "data": ((*RUN, "data"), {"x": [1]}, "no run that can go on"),
    "shape": ((*RUN, "data", "x", 0), "x", "no run that can go on: data ="),
    "waited": ((*RUN, "callbacks", 0, 1, "waited"), "x", "a state of EarlyStopping that it cannot"),
    "best": ((*RUN, "callbacks", 1, 1, "best"), [], "a state of BestWeights that it cannot"),
    "no best": ((*RUN, "callbacks", 1, 1), {}, "a state of BestWeights that it cannot"),
    "best weights": (
        (*RUN, "callbacks", 1, 1, "best_flat"),
        {"array": "0.W"},
        "the parameters of its best epoch are not those of its model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_run_does_not_go_on(case: str, answer: Answer) -> None:
    keys, value, told = WRONG[case]
    assert told in answer("checkpoint", _changed(*keys, value=value))


@pytest.mark.parametrize("position", [10**9, -1, 0.5, None])
def test_the_draws_that_split_off_the_validation_data(position: Any) -> None:
    """NumPy's generator reads outside of its memory at a position beyond its state."""
    entries: dict[str, Any] = {"reported_steps": 0, "reported_epochs": 0,
        "divergence": {"restores": 0, "told": False, "good": None}, "reported": 0,
        "steps_done": 0, "samples_done": 0, "total_steps": 1,
        "epochs": None, "steps": None, "begun": [0, 0], "stopping": None, "settings": {},
        "step_loss": np.zeros(0), "log": np.zeros((0, 2)), "norms": None, "loop": None,
        "gradient_norms": {}, "data": None, "validation_data": None,
        "history": {"engine": "", "engine_reason": "", "device": "", "stop_reason": "", "notes": [],
                    "first_epoch": 0, "seconds": 0.0, "samples": 0, "epochs": []}}  # fmt: skip
    split = {"kind": "MT19937", "words": np.zeros(624), "position": position, "rest": [0, 0.0]}

    def saved(split: Any, **more: Any) -> Saved:
        run = entries | {"callbacks": [["Bookkeeper", {"split": split, **more}]]}
        return Saved(None, {}, {}, TrainingState(Adam(), {}), {}, {"run": run})  # type: ignore[arg-type]

    with pytest.raises((CheckpointError, InputError)):
        split_state(saved(split))
    assert split_state(saved(None)) is None
    assert split_state(saved(split | {"position": 624}))[2:] == (624, 0, 0.0)
    for classes in (np.zeros(2), [np.zeros(2), 1], "\x1b[2J", {}, None, [0, "x" * 10**6]):
        with pytest.raises(InputError) as caught:
            check_classes(saved(None, classes=classes), SimpleNamespace(classes_=np.arange(2)))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2000
