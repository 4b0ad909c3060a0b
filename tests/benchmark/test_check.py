"""A contender is timed only if it computes what the float64 reference does."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mlpx.benchmark.check import Judge, distance
from mlpx.benchmark.contenders.base import LIBRARIES, PEERS, Contender, contender, modes
from mlpx.benchmark.contenders.jax import product
from mlpx.benchmark.reference import Reference, mean_loss
from mlpx.benchmark.workloads import CHECK_STEPS, PHASES, Task, Workload, make_problem
from mlpx.engines import NativeEngine
from mlpx.errors import UnknownNameError
from mlpx.program.program import TrainingProgram

OURS = [
    kind
    for kind in modes("mlpx")
    if "cpu" in kind.devices
    and (getattr(kind, "engine", "") != "native" or NativeEngine().missing() is None)
]
NETS = {
    "relu adam": Workload("r", (6, 8, 5, 3), "relu", "adam", 1e-3),
    "sigmoid sgd": Workload("s", (6, 8, 2), "sigmoid", "sgd", 0.1),
}


def outcome(kind, task, problem):
    made = kind(task, problem)
    for _ in range(2):  # a second time is as the first
        made.reset()
    made.run_checked(task.check_steps)
    made.synchronize()
    return made.outcome()


@pytest.mark.parametrize("net", NETS)
def test_reference_gradients_are_those_of_its_loss(net):
    task = Task(NETS[net], 4)
    problem = make_problem(task)
    x, labels = problem.batch
    reference = Reference.of(task, problem)
    gradients = reference.gradients(x, labels)
    for p, g in zip(reference.parameters, gradients, strict=True):
        for i in range(0, p.size, 5):
            losses = []
            for change in (1e-6, -1e-6):
                p.flat[i] += change
                losses.append(mean_loss(task, reference.parameters, x, labels))
                p.flat[i] -= change
            assert g.flat[i] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-8)


def test_reference_adam_by_hand():
    task = Task(NETS["relu adam"], 4)
    problem = make_problem(task)
    reference = Reference.of(task, problem)
    start = reference.parameters
    g = [np.full_like(p, 2.0) for p in start]
    reference.update(g)
    # the first step of Adam moves by the learning rate, whatever the gradient
    assert np.allclose(start[0] - reference.parameters[0], 1e-3 * 2 / (2 + 1e-8), atol=1e-15)
    reference.update([-1.0 * h for h in g])
    m, v = 0.9 * 0.2 - 0.2, 0.999 * 0.004 + 0.004
    step = 1e-3 * (m / (1 - 0.81)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
    moved = start[0] - reference.parameters[0] - 1e-3
    assert np.allclose(moved, step, atol=1e-11)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.mode)
def test_ours_agree_with_the_reference(kind, phase):
    if phase not in kind.phases():
        assert "has no phase" in kind.refuses(Task(NETS["relu adam"], 16, phase))
        return
    cases = itertools.product(NETS, (1, 16), {"float32": 1e-4, "float64": 1e-10}.items())
    for net, batch_size, (dtype, bound) in cases:
        task = Task(NETS[net], batch_size, phase, dtype, seed=2)
        problem = make_problem(task)
        verdict = Judge(task, problem).verdict(outcome(kind, task, problem), epsilon=kind.epsilon)
        assert verdict.reason == "", (net, batch_size, dtype)
        assert verdict.value_error < bound, (net, batch_size, dtype)


@pytest.mark.parametrize("phase", ["train", "update", "call", "start"])
@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.mode)
def test_a_second_start_is_the_first_again(kind, phase):
    if phase not in kind.phases():
        return
    task = Task(NETS["relu adam"], 16, phase, "float64", seed=2)
    made = kind(task, make_problem(task))
    ends = []
    for _ in range(2):
        made.reset()
        made.run_checked(CHECK_STEPS)
        ends.append(made.outcome())
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_second_start_allocates_and_plans_nothing(monkeypatch):
    task = Task(NETS["relu adam"], 16, seed=2)
    made = contender("mlpx/interpreter fit")(task, make_problem(task))
    made.run(3)
    moments = made.model.training_state.moments
    monkeypatch.setattr("mlpx.training.run.program_of", None)
    made.reset()
    assert made.model.training_state.step == 0
    assert not any(moment.any() for moment in moments.values())
    made.run(3)
    assert all(made.model.training_state.moments[name] is moments[name] for name in moments)


def test_training_goes_on_over_the_end_of_an_epoch():
    """Adam's bias correction counts all steps, not those of the epoch."""
    task = Task(NETS["relu adam"], 2048, "train", "float64")
    problem = make_problem(task)
    steps = task.steps_per_epoch + 3
    made = contender("mlpx/interpreter")(task, problem)
    made.reset()
    made.run(steps)
    reference = Reference.of(task, problem)
    reference.train(problem, steps)
    start = Reference.of(task, problem).parameters
    assert distance(made.outcome(), reference.parameters, start) < 1e-10


