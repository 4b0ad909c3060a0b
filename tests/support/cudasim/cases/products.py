"""Matrix products and sums of columns."""

from __future__ import annotations

from cudasim.cases.given import Case, Given, Maker, case, wide


@case("affine")
def affine(given: Given) -> Case:
    x, W = given.normal(given.n, given.d), given.normal(given.d, 13)
    return Case((*x.shape, 13), (), [x, W, given.empty(given.n, 13)], {2: wide(x) @ wide(W)})


@case("affine")
def affine_of_whole_tiles(given: Given) -> Case:
    x, W = given.normal(given.n, given.d), given.normal(given.d, 64)
    n = (given.n, given.d, 64)
    return Case(n, (), [x, W, given.empty(given.n, 64)], {2: wide(x) @ wide(W)})


@case("affine_dx")
def affine_dx(given: Given) -> Case:
    dz, W = given.normal(given.n, given.d), given.normal(70, given.d)
    n = (given.n, 70, given.d)
    return Case(n, (), [dz, W, given.empty(given.n, 70)], {2: wide(dz) @ wide(W).T})


@case("affine_dW")
def affine_dW(given: Given) -> Case:  # noqa: N802
    x, dz = given.normal(given.n, 70), given.normal(given.n, given.d)
    n = (given.n, 70, given.d)
    return Case(n, (), [x, dz, given.empty(70, given.d)], {2: wide(x).T @ wide(dz)})


def multiplied(*, left: bool, right: bool, beta: float) -> Maker:
    def make(given: Given) -> Case:
        k = 37
        A = given.normal(k, given.n) if left else given.normal(given.n, k)
        B = given.normal(given.d, k) if right else given.normal(k, given.d)
        C = given.normal(given.n, given.d) if beta else given.empty(given.n, given.d)
        found = given.rounded(0.7) * (wide(A.T if left else A) @ wide(B.T if right else B))
        wanted = found + given.rounded(beta) * wide(C) if beta else found
        n = (given.n, given.d, k, int(left), int(right))
        return Case(n, (0.7, beta), [A, B, C], {2: wanted})

    return make


for left in (False, True):
    for right in (False, True):
        case("matrix_product")(multiplied(left=left, right=right, beta=-1.3 * (left == right)))


@case("column_sum")
def column_sum(given: Given) -> Case:
    dz = given.normal(given.n, given.d)
    return Case(dz.shape, (), [dz, given.empty(given.d)], {1: wide(dz).sum(axis=0)})
