"""The learning curves: what is drawn is what the history holds."""

from __future__ import annotations

import builtins
import sys
import warnings

import matplotlib.colors
import numpy as np
import pytest

from mlpx import MLP, Dense, MLPClassifier, plots
from mlpx.errors import CheckpointError, InputError, MissingExtraError
from mlpx.training.history import History
from mlpx.training.plots import learning_curves

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
    assert tuple(loss.figure.get_size_inches()) == (10.8, 3.9)
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]


def test_a_regression_has_one_panel():
    (loss,) = learning_curves(history(columns=("loss",))).axes
    assert list(drawn(loss)) == ["training"]
    assert (*loss.figure.get_size_inches(), loss.figure.dpi) == (5.4, 3.9, 130)


def test_few_epochs_are_marked_one_by_one():
    named = {str(n): History(epochs=[{"loss": 1.0}] * n) for n in (11, 12)}
    (loss,) = learning_curves(named).axes
    assert [line.get_marker() for line in loss.lines] == ["o", ""]


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


@pytest.mark.parametrize(
    ("last", "scale"),
    [(0.5, "linear"), (2 / 30, "linear"), (0.066, "log"), (0.01, "log"), (0.0, "linear")],
)
def test_a_steep_loss_is_on_a_logarithmic_axis(last, scale):
    steep = History(epochs=[{"loss": 2.0}, {"loss": last}])
    assert learning_curves(steep).axes[0].get_yscale() == scale


def test_nothing_finite_is_still_a_picture(tmp_path):
    diverged = History(epochs=[{"loss": float("nan")}, {"loss": float("nan")}])
    learning_curves(diverged, tmp_path / "curves.png")
    learning_curves(History(), tmp_path / "none.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "none.png"]


def test_histories_without_epochs_need_no_legend():
    (axes,) = learning_curves([History(), History()]).axes
    assert axes.get_legend() is None


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
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"mlpx\[plot\]"):
        learning_curves(history())


@pytest.fixture(scope="module")
def moons():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = np.array(["below", "above"])[(x[:, 1] < x[:, 0] ** 2).astype(int)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPClassifier((16,), max_iter=60, random_state=0).fit(x, y), x, y


def test_a_fitted_estimator_stands_for_its_fit(moons):
    fitted, _, _ = moons
    loss, _ = learning_curves(fitted).axes
    assert drawn(loss)["training"][1] == fitted.history_["loss"]


def test_a_confusion_matrix_counts(moons, tmp_path):
    fitted, x, y = moons
    (axes,) = plots.confusion_matrix(fitted, x, y, path=tmp_path / "matrix.png").axes
    shown = np.array([int(text.get_text()) for text in axes.texts]).reshape(2, 2)
    found = fitted.predict(x)
    assert shown.tolist() == [[int(((y == a) & (found == b)).sum()) for b in fitted.classes_]
                              for a in fitted.classes_]  # fmt: skip
    assert {text.get_fontsize() for text in axes.texts} == {9}
    assert axes.figure.get_size_inches() == pytest.approx([4.4, 3.6])
    assert (tmp_path / "matrix.png").stat().st_size > 5000


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_long_names_of_classes_stand_upright(moons):
    _, x, y = moons
    for length, rotation in ((15, 0), (16, 90)):  # of both, 40 letters and 42
        names = np.array([name.rjust(length + 5, "_") for name in y])
        (axes,) = plots.confusion_matrix(
            MLPClassifier((2,), max_iter=1).fit(x, names), x, names
        ).axes
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}


def test_without_scikit_learn_its_displays_name_the_extra(moons, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtraError, match=r"a confusion matrix.*mlpx\[sklearn\]"):
        plots.confusion_matrix(*moons)


def test_a_calibration_curve_for_each_model(moons):
    fitted, x, y = moons
    (axes,) = plots.calibration({"one": fitted, "other": fitted}, x, y, bins=5).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["Perfectly calibrated", "one", "other"]
    one, other = (line.get_xydata() for line in axes.lines if line.get_label() in names[1:])
    assert np.array_equal(one, other)
    given = fitted.predict_proba(x)[:, 1]
    assert len(one) == len(np.unique(np.floor(5 * given))) < len(np.unique(np.floor(10 * given)))
    with pytest.raises(InputError, match="estimators is empty"):
        plots.calibration({}, x, y)


def test_units_are_drawn_as_images_largest_first():
    model = MLP([6, Dense(4), 2])
    W = model.parameters["0.W"]
    W[...] = np.outer(np.arange(6) - 2.5, [1, 3, 2, 0])
    panels = plots.first_layer(model, shape=(2, 3), units=3).axes
    images = [axes.images[0].get_array() for axes in panels if axes.images]
    assert [float(image[1, 2]) for image in images] == [7.5, 5.0, 2.5]
    assert images[0].shape == (2, 3)
    panels = plots.first_layer(model, shape=(3, 2)).axes
    assert panels[0].figure.get_size_inches() == pytest.approx([2.3, 2.3])
    limits = [axes.images[0].get_clim() for axes in panels]
    assert limits == [(-7.5, 7.5), (-5.0, 5.0), (-2.5, 2.5), (-1.0, 1.0)]
    with pytest.raises(InputError, match="6 inputs, which are no image of 2 by 2"):
        plots.first_layer(model)


def test_decision_regions_are_what_the_model_says(moons):
    fitted, x, y = moons
    (axes,) = plots.decision_regions(fitted, x, y, steps=40).axes
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["above", "below"]
    assert (legend.get_frame_on(), legend.get_frame().get_alpha()) == (True, 0.9)
    regions, above, below = axes.collections
    assert list(regions.levels) == [-0.5, 0.5, 1.5]
    wanted = [matplotlib.colors.to_rgb(colour) for colour in plots.COLOURS[:2]]
    assert [tuple(colour[:3]) for colour in regions.get_facecolor()] == wanted
    assert {colour[3] for colour in regions.get_facecolor()} == {0.25}  # points stand out
    for points, label, colour in ((above, "above", wanted[0]), (below, "below", wanted[1])):
        assert np.array_equal(points.get_offsets(), x[y == label])
        assert tuple(points.get_facecolor()[0]) == (*colour, 1.0)
    assert sum(len(points.get_offsets()) for points in axes.collections[-2:]) == len(x)
    margin = 0.08 * np.ptp(x, axis=0)
    wanted = [x.min(axis=0) - margin, x.max(axis=0) + margin]
    np.testing.assert_allclose(axes.dataLim.get_points(), wanted)
    (axes,) = plots.decision_regions(fitted, 0 * x + 1, y, steps=2).axes
    np.testing.assert_allclose(axes.dataLim.get_points(), [[0.92, 0.92], [1.08, 1.08]])
    model = MLP([2, 8, 3])
    labels = np.arange(len(x)) % 3
    assert plots.decision_regions(model, x, labels, steps=20).axes
    with pytest.raises(InputError, match=r"X\.shape = \(120, 1\)"):
        plots.decision_regions(fitted, x[:, :1], y)
