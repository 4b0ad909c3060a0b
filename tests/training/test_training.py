"""Training agrees with plain loops, repeats bit for bit, and detects divergence."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from reference.training import Net, train
from small_training import D, K, N, data, net, quiet, same

from mlpx import MLP, Dense
from mlpx.training.sampling import SAMPLINGS, hold_out

BOUND = 1e-11  # float64: a few dozen steps of sums over fewer than 30 numbers


def loops(model: MLP) -> Net:
    views = {name: np.array(value).tolist() for name, value in model.parameters.items()}
    depth = len(model.layers)
    return Net(
        [views[f"{i}.W"] for i in range(depth)],
        [views[f"{i}.b"] for i in range(depth)],
        [layer.activation.name for layer in model.layers],  # type: ignore[attr-defined]
        model.loss.name,
    )


def orders(model: MLP, sampling: str, epochs: int, rows: int) -> list[np.ndarray]:
    return [SAMPLINGS[sampling](model.seed, epoch, N, rows) for epoch in range(epochs)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sampling", sorted(SAMPLINGS))
@pytest.mark.parametrize("batch_size", [1, 6, 22, N])
def test_classes_as_in_the_loops(batch_size: int, sampling: str, weighted: bool) -> None:
    """In batches of 6, 23 rows leave 5, in batches of 22 they leave 1; weighted by their number."""
    x, y = data()
    w = np.random.default_rng(2).uniform(0.1, 3, size=N) if weighted else np.ones(N)
    model = net()
    truth = loops(model)
    rows = [(list(a), int(b), float(c)) for a, b, c in zip(x, y, w, strict=True)]
    whole = N - N % batch_size
    per_epoch = {
        "whole_batches": whole,
        "with_replacement": N if whole == N else whole + batch_size,
    }.get(sampling, N)
    steps, epochs = train(
        truth, rows, orders(model, sampling, 3, per_epoch), batch_size=batch_size, learning_rate=0.3
    )
    history = quiet(
        model, x, y, epochs=3, batch_size=batch_size, sampling=sampling, learning_rate=0.3,
        sample_weight=w if weighted else None,
    )  # fmt: skip
    np.testing.assert_allclose(history.step_loss, steps, rtol=BOUND)
    np.testing.assert_allclose(history["loss"], epochs, rtol=BOUND)
    for i in range(3):
        np.testing.assert_allclose(model.parameters[f"{i}.W"], truth.weights[i], rtol=BOUND)
        np.testing.assert_allclose(model.parameters[f"{i}.b"], truth.biases[i], rtol=BOUND)


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 2)])
def test_values_as_in_the_loops(shape: tuple[int, ...]) -> None:
    x, _ = data()
    y = np.random.default_rng(4).normal(size=shape)
    k = y.size // N
    model = MLP([D, Dense(5, "relu"), k], loss="mean_squared_error", dtype="float64")
    truth = loops(model)
    rows = [(list(a), list(b), 1.0) for a, b in zip(x, y.reshape(N, k), strict=True)]
    steps, epochs = train(
        truth, rows, orders(model, "shuffle", 2, N), batch_size=6, learning_rate=0.05
    )
    history = quiet(model, x, y, epochs=2, learning_rate=0.05)
    np.testing.assert_allclose(history.step_loss, steps, rtol=BOUND)
    np.testing.assert_allclose(history["loss"], epochs, rtol=BOUND)
    assert "accuracy" not in history


def test_a_column_and_a_vector_of_targets_mean_the_same() -> None:
    """(n,) against (n, 1) would broadcast to (n, n) in plain NumPy."""
    x, _ = data()
    y = np.random.default_rng(4).normal(size=N)
    flat, column = (MLP([D, 5, 1], loss="mean_squared_error") for _ in range(2))
    a = quiet(flat, x, y, validation_data=(x, y[:, None]), epochs=2)
    b = quiet(column, x, y[:, None], validation_data=(x, y), epochs=2)
    assert same(flat, column)
    assert a.epochs == b.epochs
    z = flat.predict(x)[:, 0]
    found = flat.evaluate(x, y)
    assert found == flat.evaluate(x, y[:, None])
    np.testing.assert_allclose(found["loss"], np.mean((z - y) ** 2), rtol=1e-5)


def test_accuracy_of_an_epoch_counts_every_row() -> None:
    x, y = data()
    model = net()
    history = quiet(model, x, y, epochs=1, batch_size=6, learning_rate=0.0)
    assert history["accuracy"] == [pytest.approx(np.mean(model.predict(x) == y), rel=1e-12)]
    w = np.arange(1.0, N + 1)
    history = quiet(model, x, y, epochs=1, learning_rate=0.0, sample_weight=w)
    hits = model.predict(x) == y
    assert history["accuracy"] == [pytest.approx(hits @ w / w.sum(), rel=1e-12)]


def test_labels_one_hot_and_soft_targets_agree() -> None:
    x, y = data()
    models = [net() for _ in range(3)]
    for model, targets in zip(models, (y, np.eye(K)[y], np.eye(K, dtype=bool)[y]), strict=True):
        quiet(model, x, targets, epochs=2)
    assert same(models[0], models[1])
    assert same(models[0], models[2])


def test_weights_count_as_repetitions() -> None:
    x, y = data()
    twice = np.repeat(np.arange(N), np.where(np.arange(N) < 7, 2, 1))
    weighted, repeated = net(), net()
    w = np.where(np.arange(N) < 7, 2.0, 1.0)
    quiet(weighted, x, y, epochs=3, batch_size=N, sample_weight=w)
    quiet(repeated, x[twice], y[twice], epochs=3, batch_size=len(twice))
    np.testing.assert_allclose(weighted.flat, repeated.flat, rtol=BOUND, atol=1e-15)


def test_a_batch_whose_weights_are_all_zero_changes_nothing() -> None:
    x, y = data()
    w = np.ones(N)
    w[:6] = 0
    model, other = net(), net()
    history = quiet(model, x, y, epochs=1, sampling="sequential", sample_weight=w)
    quiet(other, x[6:], y[6:], epochs=1, sampling="sequential")
    assert history.step_loss[0] == 0
    assert model.flat.tobytes() == other.flat.tobytes()


def test_two_models_in_two_threads_are_as_alone() -> None:
    x, y = data()
    alone = [net(seed=seed) for seed in (1, 2)]
    for model in alone:
        quiet(model, x, y, epochs=40, optimizer="adam")
    together = [net(seed=seed) for seed in (1, 2)]
    threads = [
        threading.Thread(target=quiet, args=(m, x, y), kwargs={"epochs": 40, "optimizer": "adam"})
        for m in together
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    x, y = data()
    models = [net(seed=seed) for seed in (5, 5, 6)]
    for model in models:
        quiet(model, x, y, epochs=2)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_split_is_the_validation_data_it_draws(device: str, fake_cupy: Any) -> None:
    """With row weights, without class weights; another call holds out the same rows."""
    x, y = data()
    w = np.random.default_rng(2).uniform(0.1, 3, size=N)
    one, other = net(device=device), net(device=device)
    kept, held = hold_out(3, N, 7)
    options = {"epochs": 2, "class_weight": "balanced"}
    given = fake_cupy.asarray(x) if device == "cuda" else x.tolist()
    for _ in range(2):
        a = quiet(one, given, y, sample_weight=list(w), validation_split=0.3, **options)
        b = quiet(
            other, x[kept], y[kept], sample_weight=w[kept],
            validation_data=(x[held], y[held], w[held]), **options,
        )  # fmt: skip
        assert same(one, other)
        assert a.epochs == b.epochs
        assert "val_accuracy" in a
    assert "val_loss" not in quiet(one, x, y, epochs=1, validation_split=0.0)


def test_shuffle_is_another_word_for_sampling() -> None:
    x, y = data()
    for shuffle, sampling in ((True, "shuffle"), (False, "sequential"), (None, None)):
        one, other = net(), net()
        quiet(one, x, y, epochs=2, shuffle=shuffle)
        quiet(other, x, y, epochs=2, sampling=sampling)
        assert same(one, other)


class TestDivergence:
    def test_is_seen_said_and_stops(self) -> None:
        x, y = np.random.default_rng(0).normal(size=(N, D)), np.arange(N, dtype=float)
        model = MLP([D, 5, 1], loss="mean_squared_error")
        words = r"diverged: the loss is (nan|inf) at step \d+"
        with pytest.warns(RuntimeWarning, match=words) as said:
            history = model.fit(
                x, y, learning_rate=1e6, optimizer="sgd", epochs=50, batch_size=6, verbose=0
            )
        assert said[0].filename == __file__
        assert history.stop_reason.startswith("diverged")
        assert len(history) < 50
        first = int(np.flatnonzero(~np.isfinite(history.step_loss))[0])
        assert f"at step {first + 1} (epoch " in history.stop_reason

    def test_step_is_counted_over_the_models_life(self) -> None:
        x, y = np.random.default_rng(0).normal(size=(N, D)), np.arange(N, dtype=float)
        model = MLP([D, 5, 1], loss="mean_squared_error")
        quiet(model, x, y, learning_rate=1e6, steps=1)
        with pytest.warns(RuntimeWarning, match="diverged"):
            history = quiet(model, x, y, learning_rate=1e6, epochs=50)
        first = int(np.flatnonzero(~np.isfinite(history.step_loss))[0])
        assert f"at step {1 + first + 1} (epoch " in history.stop_reason