@pytest.mark.parametrize("phase", PHASES)
def test_ours_on_cuda(fake_cupy, phase):
    task = Task(NETS["relu adam"], 16, phase, "float64", device="cuda")
    problem = make_problem(task)
    called = {"predict": "predict", "call": "fit a batch", "start": "fit a batch"}
    called["checkpoint"] = "interpreter fit, kept"
    kind = contender(f"mlpx/{called.get(phase, 'interpreter')}")
    assert Judge(task, problem).verdict(outcome(kind, task, problem)).reason == ""


@pytest.mark.parametrize("phase", ["train", "call", "start", "predict"])
@pytest.mark.parametrize("net", NETS)
def test_scikit_learn_agrees_with_two_classes_too(net, phase):
    kind = contender("sklearn/partial_fit")
    task = Task(NETS[net], 16, phase, seed=2)
    judge = Judge(task, problem := make_problem(task))
    verdict = judge.verdict(outcome(kind, task, problem), epsilon=kind.epsilon)
    assert (verdict.reason, verdict.value_error < 1e-4) == ("", True)


@pytest.mark.parametrize(
    ("phase", "places", "count"), [("call", (0, 1, 2, 0), 1), ("start", (0, 0, 0, 0), 4)]
)
@pytest.mark.parametrize("name", ["mlpx/fit a batch", "mlpx/partial_fit", "sklearn/partial_fit"])
def test_a_call_sees_the_next_rows_and_a_start_the_first(name, phase, places, count, monkeypatch):
    """Calls go through the batches with one model; a start has its own."""
    task = Task(NETS["relu adam"], 16, phase, "float64")
    problem = make_problem(task)
    made = contender(name)(task, problem)
    method = name.partition("/")[2].partition(" ")[0]
    learner = type(made.model if method == "fit" else made.classifier)
    learn, models, batches = getattr(learner, method), [], []

    def spy(self, x, y, **named):
        models.append(self)
        batches.append(x)
        return learn(self, x, y, **named)

    monkeypatch.setattr(learner, method, spy)
    for steps in (3, 1):
        made.reset()
        made.run(steps)
    for x, at in zip(batches, places, strict=True):
        assert np.array_equal(x, problem.x[problem.order[at]])
    assert len(set(map(id, models))) == count


@pytest.mark.parametrize(
    ("name", "phase"),
    [("mlpx/fit a batch", "call"), ("mlpx/partial_fit", "call"), ("mlpx/fit a batch", "start")],
)
@pytest.mark.usefixtures("only_new_garbage")
def test_calls_leave_nothing_behind(name, phase):
    """Whoever streams for days makes a million of them."""
    task = Task(replace(NETS["relu adam"], layers=(6, 64, 64, 3)), 16, phase)
    made = contender(name)(task, make_problem(task))
    tracemalloc.start()
    try:
        (objects, size), (objects_later, size_later) = (held(made, steps) for steps in (1, 4))
    finally:
        tracemalloc.stop()
    assert objects_later - objects < 20
    assert size_later - size < 65536  # the parameters of four models alone are more


def held(made, steps):
    """Objects and bytes that are alive after so many steps."""
    made.run(steps)
    gc.collect()
    return len(gc.get_objects()), tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(
    ("phase", "part"), [("train", 0.03), ("update", 0.003), ("call", 0.03), ("start", 0.003)]
)
def test_a_wrong_update_is_found(phase, part):
    task = Task(NETS["relu adam"], 16, phase)
    judge = Judge(task, make_problem(task))
    right = judge.wanted("outside")
    assert judge.verdict(right).reason == ""
    short = [p + part * (q - p) for p, q in zip(right, judge.start, strict=True)]
    assert "differ" in judge.verdict(short).reason
    assert "loss differ" in judge.verdict(judge.start).reason
    assert "differ" in judge.verdict([p * np.nan for p in right]).reason
    assert "shapes" in judge.verdict(right[:-1]).reason


def test_a_unit_that_rounding_moved_is_forgiven_to_adam_alone():
    for net, forgiven in (("relu adam", True), ("sigmoid sgd", False)):
        task = Task(replace(NETS[net], layers=(20, 64, 64, 2)), 16)
        judge = Judge(task, make_problem(task))
        right = judge.wanted("outside")
        count = sum(a.size for a in right)
        off = [a.copy() for a in right]
        off[0].reshape(-1)[: int(0.004 * count)] += 0.003
        assert (judge.verdict(off).reason == "") is forgiven
        off[0].reshape(-1)[: int(0.02 * count)] += 0.01
        assert "values differ" in judge.verdict(off).reason
        off[0][0, 0] = np.nan
        assert "differ" in judge.verdict(off).reason


