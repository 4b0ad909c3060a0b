"""The learning curves: what is drawn is what the history holds."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest

from mlpx.errors import CheckpointError, InputError, MissingExtraError
from mlpx.history import History
from mlpx.plots import learning_curves

LOSS, VAL_LOSS = [2.0, 1.0, 0.5], [2.1, 1.4, 1.3]
ACCURACY, VAL_ACCURACY = [0.25, 0.5, 0.75], [0.2, 0.4, 0.6]


def history(*, columns=("loss", "accuracy", "val_loss", "val_accuracy"), first_epoch=0):
    values = dict(zip(("loss", "val_loss", "accuracy", "val_accuracy"),
                      (LOSS, VAL_LOSS, ACCURACY, VAL_ACCURACY), strict=True))  # fmt: skip
    epochs = [{name: values[name][i] for name in columns} for i in range(3)]
    return History(epochs=epochs, first_epoch=first_epoch, step_loss=np.array([3.0, 2.0, 1.0, 0.5]))


def drawn(axes):
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    }


def test_a_panel_each_for_loss_and_accuracy_with_both_parts():
    loss, accuracy = learning_curves(history(first_epoch=10)).axes
    assert drawn(loss) == {"training": ([11, 12, 13], LOSS), "validation": ([11, 12, 13], VAL_LOSS)}
    assert drawn(accuracy) == {
        "training": ([11, 12, 13], [25.0, 50.0, 75.0]),
        "validation": ([11, 12, 13], pytest.approx([20.0, 40.0, 60.0])),
    }
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy (%)")
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]


def test_a_regression_has_one_panel():
    (loss,) = learning_curves(history(columns=("loss",))).axes
    assert list(drawn(loss)) == ["training"]


def test_several_histories_share_the_panels_each_in_its_colour():
    loss, _ = learning_curves({"adam": history(), "sgd": history()}).axes
    assert list(drawn(loss)) == [
        "adam: training",
        "adam: validation",
        "sgd: training",
        "sgd: validation",
    ]
    colours = [line.get_color() for line in loss.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", "-", "--"]


def test_a_list_of_histories_is_numbered():
    loss, _ = learning_curves([history(), history()]).axes
    assert next(iter(drawn(loss))) == "run 1: training"


def test_less_than_two_epochs_shows_the_steps():
    short = History(epochs=[{"loss": 1.0}], step_loss=np.array([3.0, 2.0, 1.0, 0.5]), first_epoch=2)
    (loss,) = learning_curves(short).axes
    assert drawn(loss) == {"training, each step": ([1, 2, 3, 4], [3.0, 2.0, 1.0, 0.5])}
    assert loss.get_xlabel() == "step"


@pytest.mark.parametrize(("last", "scale"), [(0.5, "linear"), (0.01, "log"), (0.0, "linear")])
def test_a_steep_loss_is_on_a_logarithmic_axis(last, scale):
    steep = History(epochs=[{"loss": 2.0}, {"loss": last}])
    assert learning_curves(steep).axes[0].get_yscale() == scale


def test_nothing_finite_is_still_a_picture(tmp_path):
    diverged = History(epochs=[{"loss": float("nan")}, {"loss": float("nan")}])
    learning_curves(diverged, tmp_path / "curves.png")
    learning_curves(History(), tmp_path / "none.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "none.png"]


def test_the_file_is_a_png_and_the_only_one(tmp_path):
    learning_curves(history(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_no_global_state_is_touched(tmp_path):
    before = sys.modules.pop("matplotlib.pyplot", None)
    try:
        learning_curves(history(), tmp_path / "curves.png")
        assert "matplotlib.pyplot" not in sys.modules
    finally:
        if before is not None:
            sys.modules["matplotlib.pyplot"] = before


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot write .*absent.curves\.png"):
        learning_curves(history(), tmp_path / "absent" / "curves.png")


def test_no_history_is_refused():
    with pytest.raises(InputError, match="at least one"):
        learning_curves([])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"mlpx\[plot\]"):
        learning_curves(history())
