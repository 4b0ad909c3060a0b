"""Which operations become the epilogue of the product before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlpx.engines.cuda.cublaslt import (
    EPILOGUE_BGRADA,
    EPILOGUE_BIAS,
    EPILOGUE_DGELU,
    EPILOGUE_DRELU,
    EPILOGUE_DRELU_BGRAD,
    EPILOGUE_GELU_AUX_BIAS,
    EPILOGUE_RELU_AUX_BIAS,
    EPILOGUE_RELU_BIAS,
)
from mlpx.engines.cuda.epilogues import Epilogue, Fused, epilogue_of, fuse, sources
from mlpx.engines.cuda.graphs import in_order
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes
from mlpx.engines.lowering.operations import access

X, Y, W, W2, Z, B, OTHER, INPUT, SUMS = (np.zeros((4, 4), np.float32) for _ in range(9))
WRITTEN = {
    "affine": 2, "affine_dx": 2, "affine_dW": 2, "activation": 1, "activation_back": 2,
    "column_sum": 1,
}  # fmt: skip
"""Which of its arrays an operation writes."""


def operation(name: str, *p: np.ndarray, n: tuple[int, ...] = (4, 4, 4)) -> Operation:
    touches = tuple(access(a, writes=i == WRITTEN[name]) for i, a in enumerate(p))
    return Operation(name, n, (), p, touches, late=True)


def activation(
    name: str, *, y: np.ndarray = Z, z: np.ndarray = Z, biased: bool = True
) -> Operation:
    return operation("activation", z, y, B, n=(4, 4, codes("activation")[name], biased))


def none_asked(nbytes: int) -> int:
    raise AssertionError(f"{nbytes} bytes")


def at(a: np.ndarray) -> int:
    return address(a) or 0


AFFINE = operation("affine", X, W, Z)
GRADIENT = operation("affine_dW", X, Z, W)


def test_bias_and_relu_are_the_end_of_a_product() -> None:
    assert epilogue_of(AFFINE, activation("identity")) == Epilogue(EPILOGUE_BIAS, at(B))
    assert epilogue_of(AFFINE, activation("relu")) == Epilogue(EPILOGUE_RELU_BIAS, at(B))


def test_other_activations_are_not() -> None:
    assert epilogue_of(AFFINE, activation("tanh")) is None
    assert epilogue_of(AFFINE, activation("relu", biased=False)) is None
    assert epilogue_of(AFFINE, activation("relu", y=OTHER)) is None
    assert epilogue_of(AFFINE, activation("relu", y=OTHER, z=OTHER)) is None
    assert epilogue_of(GRADIENT, activation("relu")) is None


def test_gelu_by_tanh_is_the_end_of_a_product_of_whole_octets() -> None:
    """Forward keeps its input, backward reads it; the result goes where the activation's would."""
    wide = operation("affine", X, W, Z, n=(4, 4, 16))
    found = epilogue_of(wide, activation("gelu_tanh", y=OTHER))
    assert found == Epilogue(EPILOGUE_GELU_AUX_BIAS, at(B), at(Z), 16, out=at(OTHER))
    assert epilogue_of(wide, activation("gelu_tanh")) is None
    assert epilogue_of(wide, activation("gelu", y=OTHER)) is None
    assert epilogue_of(AFFINE, activation("gelu_tanh", y=OTHER)) is None
    dx = operation("affine_dx", Z, W, X, n=(4, 16, 4))
    slopes = {"gelu_tanh": Epilogue(EPILOGUE_DGELU, 0, at(Z), 16, out=at(X)), "gelu": None}
    for name, wanted in slopes.items():
        slope = operation("activation_back", X, Z, X, n=(4, 16, codes("activation")[name]))
        assert epilogue_of(dx, slope) == wanted
        assert epilogue_of(operation("affine_dx", Z, W, X, n=(4, 15, 4)), slope) is None
        assert epilogue_of(operation("affine_dx", Z, W, OTHER, n=(4, 16, 4)), slope) is None


def back_through_gelu() -> tuple[Operation, Operation]:
    n = (4, 16, codes("activation")["gelu_tanh"])
    first = operation("affine_dx", Z, W, X, n=(4, 16, 4))
    second = operation("activation_back", X, Y, X, n=n)
    return replace(first, late=False), replace(second, late=False)


def test_what_is_late_may_stand_between() -> None:
    """GELU's derivative follows dx on the main branch; gradients between them run in parallel."""
    dx, slope = back_through_gelu()
    late = [operation("affine_dW", OTHER, Z, B), operation("column_sum", Z, W2)]
    found = fuse([dx, *late, slope], none_asked)
    assert [(o.name, type(o)) for o in found] == [("affine_dx", Fused), ("affine_dW", Fused)]
    assert isinstance(found[0], Fused)
    assert found[0].parts == (dx, slope)


def test_what_reads_the_gradient_between_them_keeps_them_apart() -> None:
    dx, slope = back_through_gelu()
    assert fuse([dx, between := operation("column_sum", X, W2), slope], none_asked) == [
        dx,
        between,
        slope,
    ]


