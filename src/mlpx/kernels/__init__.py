"""The mathematics of a multi-layer perceptron, each formula once, forward beside backward.

Every kernel takes the array module `xp` (numpy or cupy), writes into the `out=` arrays it is given
and allocates nothing of the size of a batch. Shapes are the usual ones: `x` is (n, d_in), `W`
(d_in, d_out), `b` (d_out,), logits `z` (n, k). Gradients are `dW`, `db`, `dx`.
"""