def test_the_right_loss_elsewhere_is_found():
    """Another seed's weights may have nearly the same loss; the parameters tell."""
    task = Task(NETS["sigmoid sgd"], 16)
    judge = Judge(task, make_problem(task))
    right = judge.wanted("outside")
    verdict = judge.verdict([right[0][:, ::-1], right[1], *right[2:]])
    assert "differ" in verdict.reason


@pytest.mark.parametrize("phase", ["forward", "backward", "predict"])
def test_wrong_results_of_other_phases_are_found(phase):
    task = Task(NETS["relu adam"], 16, phase)
    judge = Judge(task, make_problem(task))
    right = judge.wanted("outside")
    assert judge.verdict(right).reason == ""
    off = [right[0] + 1, *right[1:]] if phase == "predict" else [1.02 * a for a in right]
    assert "differ" in judge.verdict(off).reason


def test_epsilon_has_its_place():
    task = Task(NETS["relu adam"], 16)
    judge = Judge(task, make_problem(task))
    apart = distance(judge.wanted("inside"), judge.wanted("outside"), judge.start)
    assert 1e-12 < apart < 1e-2


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_mode_says_what_it_is(library):
    for kind in modes(library):
        assert issubclass(kind, Contender)
        assert kind.library == library
        assert kind.note
        assert kind.phases()
        assert contender(kind.name()) is not None
        for floor in kind.floors:
            assert contender(floor).library == "gemm"


def test_unknown_contenders():
    with pytest.raises(UnknownNameError, match="peer"):
        modes("tensorflow")
    with pytest.raises(UnknownNameError, match="contender"):
        contender("torch/slow")
    assert "torch" in PEERS


def test_what_is_absent_is_refused(monkeypatch):
    monkeypatch.setattr("mlpx.benchmark.contenders.base.find_spec", lambda name: None)
    for kind in modes("torch"):
        assert "not installed" in kind.refuses(Task(NETS["relu adam"], 1))
    monkeypatch.undo()
    kind = contender("sklearn/partial_fit")
    assert "does not run on cuda" in kind.refuses(Task(NETS["relu adam"], 1, device="cuda"))


@pytest.mark.parametrize("name", ["mlpx/cuda", "mlpx/cuda fit", "torch/graph", "jax/scan"])
def test_tf32_is_a_cell_of_its_own_on_a_gpu(name):
    kind, task = contender(name), Task(NETS["relu adam"], 16, device="cuda", precision="tf32")
    assert "multiply" not in (kind.refuses(task) or "")
    assert "there is no tf32 on cpu" in (kind._refuses_precision(replace(task, device="cpu")))
    assert "is for training steps" in kind._refuses_precision(replace(task, phase="predict"))
    for other in ("mlpx/interpreter", "mlpx/native", "gemm/numpy"):
        assert "does not multiply in tf32" in contender(other)._refuses_precision(task)


@pytest.mark.parametrize("name", ["mlpx/cuda", "mlpx/cuda fit"])
def test_ours_trains_in_the_precision_of_its_cell(fake_cupy, monkeypatch, name):
    seen = []
    run = TrainingProgram.__init__

    def watched(self, *args, **options):
        seen.append(options["precision"])
        run(self, *args, **options)

    monkeypatch.setattr(TrainingProgram, "__init__", watched)
    task = Task(NETS["relu adam"], 16, device="cuda", precision="bf16")
    problem = make_problem(task)
    made = contender(name)(task, problem)
    made.reset()
    made.run(task.check_steps)
    verdict = Judge(task, problem).verdict(made.outcome())
    assert set(seen) == {"bf16"}
    assert 1e-4 < verdict.value_error < verdict.value_tolerance == pytest.approx(0.4)


def test_jax_is_asked_for_the_precision_of_the_cell():
    """On a GPU it rounds float32 to TF32 by itself."""
    jax = SimpleNamespace(numpy=SimpleNamespace(matmul=print))
    task = Task(NETS["relu adam"], 16, device="cuda")
    tasks = (task, replace(task, precision="tf32"), replace(task, device="cpu"))
    asked = [product(jax, each).keywords["precision"] for each in tasks]
    assert asked == ["highest", "tensorfloat32", None]


def test_a_result_computed_elsewhere_is_what_is_wanted():
    task = Task(NETS["relu adam"], 4)
    problem = make_problem(task)
    wanted = Judge(task, problem).wanted("outside")
    judge = Judge(task, problem, wanted=[2 * a for a in wanted])
    assert judge.verdict(wanted).reason
    assert not judge.verdict([2 * a for a in wanted]).reason
