"""The text of the module that an exported model is."""

from __future__ import annotations

import textwrap

import numpy as np

from mlpx.export.answers import Answers
from mlpx.export.plain.code import Code, texts
from mlpx.export.plain.layers import add_layer
from mlpx.export.plain.literals import assigned, listed
from mlpx.export.sites import sites
from mlpx.kernels.special import TAIL
from mlpx.network.network import Network

IMPORTS = (
    "import json", "import math", "import zlib", "from pathlib import Path",
    "from typing import Any",
)  # fmt: skip

READ = '''
def read(path: Path) -> dict[str, np.ndarray]:
    """The parameters in the file beside this one: the length of a header, the header, numbers."""
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    if zlib.crc32(content[begin:]) != CHECKSUM:
        raise ValueError(f"{path} is damaged, or was not written together with {__file__}")
    header, found = json.loads(content[8:begin]), {}
    for name, shape in SHAPES.items():
        if tuple(header[name]["shape"]) != shape:
            raise ValueError(f"{path}: {name} has shape {header[name]['shape']}; wanted {shape}")
        at = begin + header[name]["data_offsets"][0]
        found[name] = np.frombuffer(content, DTYPE, math.prod(shape), at).reshape(shape)
    return found


p = read(Path(__file__).with_suffix(".safetensors"))
'''

ROWS = '''
def rows(x: Any) -> np.ndarray:
    """x as finite numbers (n, COLUMNS)."""
    x = np.asarray(x, DTYPE)
    if x.ndim != 2 or x.shape[1] != COLUMNS:
        raise ValueError(f"x.shape = {x.shape}; wanted (n, {COLUMNS})")
    if not np.isfinite(x).all():
        raise ValueError("x holds NaN or infinity; wanted finite numbers")
    return x
'''


def module(
    model: Network,
    answers: Answers,
    *,
    stem: str,
    version: str,
    checksum: int,
    before: str | None,
    after: str | None,
    temperature: float = 1.0,
) -> str:
    """The whole module for `model`, whose file will be called `stem`.py."""
    code = Code()
    for site in sites(model):
        add_layer(code, site, "x")
    given = "x" if before is None else "columns"
    over = "" if temperature == 1.0 else f" / {temperature!r}"
    ends = _ends(answers, code, given, k=model.d_out, finishes=after is not None, over=over)
    brought, before = _brought(before)
    functions = texts(code.called)
    parts = [
        _head(model, answers, brought, stem=stem, version=version)
        + _constants(model, answers, checksum, code, tailed="scaled_tail" in "".join(functions)),
        *ends,
        _outputs(model, code),
        *(textwrap.dedent(part) for part in (before, after) if part is not None),
        ROWS,
        *functions,
        READ,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _brought(before: str | None) -> tuple[list[str], str | None]:
    """The lines of `before` that import something, with which it may begin, and the rest."""
    lines = textwrap.dedent(before or "").lstrip("\n").splitlines()
    at = next((i for i, line in enumerate(lines) if not line.startswith(("import ", "from "))), 0)
    return lines[:at], before if before is None else "\n".join(lines[at:])


def _head(model: Network, answers: Answers, brought: list[str], *, stem: str, version: str) -> str:
    """The docstring of the module and its imports."""
    imports = "\n".join(sorted({*IMPORTS, *brought}, key=_import_order))
    named = stem if stem.isidentifier() else "this_module"
    net = f"{model.d_in} columns to {model.d_out}, {model.parameter_count:,} parameters"
    offered = "predict, predict_proba" if answers.has_probabilities else "predict"
    return f'''
"""A multi-layer perceptron as plain NumPy: {net}, {model.dtype}::

    from {named} import {offered}

The parameters are in the file of this name that ends in .safetensors, beside this one.
Written by mlpx {version}, which is not needed here.
"""

from __future__ import annotations

{imports}

import numpy as np

'''


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith("from "), line


def _constants(model: Network, answers: Answers, checksum: int, code: Code, *, tailed: bool) -> str:
    """What the rest refers to by names in capitals."""
    shapes = {name: value.shape for name, value in model.parameters.items()}
    lines = [
        f"COLUMNS = {model.d_in}",
        f'DTYPE = np.dtype("<f{model.dtype.itemsize}")',
        f"CHECKSUM = 0x{checksum:08X}",
        "SHAPES = {",
        *(f'    "{name}": {shape},' for name, shape in shapes.items()),
        "}",
    ]
    if answers.names is not None:
        kind = ", np.uint64" if answers.names.dtype == np.uint64 else ""
        lines += listed("CLASSES = np.array([", answers.names.tolist(), f"]{kind})")
    for name, values in code.constants.items():
        lines += assigned(name, values)
    if tailed:
        lines += listed("TAIL = (", TAIL[model.dtype.name], ")")
    return "\n".join(lines)


def _outputs(model: Network, code: Code) -> str:
    body = textwrap.indent("\n".join(["x = rows(x)", *code.lines, "return x"]), "    ")
    return f'''
def outputs(x: Any) -> np.ndarray:
    """The outputs of the last layer (n, {model.d_out}) for x (n, {model.d_in})."""
{body}
'''


def _ends(
    answers: Answers, code: Code, given: str, *, k: int, finishes: bool, over: str
) -> list[str]:
    """The functions that are asked, of what is called `given`: rows x, or what they are made of;
    `over`: " / T" if probabilities have a temperature.
    """
    z = "outputs(x)" if given == "x" else f"outputs(prepare({given}))"
    if answers.kind == "values":
        value = "np.exp(z)" if answers.link == "exp" else "z"
        value = f"finish({value})" if finishes else value
        shape = "" if finishes else f" (n, {k})"
        return [_function("predict", given, f"The values for each row{shape}.", _exp(value, z))]
    asked = [_function("predict", given, *_prediction(answers, z))]
    if answers.has_probabilities:
        lines = _probabilities(answers, code, z + over)
        each = f"label (n, {k})" if answers.kind == "labels" else f"class (n, {max(k, 2)})"
        asked.append(_function("predict_proba", given, f"The probability of each {each}.", lines))
    return asked


def _exp(value: str, z: str) -> list[str]:
    """The lines that return a value made of z; the rate of a Poisson may be infinite."""
    if "exp" not in value:
        return [f"return {value.replace('z', z)}"]
    return [f"z = {z}", 'with np.errstate(over="ignore"):', f"    return {value}"]


def _prediction(answers: Answers, z: str) -> tuple[str, list[str]]:
    """What is predicted, in words, and the lines that return it."""
    if answers.kind == "labels":
        return "0 or 1 for each label of each row.", [f"return ({z} > 0).astype(np.int64)"]
    index = f"{z}.argmax(axis=1)"
    if answers.kind == "yes or no":
        index = f"({z}[:, 0] > 0).astype(np.int64)"
    if answers.names is not None:
        index = f"CLASSES[{index}]"
    return "The class of each row (n,).", [f"return {index}"]


def _probabilities(answers: Answers, code: Code, z: str) -> list[str]:
    if answers.kind == "yes or no":
        both = f"{code.call('sigmoid', '-z')}, {code.call('sigmoid', 'z')}"
        return [f"z = {z}", f"return np.concatenate(({both}), axis=1)"]
    return [f"return {code.call(str(answers.link), z)}"]


def _function(name: str, given: str, doc: str, lines: list[str]) -> str:
    body = textwrap.indent("\n".join([f'"""{doc}"""', *lines]), "    ")
    return f"def {name}({given}: Any) -> np.ndarray:\n{body}"
