"""Tables become matrices: of the training rows everything is learnt, later rows are only read."""

from __future__ import annotations

import copy
import datetime
import json
import pickle
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpx.errors import CheckpointError, InputError, InputTypeError, MlpxError
from mlpx.tables import encoder as encoding
from mlpx.tables.encoder import SCALINGS, Encoder
from mlpx.tables.reading import read_table
from mlpx.tables.table import as_table

N = 40
LETTERS = list("abcdefghijklm")


def table(n: int = N, seed: int = 0) -> pa.Table:
    """A column of each kind, some with missing values, and two that say nothing."""
    draw = np.random.default_rng(seed)
    columns = {
        "wage": np.where(draw.random(n) < 0.1, np.nan, draw.lognormal(size=n)),
        "age": draw.integers(18, 70, n),
        "city": draw.choice(LETTERS, n),
        "sex": draw.choice(["m", "f"], n),
        "level": draw.choice(["low", "mid", "high", None], n),
        "paid": draw.random(n) < 0.5,
        "since": np.datetime64("2020-01-01") + draw.integers(0, 999, n).astype("m8[D]"),
        "same": np.full(n, 7),
        "none": [None] * n,
    }
    return as_table(pd.DataFrame(columns))


TABLE = table()


@pytest.fixture(scope="module")
def fitted() -> Encoder:
    return Encoder.fit(TABLE)


def test_the_matrix_has_measures_then_flags_then_codes(fitted):
    x = fitted.encode(TABLE)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.shape == (N, fitted.width) == (N, len(fitted.output_names))
    assert fitted.output_names[: fitted.continuous] == (
        "wage", "age", "since year", "since month", "since day", "since weekday",
        "since days since 1970",
    )  # fmt: skip
    assert fitted.output_names[fitted.continuous : fitted.numbers] == (
        "wage is missing", "sex", "level = high", "level = low", "level = mid", "paid",
    )  # fmt: skip
    assert fitted.output_names[fitted.numbers :] == ("city",)
    assert fitted.sizes == (len(set(TABLE["city"].to_pylist())) + 1,)
    codes = x[:, -1]
    assert (codes == np.round(codes)).all()
    assert codes.min() == 1
    assert codes.max() == fitted.sizes[0] - 1
    assert np.abs(x[:, : fitted.numbers]).max() <= 3.0


def test_the_columns_that_say_nothing_are_told(fitted):
    assert [(each.name, each.kind) for each in fitted.dropped] == [
        ("same", "constant"),
        ("none", "empty"),
    ]
    assert fitted.notes == (
        "column 'same' is not used: it is 7 in every row",
        "column 'none' is not used: it has no values",
    )
    told = fitted.report()
    assert [name for name, _, _ in told] == TABLE.column_names
    assert told[0][1:] == ("number", told[0][2])
    assert told[0][2].startswith("median ")
    assert told[0][2].endswith("; scaled by its quartiles")
    assert told[-1] == ("none", "empty", "not used: it has no values")


def test_each_column_has_its_places(fitted):
    x = fitted.encode(TABLE)
    places = sorted(place for each in fitted.places.values() for place in each)
    assert places == list(range(fitted.width))
    other = table(seed=1)
    for name, at in fitted.places.items():
        changed = TABLE.set_column(TABLE.column_names.index(name), name, other[name])
        moved = np.flatnonzero((fitted.encode(changed) != x).any(0)).tolist()
        assert set(moved) <= set(at)
        assert moved


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_and_what_it_leaves_alone(scaling):
    made = Encoder.fit(TABLE, scaling=scaling)
    x = made.encode(TABLE)
    flags = x[:, made.continuous : made.numbers]
    assert np.isfinite(x).all()
    assert made.scaling == scaling
    assert set(np.unique(flags)) <= {-1.0, 0.0, 1.0} if scaling != "robust" else flags.max() > 1.0
    if scaling == "standard":
        assert np.abs(x[:, : made.continuous].mean(0)).max() < 1e-6
    assert Encoder.from_config(json.loads(json.dumps(made.config()))) == made


def test_only_the_training_rows_count():
    small = Encoder.fit(TABLE.slice(0, 20))
    before = small.encode(TABLE)
    assert small.config() == Encoder.fit(TABLE.slice(0, 20)).config()
    assert (small.encode(TABLE) == before).all()
    assert small.config() != Encoder.fit(TABLE).config()


@given(st.permutations(range(N)))
@settings(max_examples=20)
def test_rows_in_another_order_are_the_rows_in_that_order(fitted, order):
    assert (fitted.encode(TABLE.take(pa.array(order))) == fitted.encode(TABLE)[order]).all()


@given(st.integers(0, N), st.integers(0, N))
@settings(max_examples=20)
def test_a_slice_of_rows_is_the_slice_of_the_whole(fitted, start, count):
    part = TABLE.slice(start, count)
    assert np.array_equal(fitted.encode(part), fitted.encode(TABLE)[start : start + count])


