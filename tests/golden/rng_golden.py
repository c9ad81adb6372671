#!/usr/bin/env python3
"""The first words of a few streams of common/base/rng, from their definition:
ChaCha20 (64-bit counter from 0, nonce 0) under BLAKE2b-256 of the three seed
words. The numbers stand in tests/base/test_rng.c.

    python3 tests/golden/rng_golden.py
"""
import hashlib
import struct


def rotate(v, n):
    return (v << n | v >> (32 - n)) & 0xffffffff


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8),
                       (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xffffffff
        s[z] = rotate(s[z] ^ s[x], n)


def block(key, counter):
    start = list(struct.unpack('<4I', b'expand 32-byte k'))
    start += struct.unpack('<8I', key)
    start += [counter & 0xffffffff, counter >> 32, 0, 0]
    s = start[:]
    for _ in range(10):
        quarter(s, 0, 4, 8, 12)
        quarter(s, 1, 5, 9, 13)
        quarter(s, 2, 6, 10, 14)
        quarter(s, 3, 7, 11, 15)
        quarter(s, 0, 5, 10, 15)
        quarter(s, 1, 6, 11, 12)
        quarter(s, 2, 7, 8, 13)
        quarter(s, 3, 4, 9, 14)
    return struct.pack('<16I', *((a + b) & 0xffffffff
                                 for a, b in zip(s, start)))


# Bernstein's test vector for the zero key and nonce.
assert block(bytes(32), 0).hex().startswith('76b8e0ada0f13d90405d6ae55386bd28')

for seed, a, b in ((0, 0, 0), (42, 7, 1), (2 ** 64 - 1, 0, 3)):
    key = hashlib.blake2b(struct.pack('<3Q', seed, a, b),
                          digest_size=32).digest()
    stream = block(key, 0) + block(key, 1)
    words = struct.unpack('<16Q', stream)
    print(seed, a, b, [hex(words[i]) for i in (0, 1, 7, 8, 15)])
