#!/usr/bin/env python3
"""Blocks of every type of common/tensor/quant.h and what they stand for, by the
reader of PyPI's gguf (0.17 or later) and NumPy.

    python3 tests/golden/quant_golden.py > tests/golden/quant_golden.h

Bytes are drawn, scales too, so that every bit of a block matters; what is
written back is drawn from a normal distribution."""
import numpy
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

random = numpy.random.default_rng(11)
# Type: where its f16 numbers stand in a block.
READ = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
        "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "F16": [0], "BF16": []}
WRITTEN = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16"]


def listing(values):
    lines, line = [], "   "
    for v in values:
        if len(line) + len(v) + 2 > 80:
            lines.append(line)
            line = "   "
        line += f" {v},"
    return "\n".join(lines + [line])


def c_array(kind, name, values):
    print(f"static const {kind} {name}[] = {{\n{listing(values)}\n}};")


def c_bytes(name, data):
    c_array("uint8_t", name, [str(b) for b in data.tobytes()])


def c_floats(name, data):
    c_array("float", name, [
        (f"{v:.9g}" if any(c in f"{v:.9g}" for c in ".e") else f"{v:.9g}.")
        + "F" for v in data.astype(float)])


def read(name, at):
    kind = GGMLQuantizationType[name]
    numbers, size = GGML_QUANT_SIZES[kind]
    blocks = 64 // numbers if numbers <= 64 else 1
    data = random.integers(0, 256, (blocks, size), dtype=numpy.uint8)
    for place in at:
        scale = random.normal(size=blocks).astype(numpy.float16)
        data[:, place:place + 2] = scale.view(numpy.uint8).reshape(blocks, 2)
    if name == "BF16":
        data[:, 1] = (data[:, 1] & 0x80) | 0x3f
    c_bytes(f"{name.lower()}_bytes", data)
    c_floats(f"{name.lower()}_numbers",
             quants.dequantize(data.reshape(-1), kind))


print("/* Made by tests/golden/quant_golden.py. */")
print("#ifndef TACIT_TESTS_GOLDEN_QUANT_GOLDEN_H")
print("#define TACIT_TESTS_GOLDEN_QUANT_GOLDEN_H\n")
print("#include <stdint.h>\n\n/* clang-format off */")
for name, at in READ.items():
    read(name, at)
x = random.normal(size=96).astype(numpy.float32)
x[32:64] = numpy.abs(x[32:64]) * 40
x[64:] = 0
c_floats("written_numbers", x)
for name in WRITTEN:
    c_bytes(f"{name.lower()}_written",
            quants.quantize(x, GGMLQuantizationType[name]))
print("/* clang-format on */\n\n#endif")
