"""The CUDA engine beside the interpreter on the GPU and on the CPU, step by step; its graphs beside
its launches; and the same bits twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from gpu.data import forced, images, network
from gpu.section import Row, Setup
from mlpx.engines.cuda import replayer
from mlpx.types import Array

STEPS, QUICK_STEPS = 200, 5
BOUND = {"float64": 1e-11, "float32": 1e-4, "tf32": 1e-2, "bf16": 8e-2, "fp16": 1e-2}
"""Largest difference of a step's loss, relative to the first loss, which the steps amplify: twenty
roundings of a factor where factors are rounded; else a hundred times and more what 60 steps on an
H200 differed by.
"""


class Net(NamedTuple):
    """What is trained."""

    name: str
    hidden: tuple[Any, ...]
    activation: str = "relu"
    dtype: str = "float32"
    precision: str = "float32"
    optimizer: str = "sgd"
    batch_size: int = 100


NETS = (
    Net("sigmoid 50", (50,), "sigmoid", "float64"),
    Net("sigmoid 50", (50,), "sigmoid"),
    Net("relu 50", (50,)),
    Net("relu 64", (64, 64)),
    Net("relu 64", (64, 64), dtype="float64"),
    Net("relu 512", (512, 512), optimizer="adam", batch_size=128),
    Net("relu 512", (512, 512), optimizer="adam", batch_size=128, precision="tf32"),
    Net("relu 512", (512, 512), optimizer="adam", batch_size=128, precision="bf16"),
    Net("relu 512", (512, 512), optimizer="adam", batch_size=128, precision="fp16"),
    Net("gelu_tanh 50", (50,), "gelu_tanh"),
    Net("gelu_tanh 64", (64, 64), "gelu_tanh"),
    Net("dropout", (64, "dropout"), "relu"),
    Net("batch norm", (64, "batch_norm"), "relu"),
    Net("layer norm", (64, "layer_norm"), "relu"),
)
ROWS = 2050
"""Of the data: a ragged last batch for 100 and for 128."""


def run(setup: Setup) -> Iterator[Row]:
    for net in NETS[1:3] if setup.quick else NETS:
        try:
            yield compare(net, setup)
        except Exception as error:
            yield described(net) | {"passed": False, "why": f"{type(error).__name__}: {error}"}


def described(net: Net) -> Row:
    names = ("name", "dtype", "precision", "optimizer", "batch_size")
    return {name: getattr(net, name) for name in names}


def compare(net: Net, setup: Setup) -> Row:
    """One net on the CPU, by the interpreter on the GPU, by graphs twice, and by launches."""
    row, device = described(net), setup.device
    reference, _, _ = train(net, "cpu", "interpreter", setup)
    plain, _, _ = train(net, device, "interpreter", setup)
    first, bits, row["forced"] = train(net, device, "cuda", setup)
    _, again, _ = train(net, device, "cuda", setup)
    launched, without_graphs, _ = train(net, device, "cuda", setup, graphs=False)
    row["differences"] = {
        "cuda": apart(first, reference),
        "interpreter on the GPU": apart(plain, reference),
    }
    row["same_bits_twice"] = bits == again
    row["same_bits_launched"] = bits == without_graphs and bool((first == launched).all())
    row["bound"] = BOUND[net.precision if net.precision != "float32" else net.dtype]
    wrong = [row["forced"].get("why", "another engine")] * (not row["forced"]["passed"])
    wrong += ["losses are apart"] * (not row["differences"]["cuda"] < row["bound"])
    wrong += ["other bits the second time"] * (not row["same_bits_twice"])
    wrong += ["other bits without graphs"] * (not row["same_bits_launched"])
    return (
        row | {"passed": not wrong} | ({"why": f"{net.name}: {'; '.join(wrong)}"} if wrong else {})
    )


def train(
    net: Net, device: str, engine: str, setup: Setup, *, graphs: bool = True
) -> tuple[Array, bytes, Row]:
    """The loss of each step, the parameters' bits, and whether it was the engine asked for."""
    x, y = images(50 if setup.quick else ROWS)
    model = network(net.hidden, net.activation, device, net.dtype)
    refusing = patch.object(replayer, "capture", side_effect=RuntimeError("none wanted"))
    with nullcontext() if graphs else refusing:
        history = model.fit(
            x, y, steps=QUICK_STEPS if setup.quick else STEPS,
            batch_size=20 if setup.quick else net.batch_size,
            optimizer=net.optimizer, engine=engine, verbose=0,
            precision=net.precision if engine == "cuda" else "float32",
        )  # fmt: skip
    return np.array(history.step_loss), model.backend.to_numpy(model.flat).tobytes(), forced(model)


def apart(losses: Array, reference: Array) -> float:
    return float(np.max(np.abs(losses - reference)) / reference[0])