@given(st.permutations(TABLE.column_names))
@settings(max_examples=20)
def test_columns_in_another_order_are_the_same(fitted, names):
    assert (fitted.encode(TABLE.select(names)) == fitted.encode(TABLE)).all()


@given(st.integers(0, 2**32), st.sampled_from(sorted(SCALINGS)))
@settings(max_examples=20)
def test_settings_go_through_json_to_the_bit(seed, scaling):
    rows = table(seed=seed)
    made = Encoder.fit(rows, scaling=scaling)
    again = Encoder.from_config(json.loads(json.dumps(made.config(), allow_nan=False)))
    assert again == made
    assert again.encode(rows).tobytes() == made.encode(rows).tobytes()
    assert pickle.loads(pickle.dumps(made)) == made


@given(st.integers(1, 17))
@settings(max_examples=10)
def test_the_size_of_a_block_changes_nothing(fitted, block_rows):
    whole = fitted.encode(TABLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BLOCK_ROWS", block_rows)
        assert (fitted.encode(TABLE) == whole).all()
        bad = TABLE.set_column(1, "age", pa.array([*["30"] * (N - 1), "old"]))
        with pytest.raises(InputError, match=rf"column 'age' has 'old' in row {N - 1}"):
            fitted.encode(bad)


def test_the_same_values_from_any_kind_of_table(fitted):
    frame = TABLE.to_pandas()
    expected = fitted.encode(TABLE)
    for given_ in (
        frame,
        frame.astype({"city": "category", "level": "category"}),
        TABLE.to_pydict(),
    ):
        assert (fitted.encode(as_table(given_)) == expected).all()
    chunks = pa.concat_tables([TABLE.slice(0, 7), TABLE.slice(7, 1), TABLE.slice(8)])
    assert (fitted.encode(chunks) == expected).all()


def test_texts_of_a_file_are_what_they_say(fitted):
    texts = TABLE.cast(
        pa.schema(
            [(name, pa.null() if name == "none" else pa.string()) for name in TABLE.schema.names]
        )
    )
    assert (fitted.encode(texts) == fitted.encode(TABLE)).all()


def test_no_rows_make_an_empty_matrix(fitted):
    assert fitted.encode(TABLE.slice(0, 0)).shape == (0, fitted.width)


def test_categories_never_seen_are_unknown(fitted):
    new = TABLE.set_column(2, "city", pa.array(["elsewhere"] * N))
    new = new.set_column(3, "sex", pa.array(["x"] * N))
    raw = Encoder.fit(TABLE, scaling="standard").encode(new)
    assert (raw[:, -1] == 0).all()
    assert (raw[:, fitted.output_names.index("sex")] == 0).all()


def test_a_column_that_is_missing_is_named(fitted):
    with pytest.raises(InputError, match=r"the table has no column 'wage'; did you mean 'wages'"):
        fitted.encode(TABLE.rename_columns({"wage": "wages"}))
    fitted.encode(TABLE.drop(["same", "none"]))


def test_a_column_only_at_prediction_is_ignored_and_can_be_told(fitted):
    more = TABLE.append_column("new", pa.array(np.arange(N)))
    assert (fitted.encode(more) == fitted.encode(TABLE)).all()
    assert fitted.extra(more) == ("new",)
    assert fitted.extra(TABLE) == ()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("wage", ["1.5", "much"], "column 'wage' has 'much' in row 1"),
        ("wage", [1.5, float("inf")], "column 'wage' has an infinite number in row 1"),
        ("wage", [datetime.date(2020, 1, 1)] * 2, "column 'wage' is of type"),
        ("since", [1, 2], "column 'since' is of type int64; wanted dates"),
        ("since", ["2020-01-01", "soon"], "column 'since' has 'soon' in row 1"),
        ("paid", ["true", "maybe"], "column 'paid' has 'maybe' in row 1"),
        ("paid", [0, 3], "column 'paid' has 3 in row 1"),
        ("city", [[1], [2]], "column 'city' is of type list"),
    ],
)
def test_a_column_that_changed_its_type_is_named_with_its_row(fitted, name, values, said):
    two = TABLE.slice(0, 2)
    changed = two.set_column(two.column_names.index(name), name, pa.array(values))
    with pytest.raises(InputError, match=said):
        fitted.encode(changed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drop": ["wages"]}, "no column 'wages'; did you mean 'wage'"),
        ({"kinds": {"wages": "number"}}, "no column 'wages'"),
        ({"kinds": {"wage": "text"}}, "the kind of column 'wage' = 'text'; it must be one of"),
        ({"kinds": "category"}, "kinds = 'category'; it must be a dict"),
        ({"scaling": "minmax"}, "scaling = 'minmax'; it must be one of"),
        ({"drop": TABLE.column_names}, "no column is left to learn from$"),
        ({"drop": TABLE.column_names[:-2]}, "no column is left to learn from: 'same': it is 7"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises((InputError, InputTypeError), match=said):
        Encoder.fit(TABLE, **options)


def test_names_that_are_there_twice_are_refused():
    with pytest.raises(InputError, match="the table has 2 columns called 'a'"):
        Encoder.fit(pa.table([[1], [2]], names=["a", "a"]))
    made = Encoder.fit(pa.table({"a": [1, 2]}))
    with pytest.raises(InputError, match="the table has 2 columns called 'a'"):
        made.encode(pa.table([[1], [2]], names=["a", "a"]))


def test_a_table_without_rows_is_refused():
    with pytest.raises(InputError, match="no rows to learn from"):
        Encoder.fit(TABLE.slice(0, 0))


def test_one_row_says_nothing():
    one = pa.table({"a": [1.0], "b": pa.array([None], pa.float64())})
    with pytest.raises(InputError, match=r"'a': it is 1\.0 in every row; 'b': it has no"):
        Encoder.fit(one)


def test_columns_can_be_dropped_and_their_kind_said():
    made = Encoder.fit(TABLE, drop=["city"], kinds={"age": "category"})
    assert "city" not in made.feature_names
    assert made.columns["age"].name == "category"
    assert made.sizes == (made.columns["age"].size,)
    assert made.extra(TABLE) == ()
    assert ("city", "dropped", "not used: as asked") in made.report()
    assert Encoder.fit(TABLE, drop="city", kinds={"age": "category"}) == made


def test_few_rows_of_texts_that_look_like_numbers_are_read_as_texts(tmp_path):
    (tmp_path / "train.csv").write_text("code,n\n01,1\n1,2\nx,3\n")
    (tmp_path / "new.csv").write_text("code,n\n01,1\n")
    made = Encoder.fit(read_table(tmp_path / "train.csv"), kinds={"n": "category"})
    assert made.text_columns == ("code",)
    new = read_table(tmp_path / "new.csv", texts=made.text_columns)
    train = read_table(tmp_path / "train.csv", texts=made.text_columns)
    assert (made.encode(new) == made.encode(train)[:1]).all()


JUNK = [
    None,
    True,
    -1,
    1.5,
    10**300,
    "x",
    [],
    {},
    [None],
    [[]],
    {"kind": "optimizer", "name": "sgd"},
]


def paths(value, at=()):
    """Where every value within JSON is."""
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*at, key))