def test_a_result_over_what_the_product_reads_keeps_them_apart() -> None:
    operations = [operation("affine", X, W, Z, n=(4, 4, 16)), activation("gelu_tanh", y=X)]
    assert fuse(operations, none_asked) == operations
    elsewhere = [operations[0], activation("gelu_tanh", y=OTHER)]
    assert len(fuse(elsewhere, none_asked)) == 1


def test_a_sum_of_the_gradient_is_the_end_of_the_product_with_it() -> None:
    found = epilogue_of(GRADIENT, operation("column_sum", Z, B))
    assert found == Epilogue(EPILOGUE_BGRADA, at(B))
    assert epilogue_of(GRADIENT, operation("column_sum", OTHER, B)) is None
    assert epilogue_of(AFFINE, operation("column_sum", Z, B)) is None


def test_what_is_fused_touches_what_both_do_and_stays_in_order() -> None:
    given = [AFFINE, activation("relu"), GRADIENT, operation("column_sum", Z, B), AFFINE]
    found = fuse(given, none_asked)
    assert [type(o) for o in found] == [Fused, Fused, Operation]
    assert found[0].parts == tuple(given[:2])
    assert found[1].touches == (*given[2].touches, *given[3].touches)
    assert found[1].late
    assert (found[1].name, found[1].n, found[1].p) == ("affine_dW", (4, 4, 4), (X, Z, W))
    assert found[2] is AFFINE
    assert fuse([], none_asked) == []


def through_relu(*, z: np.ndarray = Z, dx: np.ndarray = X) -> list[Operation]:
    """Forward and backward through relu, and the gradients of the layer before it."""
    relu = codes("activation")["relu"]
    main = [
        operation("affine", INPUT, W, z, n=(4, 4, 130)),
        operation("activation", z, z, B, n=(4, 130, relu, True)),
        operation("affine", z, W2, Y, n=(4, 130, 4)),
        operation("affine_dx", Y, W2, dx, n=(4, 130, 4)),
        operation("activation_back", dx, z, dx, n=(4, 130, relu)),
    ]
    late = [
        operation("affine_dW", INPUT, dx, OTHER, n=(4, 4, 130)),
        operation("column_sum", dx, SUMS, n=(4, 130)),
    ]
    return [replace(op, late=False) for op in main] + late


def test_relu_leaves_bits_that_its_slope_reads() -> None:
    """130 columns are 256 bits; the gradient of the bias is summed there too."""
    asked: list[int] = []
    operations = through_relu()
    found = fuse(operations, lambda nbytes: asked.append(nbytes) or 1 << 20)  # type: ignore[func-returns-value]
    assert asked == [4 * 256 // 8]
    forward, second, back, gradient = found
    assert isinstance(forward, Fused)
    assert isinstance(back, Fused)
    assert (second, gradient) == (operations[2], operations[5])
    assert forward.epilogue == Epilogue(EPILOGUE_RELU_AUX_BIAS, at(B), 1 << 20, 256)
    assert back.epilogue == Epilogue(EPILOGUE_DRELU_BGRAD, at(SUMS), 1 << 20, 256, out=at(X))
    (plain,) = forward.parts
    assert isinstance(plain, Fused)
    assert plain.epilogue == Epilogue(EPILOGUE_RELU_BIAS, at(B))
    assert sources(forward) == operations[:2]
    assert sources(back) == [operations[3], operations[4], operations[6]]
    assert in_order(back, forward)
    bits = (1 << 20, (1 << 20) + 128)
    written = [[a.writes for a in op.touches if (a.start, a.stop) == bits] for op in found[:3]]
    assert written == [[True], [], [False]]


def test_a_sum_that_has_to_wait_is_not_the_end() -> None:
    """Because the sum's array is read first, or the sum is over something else."""
    operations = through_relu()
    reader = operation("affine_dW", INPUT, SUMS, OTHER, n=(4, 4, 130))
    for last in ([reader, operations[6]], [replace(operations[6], n=(2, 130))], []):
        found = fuse([*operations[:5], *last], lambda _: 1 << 20)
        assert isinstance(found[2], Fused)
        assert found[2].epilogue.kind == EPILOGUE_DRELU
        assert found[3:] == last


def test_relu_without_a_product_on_either_side_leaves_none() -> None:
    operations = through_relu()
    other = replace(operations[4], n=(4, 130, codes("activation")["tanh"]))
    for given in (
        [*operations[:4], other],
        [operations[0], *operations[2:5]],  # no relu forward
        [*operations[:3], operations[4]],  # no product before the slope
        [*operations[:4], operation("activation_back", X, Z, Y, n=operations[4].n)],  # over dz
        [*operations[:3], operations[3], operation("column_sum", X, SUMS), operations[4]],
    ):
        given = [replace(op, late=False) for op in given]
        assert all(op.name == "affine" for op in fuse(given, none_asked) if isinstance(op, Fused))
