"""The tool that changes the sources and looks whether a test notices (tests/support/mutation)."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest
from mutation.baseline import digest
from mutation.choice import NEAR, Choice, executing, in_turns, is_called, near_files, nearness
from mutation.mutants import Mutant, distinct, find_mutants
from mutation.recording import without_group
from mutation.score import EQUIVALENT, Score, table
from mutation.trial import UNCONFINED

ROOT = Path(__file__).resolve().parents[1]


def mutants_of(folder: Path, source: str, file: str = "src/mlpx/rows.py") -> list[Mutant]:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(textwrap.dedent(source), encoding="utf-8")
    return list(distinct(find_mutants(folder, file)))


# the mutants


def test_what_is_left_alone(tmp_path):
    source = '''
        """Of 3 - 1 things."""
        import os
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from there import f
            SIZE = 1 + 2
        __all__ = ["f", *names(1)]
        Text = str | list[int] | None
        width: "1 + 2"
        class Sized(Protocol):
            def size(self, n: int = 1) -> int: ...
        @cache(maxsize=4)
        def f(x: Literal[1], y: int | None) -> Annotated[int, 2]:
            """From 1 to 2."""
            zip(x, y, strict=True)
            raise NotImplementedError
        def g(x):
            name = f"{x + 1} of" + "them"
            return name[x]
    '''
    found = [mutant.key for mutant in mutants_of(tmp_path, source)]
    dropped = "f: zip(x, y, strict=True)  =>  pass"
    assert found == [dropped, "g: name = f'{x + 1} of' + 'them'  =>  name = f'{x + 1} of' - 'them'"]


def test_what_is_changed(tmp_path):
    source = """
        LIMIT = 3
        def f(x, y, ready=False):
            if ready and x < LIMIT:
                raise ValueError(x + 1)
            x[0] = scale(y, 1.0)
            y = scale(x, x)
            return -x
    """
    assert [mutant.key for mutant in mutants_of(tmp_path, source)] == [
        ": LIMIT = 3  =>  LIMIT = 4",
        "f: def f(x, y, ready=False):  =>  def f(x, y, ready=True):",
        "f: if ready and x < LIMIT:  =>  if ready or x < LIMIT:",
        "f: if ready and x < LIMIT:  =>  if ready and x <= LIMIT:",
        "f: if ready and x < LIMIT:  =>  if ready and x >= LIMIT:",
        "f: raise ValueError(x + 1)  =>  pass",
        "f: x[0] = scale(y, 1.0)  =>  pass",
        "f: x[0] = scale(y, 1.0)  =>  x[1] = scale(y, 1.0)",
        "f: x[0] = scale(y, 1.0)  =>  x[0] = scale(1.0, y)",
        "f: x[0] = scale(y, 1.0)  =>  x[0] = scale(y, 1.1)",
        "f: return -x  =>  return x",
    ]


def test_a_mutant_is_the_module_with_one_change(tmp_path):
    first, *_, last = mutants_of(tmp_path, "def f(x):\n    y = x + 1\n    return y - 2\n")
    assert first.source == "def f(x):\n    y = x - 1\n    return y - 2"
    assert last.source == "def f(x):\n    y = x + 1\n    return y - 3"
    assert first.original == "def f(x):\n    y = x + 1\n    return y - 2"


def test_every_equivalent_mutant_is_one():
    for file, entries in EQUIVALENT.items():
        keys = {key for entry in entries for key in entry["mutants"]}
        scopes = {key.split(": ")[0] for key in keys}
        near = [m for m in find_mutants(ROOT, file) if m.where.scope in scopes]
        assert keys <= {mutant.key for mutant in near}, file


# the tests that are chosen

SOURCE = """\
LIMIT = 3
def f(x):
    y = scale(
        x,
        LIMIT,
    )
    if x > (
        y
    ):
        y += 1
    return y
