"""The names of what an operation is given, in the order in which C and CUDA have it.

An operation has three arrays: n, sizes and strides; c, constants; p, arrays and addresses. C reads
`op->p[2]`; Python reads `op["out"]`, by the tables here. The comment above each kernel says what it
makes of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mlpx.engines.lowering.formulas import codes

Place = tuple[int, Any]
"""Which of n, c and p a field is in, and its index or slice there."""
Values = tuple[tuple[int, ...], tuple[float, ...], tuple[Any, ...]]
"""n, c and p."""
ABSENT = (0, 0.0, None)
"""What a field of n, c or p is where it is left out."""


class Fields(NamedTuple):
    """The fields of one operation."""

    places: dict[str, Place]
    required: frozenset[str]
    blank: Values
    """n, c and p with nothing in them, as long as they are without a last field of any length."""

    @classmethod
    def of(cls, n: str, c: str, p: str) -> Fields:
        """The fields that the names in three texts stand for.

        Those behind a | may be left out; `name*4` stands for four values, and `name*`, which comes
        last, for any number of them.
        """
        places, required, sizes = dict[str, Place](), set[str](), list[int]()
        for kind, text in enumerate((n, c, p)):
            given, _, optional = text.partition("|")
            at = 0
            for word in (*given.split(), *optional.split()):
                name, star, count = word.partition("*")
                stop = at + int(count or 0) if star else at + 1
                places[name] = kind, slice(at, stop if count else None) if star else at
                at = stop
            required.update(word.partition("*")[0] for word in given.split())
            sizes.append(at)
        n_size, c_size, p_size = sizes
        return cls(places, frozenset(required), ((0,) * n_size, (0.0,) * c_size, (None,) * p_size))

    def made(self, given: dict[str, Any]) -> Values:
        """n, c and p with these fields.

        Raises KeyError for a field that is none of the operation's, ValueError if one is missing.
        """
        if not given.keys() >= self.required:
            raise ValueError(f"without {sorted(self.required - given.keys())}")
        return self._put(self.blank, given)

    def changed(self, values: Values, given: dict[str, Any]) -> Values:
        """n, c and p with other values in some of the fields.

        Raises KeyError for a field that is none of the operation's.
        """
        n, c, p = values  # which may be without the last fields
        n0, c0, p0 = self.blank
        whole = n + n0[len(n) :], c + c0[len(c) :], p + p0[len(p) :]
        return self._put(whole, given)

    def _put(self, values: Values, given: dict[str, Any]) -> Values:
        parts: tuple[list[Any], ...] = list(values[0]), list(values[1]), list(values[2])
        places = self.places
        for field, value in given.items():
            part, at = places[field]
            parts[part][at] = value
        n, c, p = parts
        return tuple(map(int, n)), tuple(map(float, c)), tuple(p)


RULE = "elements table_columns", "constants*", "parameters gradient moments*4 scalars"
_TEXTS: dict[str, tuple[str, str, str]] = {
    # Batches. `indices`: the numbers of the rows of x, or None for rows in their own order.
    "gather": (
        "rows columns dtype stride swapped | ahead positions scaled",
        "| scale offset",
        "x indices out | labels labels_out",
    ),
    "copy": ("rows columns", "", "x out"),
    "scale": ("rows columns", "scale offset", "x out"),
    "weigh": ("rows", "", "w total out"),
    "weighted_mean": ("rows", "", "r values out"),
    "sum_lines": ("rows columns stride", "", "lines out"),
    "record": ("columns", "", "log values"),
    "advance": ("| steps positions", "", "state | table"),
    "likeliest": ("rows outputs", "", "t out"),
    "correct": ("rows outputs", "", "z labels out"),
    "all_correct": ("rows outputs", "", "z t out"),
    "out_of_range": ("rows columns gathered", "limit", "x flag"),
    "store": ("nbytes | stride", "", "x | out"),
    # Factors in 16 bits. `others`: of each product the other factor's scale, and where what the
    # product is multiplied by goes.
    "to_bf16": ("rows columns stride", "", "x out"),
    "to_fp16": ("rows columns stride", "", "x out scale"),
    "scale_of": ("elements products", "", "x scale others*"),
    # Affine maps and other products. Where `gathered`, x is the gather that would bring it;
    # `updates` are operations on the weights, in their order; left, right and back are the factors
    # in 16 bits and what scales their product back.
    "affine": ("rows inputs outputs | gathered", "", "x W out | left right back"),
    "affine_dx": ("rows inputs outputs", "", "dz W dx | left right back"),
    "affine_dW": ("rows inputs outputs | gathered", "", "x dz dW | left right back"),
    "affine_dW_part": ("rows inputs outputs stride gathered", "", "x dz dW others"),
    "affine_dW_descend": (
        "rows inputs outputs table_columns gathered",
        "",
        "x dz parameters scalars",
    ),
    "affine_dW_update": ("rows inputs outputs gathered steps", "", "x dz dW updates"),
    "layer": ("rows inputs outputs gathered formula | split", "constants*", "x W z y bias | flag"),
    "layer_back": ("rows inputs outputs formula | split", "constants*", "dz W kept out"),
    "matrix_product": ("rows columns inner turned_A turned_B", "alpha beta", "A B out"),
    "column_sum": ("rows columns", "", "dz db"),
    "column_sum_part": ("rows columns stride", "", "dz db others"),
    "column_sum_descend": ("rows columns table_columns", "", "dz parameters scalars"),
    "sum_parts": ("elements count", "", "gradient others"),
    # Activations.
    "activation": ("rows columns formula biased", "constants*", "z y bias"),
    "activation_back": ("rows columns formula", "constants*", "dy kept out"),
    "prelu": ("rows columns", "", "z slope out"),
    "prelu_back": ("rows columns", "", "dy z slope out"),
    "prelu_slope": ("rows columns", "", "dy z dslope"),
    "parametric": ("rows columns formula", "constants*", "x a out"),
    "parametric_back": ("rows columns formula by_output", "constants*", "dy x a da out"),
    "softmax": ("rows columns", "", "z out"),
    "softmax_back": ("rows columns", "", "dy y out"),
    # Targets and losses. r: what each row counts for; t may be labels.
    "targets": ("rows outputs by_label", "keep more", "t out"),
    "repeat": ("rows columns times", "", "y out"),
    "softmax_loss": ("rows outputs by_label", "", "z t r losses dz"),
    "column_loss": ("rows outputs formula", "constants*7 share", "z t r losses dz fixed*"),
    "kl_loss": ("rows outputs", "", "z t r losses dz"),
    "focal_loss": ("rows outputs", "gamma", "z t r losses dz alpha"),
    "softmax_head": (
        "rows inputs outputs formula slope_formula slope_of_z",
        "constants*",
        "z h b W bias labels r dz dh line log",
    ),
    # Layers.
    "sum": ("rows columns", "", "a b out"),
    "product": ("rows columns", "", "a b out"),
    "alpha_dropout": ("rows columns", "floor offset", "x mask out"),
    "mask": ("rows columns seed purpose item threshold", "scale", "out"),
    "mask_by": ("rows columns seed purpose item table_columns", "", "numbers out"),
    "normals": ("rows columns seed purpose item", "std", "out"),
    "standardise_rows": ("rows columns", "epsilon", "x xhat scale"),
    "unit_rows": ("rows columns", "epsilon", "x xhat scale"),
    "standardise_rows_back": ("rows columns centred", "", "dxhat xhat scale out"),
    "standardise_columns": ("rows columns", "epsilon", "x xhat mu variance scale"),
    "standardise_columns_back": ("rows columns centred", "", "dxhat xhat scale out"),
    "scale_shift": ("rows columns", "", "xhat gamma beta out"),
    "scale_shift_sums": ("rows columns", "", "dy xhat dgamma dbeta"),
    "track": ("elements", "momentum factor", "value running"),
    "apply_running": ("rows columns", "epsilon", "x mu variance gamma beta out"),
    # Embeddings. `starts`: where each column's part of a table begins, and the last one's ends.
    "look_up": ("rows columns inputs codes width", "", "x E starts out"),
    "look_up_sums": ("entries rows inputs codes width", "", "x dy starts dE"),
    "look_up_dx": ("rows columns outputs codes", "", "dy out"),
    "waves": ("rows columns inputs embedded width waves", "", "x w b V c out"),
    "waves_sums": (
        "rows all_waves inputs embedded width waves",
        "",
        "x dy w b V dw db dV dc",
    ),
    "waves_dx": ("rows columns outputs embedded width waves", "", "x dy w b V out"),
    "pieces": ("rows columns inputs embedded width", "", "x left size starts V c out"),
    "pieces_sums": ("bins rows inputs embedded width", "", "x dy left size starts dV dc"),
    "pieces_dx": ("rows columns outputs embedded width", "", "x dy left size starts V out"),
    # Updates. `scalars`: the step's numbers in the first row of a table, or one of them.
    **{f"rule_{name}": RULE for name in codes("rule")},
    "clip_values": ("elements", "limit", "gradient"),
    "sum_squares": ("elements", "", "gradient out"),
    "norm_factor": ("count", "limit", "squares out"),
    "scale_by": ("elements table_columns", "", "a factor"),
    "add_decay": ("elements", "decay", "parameters gradient"),
    "add": ("elements overwrites", "", "a out"),
    "blend": ("elements table_columns", "", "parameters keep weight out"),
    "penalty": ("elements", "l1 l2", "W loss weight"),
    "penalty_gradient": ("inputs outputs", "l1 twice_l2", "W dW weight"),
    "limit_norms": ("inputs outputs", "most", "W"),
    "norm": ("elements", "", "a out"),
    "lamb_direction": (
        "elements table_columns",
        "beta1 beta2 decay",
        "parameters gradient m v u scalars",
    ),
    "trust_ratio": ("elements", "", "parameters u out"),
    "descend": ("elements table_columns", "factor", "parameters u ratio scalars"),
    "muon_direction": ("elements nesterov", "momentum", "gradient m X"),
    "shrink": ("elements", "epsilon", "X norm"),
}
FIELDS = {name: Fields.of(*texts) for name, texts in _TEXTS.items()}
"""Operation -> its fields."""
