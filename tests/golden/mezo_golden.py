#!/usr/bin/env python3
"""The golden hash of tests/tensor/test_mezo.c: 40,000 weights rebuilt along 130
directions by numpy, from the definitions of common/base/rng and common/tensor/
mezo alone: a direction's name is a stream's first word, its signs are the bits
of SplitMix64 from there, and every weight adds its steps in their order.

    python3 tests/golden/mezo_golden.py
"""
import hashlib
import struct

import numpy as np

from rng_golden import block

N, K, SEED = 40000, 130, 42
MASK = (1 << 64) - 1


def direction(seed, number):
    key = hashlib.blake2b(struct.pack("<3Q", seed, 0x6d657a6f, number),
                          digest_size=32).digest()
    return struct.unpack("<Q", block(key, 0)[:8])[0]


def word(x, i):
    z = (x + (i + 1) * 0x9e3779b97f4a7c15) & MASK
    z = ((z ^ z >> 30) * 0xbf58476d1ce4e5b9) & MASK
    z = ((z ^ z >> 27) * 0x94d049bb133111eb) & MASK
    return z ^ z >> 31


w = np.float32(1) / np.arange(1, N + 1, dtype=np.float32)
for j in range(K):
    x = direction(SEED, j)
    words = np.array([word(x, i) for i in range(N // 64 + 1)], dtype="<u8")
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")[:N]
    by = np.float32(1) / np.float32(3 + j)
    w = w + np.where(bits == 1, -by, by).astype(np.float32)
assert w.dtype == np.float32
print(hashlib.blake2b(w.astype("<f4").tobytes(), digest_size=32).hexdigest())
