#!/usr/bin/env python3
"""Golden values of test_keys.c and test_prg.c, from definitions of their own.

Prints the fingerprint of the key 00 01 ... 1f (first 160 bits of its
BLAKE2b-256, five bits a letter) and, for the same key, coordinates of the mask
stream (ChaCha20 of RFC 8439, nonce 0, counter from 0) for both rings.
"""
import hashlib
import struct

KEY = bytes(range(32))
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def fingerprint(key):
    top = int.from_bytes(hashlib.blake2b(key, digest_size=32).digest(), "big")
    text = "".join(LETTERS[top >> (251 - 5 * i) & 31] for i in range(32))
    return "-".join(text[i:i + 4] for i in range(0, 32, 4))


def rotate(x, n):
    return (x << n | x >> (32 - n)) & 0xffffffff


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12),
                       (a, b, d, 8), (c, d, b, 7)):
        s[x] = s[x] + s[y] & 0xffffffff
        s[z] = rotate(s[z] ^ s[x], n)


def block(key, counter):
    start = list(struct.unpack("<4I", b"expand 32-byte k"))
    start += list(struct.unpack("<8I", key)) + [counter, 0, 0, 0]
    s = start[:]
    for _ in range(10):
        for i in range(4):
            quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *(a + b & 0xffffffff for a, b in zip(s, start)))


print("fingerprint", fingerprint(KEY))
stream = b"".join(block(KEY, i) for i in range(640))
for width in (4, 3):
    w = [int.from_bytes(stream[width * i:width * i + width], "little")
         for i in range(10000)]
    print(8 * width, [hex(w[i]) for i in (0, 1, 4095, 4096, 8192, 9999)],
          "sum", hex(sum(w) % (1 << 8 * width)))