"""
LINES = {1: {""}, 2: {""}, 3: {"a", "b"}, 7: {"a"}, 10: {"c"}, 11: {"a", "d"}}


def test_the_tests_that_execute_a_statement(tmp_path):
    found = {m.key.split("=>")[0]: executing(m, LINES) for m in mutants_of(tmp_path, SOURCE)}
    assert found == {
        ": LIMIT = 3  ": {"a", "b", "c", "d"},  # of the file
        "f: y = scale(x, LIMIT)  ": {"a", "b"},
        "f: if x > y:  ": {"a"},
        "f: y += 1  ": {"c"},
    }
    constant, *_ = mutants_of(tmp_path, SOURCE)
    assert executing(constant, {1: {"a"}, 3: {"b"}}) == {"a", "b"}, "imported in a test"
    only_imported = {line: {""} for line in (1, 2)}
    assert [executing(m, only_imported) for m in mutants_of(tmp_path, SOURCE)] == [set()] + 6 * [
        None
    ]


def test_what_a_call_executes(tmp_path):
    source = "A = 1\n@cache(2)\ndef f(x=3):\n    return 4\nclass C:\n    a = 5\n"
    found = [m.key for m in mutants_of(tmp_path, source) if is_called(m)]
    assert found == ["f: return 4  =>  return 5"]


def test_an_argument_by_default_belongs_to_its_function(tmp_path):
    lines = {1: {""}, 2: {"a"}, 3: {""}, 4: {"b"}}
    source = "def f(x=1):\n    return x\ndef g(x):\n    return x\n"
    assert [executing(m, lines) for m in mutants_of(tmp_path, source)] == [{"a"}]


class Known:
    """A baseline of these tests, in which each executes every line."""

    def __init__(self, tests: dict[str, float], lines: Iterable[int] = range(1, 20)) -> None:
        self.tests, self.executed = tests, lines

    def lines(self, file):
        return {line: set(self.tests) for line in self.executed}


def test_the_nearest_tests_come_first_then_the_fastest(tmp_path):
    mutant = mutants_of(tmp_path, "def f(x):\n    return -x", "src/mlpx/cli/rows.py")[0]
    seconds = {
        "tests/test_cli_rows.py::a": 3.0,
        "tests/test_cli_rows.py::b": 1.0,
        "tests/test_cli.py::c": 0.5,
        "tests/test_step.py::d": 0.2,
        "tests/test_step.py::e": 0.1,
    }
    near = ["tests/test_cli_rows.py::b", "tests/test_cli_rows.py::a"]
    whole = ["tests/test_cli.py::c"]
    far = ["tests/test_step.py::e", "tests/test_step.py::d"]

    def chosen(limit_s, lines=(1, 2)):
        choice = Choice(Known(seconds, lines), limit_s=limit_s)
        return choice.choose([mutant])[mutant]

    assert chosen(10) == [near, whole, far]
    assert chosen(5) == [near, whole, far], "the last near one beside the far ones"
    assert chosen(4.4) == [near[:1], whole, far], "near tests may take half of the time"
    assert chosen(0.05) == [far[:1]], "the fastest, whatever it takes"
    assert chosen(10, lines=(1,)) is None


def test_a_table_is_tried_with_the_tests_near_it(tmp_path):
    mutant = mutants_of(tmp_path, "LIMIT = 3", "src/mlpx/cli/rows.py")[0]
    far, near = "tests/test_step.py::a", "tests/test_cli.py::b"
    known = Known({far: 1.0, near: 2.0})
    known.lines = lambda file: {1: {""}}
    assert Choice(known, limit_s=10).choose([mutant])[mutant] == [[near]]
    del known.tests[near]
    assert Choice(known, limit_s=10).choose([mutant])[mutant] == [[far]]


def test_nearness():
    assert nearness("src/mlpx/cli/rows.py", "tests/cli/test_rows.py::test[layers]") == 2
    assert nearness("src/mlpx/kernels/losses/base.py", "tests/kernels/test_losses.py") == 2
    assert nearness("src/mlpx/engines/cuda/heads.py", "tests/engines/cuda/test_engine.py") == 2
    assert nearness("src/mlpx/layers/dense.py", "tests/kernels/test_losses.py") == 0


def test_the_test_files_near_a_module(tmp_path):
    (tmp_path / "tests").mkdir()
    for name, text in {
        "cli": "",
        "a_package": "from mlpx.cli import app",
        "module": "from mlpx.cli.rows import parse",
        "a_other": "import mlpx\nfrom mlpx.client import x",
        "beside": "from mlpx.cli import columns, rows",
    }.items():
        (tmp_path / "tests" / f"test_{name}.py").write_text(text)

    def near(file):
        return [Path(name).stem.removeprefix("test_") for name in near_files(tmp_path, file)]

    assert near("src/mlpx/cli/rows.py") == ["cli", "beside", "module", "a_package"][:NEAR]
    assert near("src/mlpx/cli/streams.py") == ["cli", "a_package", "beside", "module"][:NEAR]
    assert near("src/mlpx/program/program.py") == []
    assert in_turns([["a", "b", "c"], [], ["d", "b"]]) == ["a", "d", "b", "c"]


def test_names_without_the_group_of_xdist():
    assert without_group("tests/test_a.py::b@signals") == "tests/test_a.py::b"
    assert without_group("tests/test_a.py::b[x@y]") == "tests/test_a.py::b[x@y]"
    assert without_group("tests/test_a.py::b[x@y]@signals") == "tests/test_a.py::b[x@y]"


def test_the_baseline_is_kept_until_a_source_or_a_test_changes(tmp_path):
    def written(name):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        return digest(tmp_path)

    counted = ("pyproject.toml", "src/a.py", "src/b/a.py", "src/c.so", "tests/machines/d.py")
    found = [written(name) for name in counted]
    assert len(set(found)) == len(counted)
    for name in (
        "src/__pycache__/a.pyc",
        "tests/support/mutation/e.py",
        "src/a.egg-info/f",
        "g.py",
    ):
        assert written(name) == found[-1], name
    (tmp_path / "src/a.py").rename(tmp_path / "src/aa.py")
    assert digest(tmp_path) != found[-1]


# the score


def test_the_score(tmp_path):
    file = "src/mlpx/kernels/affine.py"
    found = mutants_of(tmp_path, "a = 1\nb = 2\nc = 3\nd = 4\n", file)
    found += mutants_of(tmp_path, "a = 1\n", "src/mlpx/mlp.py")
    kinds = ("killed", "timeout", "survived", "not executed", "killed")
    results = dict(zip(found, kinds, strict=True))
    assert Score(found, results).share == 3 / 5
    assert table(found, results).splitlines()[2:] == [
        "| kernels | 4 | 2 | 1 | 1 | 0 | 50.0% |",
        "| mlpx | 1 | 1 | 0 | 0 | 0 | 100.0% |",
        "| all | 5 | 3 | 1 | 1 | 0 | 60.0% |",
    ]


def test_equivalent_mutants_do_not_count(tmp_path, monkeypatch):
    found = mutants_of(tmp_path, "a = 1\nb = 2\nc = 3\n", "src/mlpx/mlp.py")
    entry = {"why": "nothing reads it", "mutants": [found[0].key]}
    monkeypatch.setitem(EQUIVALENT, "src/mlpx/mlp.py", [entry])
    score = Score(found, {found[1]: "killed", found[2]: "survived"})
    assert (score.equivalent, score.killed, score.share) == (1, 1, 1 / 2)
    assert Score(found[:1], {}).share == 1


# all of it

PROJECT = """
[tool.coverage.run]
source = ["src"]
branch = true
parallel = true
core = "ctrace"
context = "${PYTEST_CURRENT_TEST-}"
"""
TINY = """
def double(x):
    return x * 2
