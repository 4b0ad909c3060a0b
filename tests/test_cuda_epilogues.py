"""Which operations become the end of the product before them."""

from __future__ import annotations

import numpy as np

from mlpx.engines.cuda.cublaslt import EPILOGUE_BGRADA, EPILOGUE_BIAS, EPILOGUE_RELU_BIAS
from mlpx.engines.cuda.epilogues import Fused, epilogue_of, fuse
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes
from mlpx.engines.lowering.operations import access

X, W, Z, B, OTHER = (np.zeros((4, 4), np.float32) for _ in range(5))


def operation(name: str, *p: np.ndarray, n: tuple[int, ...] = (4, 4, 4)) -> Operation:
    return Operation(name, n, (), p, tuple(access(a, writes=True) for a in p), late=True)


def activation(
    name: str, *, y: np.ndarray = Z, z: np.ndarray = Z, biased: bool = True
) -> Operation:
    return operation("activation", z, y, B, n=(4, 4, codes("activation")[name], biased))


AFFINE = operation("affine", X, W, Z)
GRADIENT = operation("affine_dW", X, Z, W)


def test_bias_and_relu_are_the_end_of_a_product() -> None:
    assert epilogue_of(AFFINE, activation("identity")) == (EPILOGUE_BIAS, address(B))
    assert epilogue_of(AFFINE, activation("relu")) == (EPILOGUE_RELU_BIAS, address(B))


def test_other_activations_are_not() -> None:
    assert epilogue_of(AFFINE, activation("tanh")) is None
    assert epilogue_of(AFFINE, activation("relu", biased=False)) is None
    assert epilogue_of(AFFINE, activation("relu", y=OTHER)) is None
    assert epilogue_of(AFFINE, activation("relu", y=OTHER, z=OTHER)) is None
    assert epilogue_of(GRADIENT, activation("relu")) is None


def test_a_sum_of_the_gradient_is_the_end_of_the_product_with_it() -> None:
    assert epilogue_of(GRADIENT, operation("column_sum", Z, B)) == (EPILOGUE_BGRADA, address(B))
    assert epilogue_of(GRADIENT, operation("column_sum", OTHER, B)) is None
    assert epilogue_of(AFFINE, operation("column_sum", Z, B)) is None


def test_what_is_fused_touches_what_both_do_and_stays_in_order() -> None:
    given = [AFFINE, activation("relu"), GRADIENT, operation("column_sum", Z, B), AFFINE]
    found = fuse(given)
    assert [type(o) for o in found] == [Fused, Fused, Operation]
    assert found[0].parts == tuple(given[:2])
    assert found[1].touches == (*given[2].touches, *given[3].touches)
    assert found[1].late
    assert (found[1].name, found[1].n, found[1].p) == ("affine_dW", (4, 4, 4), (X, Z, W))
    assert found[2] is AFFINE
    assert fuse([]) == []