def replaced(config, at, value):
    changed = copy.deepcopy(config)
    if not at:
        return value
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return changed


def removed(config, at):
    changed = inner = copy.deepcopy(config)
    for key in at[:-1]:
        inner = inner[key]
    del inner[at[-1]]
    return changed


def survives(config) -> None:
    """Whatever a file says either is refused as a damaged file or makes finite numbers."""
    try:
        made = Encoder.from_config(config)
    except CheckpointError:
        return
    made.report()
    try:
        assert np.isfinite(made.encode(TABLE)).all()
    except MlpxError:
        return


def test_settings_that_were_tampered_with(fitted):
    for scaling in SCALINGS:
        config = Encoder.fit(TABLE, scaling=scaling, drop=["since"]).config()
        for at in paths(config):
            if len(at) > 3 and at[-1] not in (0, "kind", "name"):
                continue
            for value in JUNK:
                survives(replaced(config, at, value))
            if at:
                survives(removed(config, at))


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ((), None, "not of version 1"),
        (("version",), 2, "not of version 1"),
        (("scaling",), "minmax", "scaling = 'minmax'"),
        (("columns",), [], "scales for 0 numbers of 0 columns"),
        (("columns", 0, 0), 7, "a column 7 that cannot be"),
        (("columns", 0, 0), "age", "a column 'age' that cannot be"),
        (("columns", 0, 1, "kind"), "scaling", "damaged|has column"),
        (("columns", 0, 1, "median"), float("nan"), "damaged: median = nan"),
        (("columns", 2, 1, "values"), ["b", "a"], "damaged: values must differ and be in order"),
        (("scales", 0), {"kind": "column", "name": "boolean"}, "has scaling"),
        (("scales", 0, "factor"), -1.0, "damaged: factor = -1.0"),
        (("dropped", 0), ["a", "b"], "2 texts instead of 3"),
        (("notes",), [1], "notes that are no texts"),
    ],
)
def test_what_is_wrong_with_settings_is_said(fitted, at, value, said):
    with pytest.raises(CheckpointError, match=said):
        Encoder.from_config(replaced(fitted.config(), at, value))


def test_a_scale_too_few_is_refused(fitted):
    config = fitted.config()
    with pytest.raises(CheckpointError, match="12 scales for 13 numbers of 7 columns"):
        Encoder.from_config(config | {"scales": config["scales"][1:]})


def test_a_hundred_thousand_rows_take_no_time_to_speak_of(fitted):
    rows = table(100_000)
    start_s = time.process_time()
    x = fitted.encode(rows)
    assert time.process_time() - start_s < 3
    assert x.shape == (100_000, fitted.width)
