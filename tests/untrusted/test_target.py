"""The fuzzer's target: its function runs over its corpus, spoilt and not, without the fuzzer."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hostile.formats import FORMATS

TARGET = Path(__file__).parents[1] / "fuzz" / "target.py"


class Fuzzer(ModuleType):
    """Stands for atheris: one round over the corpus."""

    def __init__(self) -> None:
        super().__init__("atheris")
        self.rounds: list[tuple[bytes, bytes]] = []
        self.Setup, self.Fuzz, self.Mutate = self.set_up, self.fuzz, self.shuffle

    def instrument_imports(self, include: list[str]) -> Any:
        return nullcontext()

    def shuffle(self, data: bytes, longest: int) -> bytes:
        return data[:longest][::-1]

    def set_up(
        self,
        arguments: list[str],
        run: Callable[[bytes], None],
        custom_mutator: Callable[[bytes, int, int], bytes],
    ) -> None:
        self.corpus, self.run, self.mutate = Path(arguments[-1]), run, custom_mutator

    def fuzz(self) -> None:
        for seed, path in enumerate(sorted(self.corpus.iterdir())):
            data = path.read_bytes()
            spoilt = self.mutate(data, 10_000, seed)
            self.rounds.append((data, spoilt))
            self.run(data)
            self.run(spoilt)


@pytest.fixture
def fuzzer(monkeypatch: pytest.MonkeyPatch) -> Fuzzer:
    made = Fuzzer()
    monkeypatch.setitem(sys.modules, "atheris", made)
    return made


@pytest.fixture
def target(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("target", TARGET)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FORMATS)
def test_runs_over_its_corpus(name: str, target: Any, fuzzer: Fuzzer, tmp_path: Path) -> None:
    target.main([name, str(tmp_path / "corpus")])
    assert sorted(data for data, _ in fuzzer.rounds) == sorted(FORMATS[name].inputs())
    assert all(len(spoilt) <= 10_000 for _, spoilt in fuzzer.rounds)
    assert any(data != spoilt for data, spoilt in fuzzer.rounds)


def test_a_finding_comes_through(target: Any, tmp_path: Path) -> None:
    def read(path: Path) -> None:
        raise KeyError(path)

    target.one_input(FORMATS["idx"], tmp_path / "data.idx")(b"\0hello")
    with pytest.raises(KeyError):
        target.one_input(replace(FORMATS["idx"], read=read), tmp_path / "data.idx")(b"\0hello")
