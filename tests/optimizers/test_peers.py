"""50 steps of every optimizer beside PyTorch's, or optax's where PyTorch has none."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from updates import Driver

from mlpx.optimizers import Optimizer

# One process imports the peers.
pytestmark = pytest.mark.xdist_group("peers")
STEPS = 50
SHAPE = (4, 6)
rng = np.random.default_rng(11)
START = rng.normal(size=SHAPE)
SLOPES = rng.uniform(0.5, 2, size=SHAPE)
NOISE = rng.normal(size=(STEPS, *SHAPE))

TORCH: dict[str, tuple[str, list[tuple[dict[str, Any], dict[str, Any]]]]] = {
    # name: PyTorch's class, and pairs of our options and theirs
    "sgd": ("SGD", [
        ({}, {}),
        ({"momentum": 0.9, "dampening": 0.2}, {"momentum": 0.9, "dampening": 0.2}),
        ({"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ]),
    "momentum": ("SGD", [({}, {"momentum": 0.9})]),
    "nesterov": ("SGD", [({}, {"momentum": 0.9, "nesterov": True})]),
    "adagrad": ("Adagrad", [({}, {})]),
    "rmsprop": ("RMSprop", [
        ({}, {}),
        ({"centered": True, "momentum": 0.5}, {"centered": True, "momentum": 0.5}),
    ]),
    "adadelta": ("Adadelta", [({}, {})]),
    "adam": ("Adam", [({}, {}), ({"beta1": 0.8, "beta2": 0.95}, {"betas": (0.8, 0.95)})]),
    "amsgrad": ("Adam", [({"beta2": 0.9}, {"amsgrad": True, "betas": (0.9, 0.9)})]),
    "adamw": ("AdamW", [({}, {})]),
    "nadam": ("NAdam", [({}, {})]),
    "radam": ("RAdam", [({}, {})]),
    "adamax": ("Adamax", [({}, {})]),
}  # fmt: skip
PAIRS = [
    pytest.param(name, ours, theirs, id=f"{name}-{i}")
    for name, (_, pairs) in TORCH.items()
    for i, (ours, theirs) in enumerate(pairs)
]
OPTAX = ["lion", "lamb", "muon"]
NO_PEER = ["lbfgs", "adam_hat"]  # SciPy's; scikit-learn's, by the estimators' tests


def ours(name: str, rate: float, dtype: str = "float64", **options: Any) -> np.ndarray:
    driver = Driver(Optimizer.table[name](rate, **options), {"0.W": START}, dtype=dtype)
    return driver.run(lambda W, k: SLOPES * W + NOISE[k], STEPS)


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    reason = "PyTorch is not installed: pip install 'mlpx[peers]'"
    return pytest.importorskip("torch", reason=reason)


@pytest.fixture(scope="module")
def optax() -> ModuleType:
    return pytest.importorskip("optax", reason="optax is not installed: pip install 'mlpx[peers]'")


def test_every_optimizer_has_a_peer() -> None:
    assert set(Optimizer.table) == {*TORCH, *OPTAX, *NO_PEER}


def torch_run(
    torch: ModuleType, name: str, rate: float, decay: float, options: dict[str, Any]
) -> np.ndarray:
    W = torch.tensor(START, requires_grad=True)
    made = getattr(torch.optim, TORCH[name][0])([W], lr=rate, weight_decay=decay, **options)
    for k in range(STEPS):
        W.grad = torch.tensor(SLOPES) * W.detach() + torch.tensor(NOISE[k])
        made.step()
    return W.detach().numpy()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("name", "options", "theirs"), PAIRS)
def test_torch(
    torch: ModuleType, name: str, options: dict[str, Any], theirs: dict[str, Any], decay: float
) -> None:
    rate = 1.0 if name == "adadelta" else 0.03
    found = ours(name, rate, weight_decay=decay, **options)
    # PyTorch's Adamax adds its epsilon of 1e-8 elsewhere, and its NAdam keeps a product in float32;
    # the others differ by roundings.
    bound = 1e-7 if name in ("adamax", "nadam") else 1e-12
    wanted = torch_run(torch, name, rate, decay, theirs)
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", sorted(set(TORCH) - {"momentum", "nesterov"}))
def test_defaults_are_torchs(torch: ModuleType, name: str) -> None:
    made = getattr(torch.optim, TORCH[name][0])([torch.zeros(1)])
    mine = Optimizer.table[name]()
    theirs = dict(made.defaults)
    if name != "sgd":  # PyTorch: 1e-3
        assert mine.learning_rate == theirs["lr"]
    assert mine.weight_decay == theirs["weight_decay"]
    if hasattr(mine, "epsilon"):
        assert mine.epsilon == theirs["eps"]
    if hasattr(mine, "beta1"):
        assert (mine.beta1, mine.beta2) == theirs["betas"]
    if hasattr(mine, "rho"):
        assert mine.rho == theirs["alpha" if name == "rmsprop" else "rho"]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTAX)
def test_optax(optax: ModuleType, name: str, decay: float) -> None:
    import jax

    options = {"weight_decay": decay}
    with jax.enable_x64(True):
        if name == "muon":
            # Without Nesterov's mixture, in which optax corrects each part for another bias.
            options["nesterov"] = False
            made = optax.contrib.muon(0.03, weight_decay=decay, eps=1e-7, nesterov=False)
        elif name == "lion":
            made = optax.lion(0.03, weight_decay=decay)
        else:
            made = optax.lamb(0.03, weight_decay=decay)
        W = jax.numpy.asarray(START)
        state = made.init(W)
        update = jax.jit(made.update)  # else muon's loop is compiled anew at every step
        for k in range(STEPS):
            step, state = update(SLOPES * W + NOISE[k], state, W)
            W = optax.apply_updates(W, step)
        wanted = np.asarray(W)
    bound = 1e-6 if name == "muon" else 1e-12
    np.testing.assert_allclose(ours(name, 0.03, **options), wanted, rtol=bound, atol=bound)


def test_muon_beside_torch_in_bfloat16(torch: ModuleType) -> None:
    """PyTorch orthogonalises in bfloat16, of 8 bits: one step agrees to a few of its roundings."""
    W = torch.zeros(6, 4, dtype=torch.float64, requires_grad=True)  # PyTorch's is (d_out, d_in)
    made = torch.optim.Muon([W], lr=1.0, weight_decay=0.0)
    W.grad = torch.tensor(NOISE[0].T.copy())
    made.step()
    driver = Driver(Optimizer.table["muon"](1.0), {"0.W": np.zeros(SHAPE)})
    driver.step(W0=NOISE[0])
    np.testing.assert_allclose(driver.arrays["0.W"].T, W.detach().numpy(), atol=0.05)
