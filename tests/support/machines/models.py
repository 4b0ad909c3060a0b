"""The machine of `MLP`."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import pickle
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition

from machines import Machine, beginning, step
from machines.arrays import FEW, MANY, Rows, rows
from machines.disturbing import DEEDS, Deed, alarmed
from machines.nets import Net, changes, fits, nets
from machines.observing import Shown, frozen, shown
from machines.suiting import drawn, fitting_metrics, lengths, steady, without_length, wrong_calls
from machines.truth import Given, Held, Truth, settings
from mlpx import MLP
from mlpx.training.run import EVENTS

MOST = 3
"""How many models, and how many sets of data, there are at a time."""
FEW_PARAMETERS = 60
"""Up to so many, gradients are also searched for."""
SAYINGS = ("predict", "predict_proba", "predict_logits")


which = st.integers(0, MOST - 1)


class Models(Machine):
    """One or more models of one architecture, each beside its truth."""

    device: ClassVar[str] = "cpu"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    most_steps: ClassVar[int] = 12
    """How many steps a fit takes."""
    any_moment: ClassVar[bool] = False
    """Whether Ctrl-C is also pressed by a clock, at another moment each time."""
    fit_rows: ClassVar[tuple[int, ...]] = (1, 2, 5, 17, 33, 64, 130)

    @beginning(net=nets(300, 300, 4, 300, 300, 20, 300, 1), how=fits(), careful=st.booleans())
    def begin(self, net: Net, how: dict[str, Any], careful: bool) -> None:
        """`careful`: answers are compared after every step, and that makes calls of its own."""
        model = net.build(self.device)
        self.held, self.careful, self.touched = [Held(model, Truth(model))], careful, 0
        self.given = [Given(Rows(17), on_device=False, how=how).make(model)]
        self.answers: deque[tuple[Any, Any]] = deque(maxlen=6)
        self.files = 0
        self.found = settings()

    # What is compared.

    def same(self, ours: Shown, twins: Shown) -> None:
        assert ours == twins

    def ask(self, i: int, question: Callable[[MLP], Any]) -> Shown:
        """A question to a model, which answers like a fresh one and stays as it is."""
        held, results = self._held(i), []

        def ours() -> Any:
            results.append(question(held.model))
            return results[-1]

        said = shown(ours)
        self.same(said, shown(lambda: question(held.truth.fresh(held.model.device))))
        self.answers += [(result, frozen(result)) for result in results]
        return said

    def change(self, i: int, deed: Callable[[MLP], Any]) -> Shown:
        """A call that changes a model, as it changes a fresh one."""
        held = self._held(i)
        twin = held.truth.fresh(held.model.device)
        said = shown(lambda: deed(held.model))
        self.same(said, shown(lambda: deed(twin)))
        held.truth = Truth(twin)
        return said

    @invariant()
    def nothing_else_changed(self) -> None:
        if not hasattr(self, "held"):
            return
        for held in self.held:
            assert held.truth.differs(held.model) == []
        for answer, was in self.answers:
            assert frozen(answer) == was, "a later call changed what an earlier one returned"
        assert settings() == self.found
        for n in (1, 3) if self.careful else ():
            x = Rows(n).x(self.held[0].model.d_in, self.held[0].model.dtype)
            self.ask(self.touched, lambda model, x=x: model.predict_logits(x))

    def _held(self, i: int) -> Held:
        self.touched = i
        return self.held[i % len(self.held)]

    def _keep(self, i: int, model: MLP, truth: Truth) -> None:
        """Another model beside those there are, or in the place of one."""
        if len(self.held) < MOST:
            self.held.append(Held(model, truth))
        else:
            self.held[i % MOST] = Held(model, truth)

    # Asking.

    @step(
        i=which, several=st.lists(rows(*MANY, *FEW), min_size=2, max_size=5),
        say=st.sampled_from(SAYINGS), on_device=st.booleans(),
        anew=st.sampled_from((True, True, False)),
    )  # fmt: skip
    def predict(self, i: int, several: list[Rows], say: str, on_device: bool, anew: bool) -> None:
        """`anew`: by a model that has done nothing before."""
        self._renewed(i, anew)
        for each in several:
            x = self._placed(i, each, on_device)
            before = frozen(x) if isinstance(x, np.ndarray) else None
            said = self.ask(i, lambda model, x=x: getattr(model, say)(x))
            assert before in (None, frozen(x))
            assert said.error is None or say == "predict_proba"

    @step(
        i=which, most=st.sampled_from(MANY), counts=st.lists(st.sampled_from((*FEW, *MANY))),
        batch_size=st.sampled_from((1024, 5000, 1024, 1024, 1024, 100, 7, 1)),
        anew=st.sampled_from((True, True, False)),
    )  # fmt: skip
    def predict_in_batches(
        self, i: int, most: int, counts: list[int], batch_size: int, anew: bool
    ) -> None:
        """Many rows, then others, with nothing between them."""
        model = self._renewed(i, anew)
        for n in (most, *counts[:4], 2):
            size = max(batch_size, n // 50)
            x = Rows(n).x(model.d_in, model.dtype)
            self.ask(i, lambda model, x=x, size=size: model.predict_logits(x, batch_size=size))

    def _renewed(self, i: int, anew: bool) -> MLP:
        held = self._held(i)
        if anew:
            held.model = held.truth.fresh(held.model.device)
        return held.model

    def _placed(self, i: int, rows: Rows, on_device: bool) -> Any:
        model = self._held(i).model
        x = rows.x(model.d_in, model.dtype)
        return model.backend.asarray(x) if on_device else x

    @step(
        i=which, rows=rows(*FEW, *MANY), weighted=st.booleans(),
        metric=st.one_of(st.none(), st.integers(0, 30)),
    )  # fmt: skip
    def evaluate(self, i: int, rows: Rows, weighted: bool, metric: int | None) -> None:
        model = self._held(i).model
        x, y = rows.x(model.d_in, model.dtype), rows.y(model.loss, model.d_out)
        options = {"sample_weight": rows.weights()} if weighted else {}
        if metric is not None:
            options["metrics"] = fitting_metrics(model, metric)
        self.ask(i, lambda model: model.evaluate(x, y, **options))

    # Training.

    @step(i=which, j=which, rows=rows(*fit_rows), how=fits(), on_device=st.booleans())
    def fit(self, i: int, j: int, rows: Rows, how: dict[str, Any], on_device: bool) -> None:
        rows = dataclasses.replace(rows, n=min(rows.n, max(self.fit_rows)))
        given = Given(rows, on_device, how).make(self._held(i).model)
        if len(self.given) < MOST:
            self.given.append(given)
        else:
            self.given[j] = given
        self._fit(i, given)

    @step(i=which)
    def again(self, i: int) -> None:
        """On the same data in the same way."""
        self._fit(i, self._given(i))

    @step(i=which, j=which, times=st.integers(1, 3))
    def fit_again(self, i: int, j: int, times: int) -> None:
        for _ in range(times):
            self._fit(i, self._given(j))

    @step(i=which, j=which, change=changes(), back=st.booleans())
    def fit_likewise(self, i: int, j: int, change: dict[str, Any], back: bool) -> None:
        """The same data, another way; and `back`."""
        given = self._given(j)
        before = given.how
        given.how = without_length(before) | change if lengths(change) else before | change
        self._fit(i, given)
        if back:
            given.how = before
            self._fit(i, given)

    @step(i=which, j=which, rounds=st.integers(1, 2))
    def fit_alternately(self, i: int, j: int, rounds: int) -> None:
        """Two models, and two sets of data, in turn."""
        for _ in range(rounds):
            for k in (0, 1):
                self._fit(i + k, self._given(j + k))

    @step(i=which, j=which, how=st.sampled_from(("in place", "freed")), first=st.booleans())
    def change_data(self, i: int, j: int, how: str, first: bool) -> None:
        """Other numbers in the same arrays, or in arrays that may lie where those were."""
        given = self._given(j)
        if first:
            self._fit(i, given)
        if how == "freed":
            given.x = given.y = given.w = None
            given.rows = dataclasses.replace(given.rows, seed=given.rows.seed + 10)
            given.make(self._held(0).model)
        for part in (given.x, given.y, given.w):
            if how == "in place" and isinstance(part, np.ndarray) and part.flags.writeable:
                part[...] = part[::-1].copy()
        self._fit(i, given)

    @step(
        i=which, j=which, event=st.sampled_from(EVENTS), at=st.integers(0, 1),
        deed=st.sampled_from(sorted(DEEDS)),
    )  # fmt: skip
    def fit_disturbed(self, i: int, j: int, event: str, at: int, deed: str) -> None:
        """A callback raises, presses Ctrl-C, stops, predicts or sets parameters."""
        said = self._fit(i, self._given(j), lambda: [Deed(event, at, deed)])
        assert said.error is None or said.error.startswith(DEEDS[deed].errors)

    @precondition(lambda self: self.any_moment)
    @step(i=which, j=which, after_ms=st.integers(0, 12), again=st.booleans())
    def fit_with_ctrl_c(self, i: int, j: int, after_ms: int, again: bool) -> None:
        """Pressed at any moment: the steps done are those of a shorter fit."""
        held, given = self._held(i), self._given(j)
        if held.model.device != "cpu" or not steady(given.how["optimizer"]):
            return
        options = without_length(self._options(held.model, given))
        before = drawn(held.model)
        whole = partial(held.model.fit, given.x, given.y, steps=5 * self.most_steps, **options)
        shown(lambda: alarmed(whole, after_ms / 1e3))
        self._shorter(held, given, options, drawn(held.model) - before)
        if again:
            self._fit(i, given)

    def _shorter(self, held: Held, given: Given, options: dict[str, Any], steps: int) -> None:
        """The truth after `steps` steps; without any, the fit may not have begun."""
        if not steps and not held.truth.differs(held.model):
            return
        length = {"steps": steps} if steps else {"epochs": 0}
        twin = held.truth.fresh(held.model.device)
        shown(lambda: twin.fit(given.x, given.y, **length, **options))
        held.truth = Truth(twin)

    @step(i=which, j=which, rows=rows(*FEW))
    def in_two_threads(self, i: int, j: int, rows: Rows) -> None:
        """Two models train at a time, and one predicts in two threads."""
        first, second, given = self._held(i), self._held(i + 1), self._given(j)
        if first is not second:
            deeds = [(held, self._deed(held, given)) for held in (first, second)]
        else:
            x = rows.x(first.model.d_in, first.model.dtype)
            deeds = 2 * [(first, lambda model: model.predict_logits(x))]
        twins = [held.truth.fresh(held.model.device) for held, _ in deeds]
        with ThreadPoolExecutor(2) as pool:
            said = shown(lambda: list(pool.map(lambda d: d[1](d[0].model), deeds)))
        expected = shown(lambda: [deed(twin) for twin, (_, deed) in zip(twins, deeds, strict=True)])
        if expected.error is None:  # else the other of the two may not have begun
            self.same(dataclasses.replace(said, said=()), dataclasses.replace(expected, said=()))
        for twin, (held, _) in zip(twins, deeds, strict=True):
            held.truth = Truth(twin)
            if expected.error is not None:
                held.model = held.truth.fresh(held.model.device)

    def _deed(self, held: Held, given: Given) -> Callable[[MLP], Any]:
        options = self._options(held.model, given) | {"threads": 1}
        return lambda model: model.fit(given.x, given.y, **options)

    def _given(self, j: int) -> Given:
        return self.given[j % len(self.given)]

    def _fit(self, i: int, given: Given, callbacks: Callable[[], list[Any]] = list) -> Shown:
        options = self._options(self._held(i).model, given)
        return self.change(
            i, lambda model: model.fit(given.x, given.y, callbacks=callbacks(), **options)
        )

    def _options(self, model: MLP, given: Given) -> dict[str, Any]:
        """The options of `fit`, as far as they suit the model and the time there is."""
        options = {"verbose": 0} | given.how
        rule, n = options["optimizer"], given.rows.n
        size = n if rule.full_batch else min(options["batch_size"] * rule.accumulate, n)
        if options.get("epochs", 0) * -(-n // size) > self.most_steps:
            options = without_length(options) | {"steps": self.most_steps}
        if rule.full_batch:
            options = {k: v for k, v in options.items() if k not in ("batch_size", "sampling")}
        if model.parameter_count > FEW_PARAMETERS:
            options.pop("gradient", None)
        if options.pop("weighted", False):
            options["sample_weight"] = given.w
        if options.pop("validated", False):
            held_out = Rows(5, seed=given.rows.seed)
            options["validation_data"] = (
                held_out.x(model.d_in), held_out.y(model.loss, model.d_out)
            )  # fmt: skip
        metric = options.pop("metric", None)
        return options if metric is None else options | {"metrics": fitting_metrics(model, metric)}

    # Changing what it is.

    @step(i=which, scale=st.sampled_from((0.5, 2.0)), part=st.integers(0, 9), how=st.integers(0, 2))
    def set_parameters(self, i: int, scale: float, part: int, how: int) -> None:
        """All, one, or one in place."""

        def deed(model: MLP) -> None:
            values = {k: model.backend.to_numpy(p) * scale for k, p in model.parameters.items()}
            names = sorted(values)
            name = names[part % len(names)] if names else None
            if name is None or how == 0:
                model.set_parameters(values)
            elif how == 1:
                model.set_parameters({name: values[name].tolist()})
            else:
                model.parameters[name][...] = model.backend.asarray(values[name], dtype=model.dtype)

        self.change(i, deed)

    @step(i=which, where=st.permutations(range(3)), further=st.booleans(), back=st.booleans())
    def to(self, i: int, where: list[int], further: bool, back: bool) -> None:
        """Another device, to learn `further` there, and `back`."""
        held, home = self._held(i), self._held(i).model.device
        for device in [self.devices[where[0] % len(self.devices)], *([home] if back else [])]:
            assert held.model.to(device) is held.model
            assert held.model.device.startswith(device)
            if further:
                self._fit(i, self._given(0))

    @step(
        i=which, where=st.integers(0, 2), state=st.booleans(), instead=st.booleans(),
        further=st.booleans(),
    )  # fmt: skip
    def save_and_load(self, i: int, where: int, state: bool, instead: bool, further: bool) -> None:
        held, path = self._held(i), self.folder / f"{self.files}.safetensors"
        self.files += 1
        held.model.save(path, training_state=state)
        assert [entry.name for entry in self.folder.iterdir()] == [path.name]
        loaded = MLP.load(path, device=self.devices[where % len(self.devices)])
        truth = copy.copy(held.truth)
        if not state:
            truth.training = None
        path.unlink()
        self._other(i, loaded, truth, instead, further)

    @step(i=which)
    def export(self, i: int) -> None:
        """The files are those of a fresh model, byte for byte."""
        self.ask(i, self._exported)

    def _exported(self, model: MLP) -> list[str]:
        model.export_onnx(self.folder / "net.onnx")
        model.export_numpy(self.folder / "net.py")
        written = sorted(self.folder.iterdir())
        assert [path.suffix for path in written] == [".onnx", ".py", ".safetensors"]
        found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in written]
        for path in written:
            path.unlink()
        return found

    @step(
        i=which, way=st.sampled_from(("copy", "anew", "deepcopy", 2, pickle.HIGHEST_PROTOCOL)),
        instead=st.booleans(), further=st.booleans(),
    )  # fmt: skip
    def duplicate(self, i: int, way: Any, instead: bool, further: bool) -> None:
        """A copy, or `anew` a model of the same architecture that has learnt nothing."""
        model, truth = self._held(i).model, self._held(i).truth
        if isinstance(way, int):
            other = pickle.loads(pickle.dumps(model, protocol=way))
        elif way == "anew":
            other = MLP.from_config(truth.config, device=model.device)
            truth = Truth(other)
        else:
            other = getattr(copy, way)(model)
        assert other.device == model.device
        self._other(i, other, truth, instead, further)

    def _other(self, i: int, model: MLP, truth: Truth, instead: bool, further: bool) -> None:
        """A model made of another; `further`: first the other is trained, which must not show."""
        if further:
            self._fit(i, self._given(0))
        if instead:
            self.held[i % len(self.held)] = Held(model, truth)
        else:
            self._keep(i, model, truth)

    # Refused calls.

    @step(i=which, part=st.integers(0, 2), rows=rows(*FEW))
    def refuse(self, i: int, part: int, rows: Rows) -> None:
        """Every third of the calls that are wrong, each followed by one that is not; and a look."""
        model = self._held(i).model
        self.ask(i, lambda model: [repr(model), model.summary(), model.config()])
        for call in wrong_calls(model)[part::3]:
            assert self.change(i, call).error is not None
            x = rows.x(model.d_in, model.dtype)
            assert self.ask(i, lambda model, x=x: model.predict(x)).error is None