def negative(x):
    return -x
def never(x):
    return -x
"""
TESTS = """
import os, subprocess, sys, tiny
def test_double_in_another_process():
    code = "import tiny; assert tiny.double(3) == 6"
    subprocess.run([sys.executable, "-c", code], check=True)
def test_nothing_of_a_negative():
    tiny.negative(3)
def test_only_outside_of_a_copy():
    tiny.negative(3)
    assert os.environ["CI"]
"""
ANSWER = """\
4 mutants, 3 tests
survived: src/tiny.py:5: negative: return -x  =>  return x
not executed: src/tiny.py:7: never: return -x  =>  return x
fails in a copy of the tree, so it was left out: tests/test_tiny.py::test_only_outside_of_a_copy
| package | mutants | killed | survived | not executed | equivalent | score |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| tiny.py | 4 | 2 | 1 | 1 | 0 | 50.0% |
| all | 4 | 2 | 1 | 1 | 0 | 50.0% |
score: 50.0%; wanted: 90%
"""


LIMITS = ("--near-limit", 40, "--limit", 10, "--at-least", 0.4)
"""With so few tests 11 to 17 of 20 were killed in six samples, 74 %; with all tests 90 % of 40.
At 74 %, spread as in those samples, one sample in 500 has fewer than 8 killed: a bound of 40 %."""


@pytest.fixture
def mutate(tmp_path):
    """Runs the tool."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip(UNCONFINED)

    def run(*options, **env):
        command = [
            sys.executable,
            ROOT / "tests" / "support" / "mutation",
            "--kept",
            tmp_path / "kept",
        ]
        command += [str(option) for option in options]
        # Not under coverage, where it is measured itself: as nobody it could not write that down.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        done = subprocess.run(command, env=ours | env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_of_a_tiny_package(tmp_path, mutate):
    tree = tmp_path / "tree"
    for name, text in {
        "pyproject.toml": PROJECT,
        "src/tiny.py": TINY,
        "tests/test_tiny.py": TESTS,
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    code, text = mutate("--root", tree, "--jobs", 1, CI="true")
    assert (code, text[text.index("4 mutants") :]) == (1, ANSWER)
    code, text = mutate("--root", tree, "--coverage")
    assert code == 0
    assert "passed" not in text, "the baseline is kept"
    assert text.endswith("\n5 of 6 statements (83.33%), 0 of 0 branches (100.00%)\n")


@pytest.mark.slow
def test_changes_to_the_sources_are_noticed(mutate):
    """Twenty mutants in five modules, by the text of src: the same for the same sources."""
    text = b"".join(path.read_bytes() for path in sorted((ROOT / "src").rglob("*.py")))
    seed = hashlib.sha256(text).hexdigest()
    code, answer = mutate("--near", 5, "--sample", 20, "--seed", seed, *LIMITS)
    assert code == 0, answer
