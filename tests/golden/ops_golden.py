#!/usr/bin/env python3
"""What ops, losses and optimisers should give, worked out with NumPy in f64.

    python3 tests/golden/ops_golden.py > tests/golden/ops_golden.h

Written from the formulas in common/tensor/ops.h and optim.h, not from their
code. NumPy is needed to make the header again, not to run the tests.
"""
import math

import numpy as np

rng = np.random.RandomState(20)
out = []


def emit(name, values, kind='float'):
    flat = np.asarray(values).reshape(-1)
    words = []
    for v in flat:
        if kind == 'uint32_t':
            words.append(str(int(v)))
        else:
            text = repr(float(np.float32(v)))
            words.append(text + 'f')
    lines, line = [], '   '
    for i, w in enumerate(words):
        piece = ' ' + w + (',' if i + 1 < len(words) else '')
        if len(line) + len(piece) > 78:
            lines.append(line)
            line = '   '
        line += piece
    lines.append(line)
    out.append(f'static const {kind} {name}[{len(words)}] = {{')
    out.extend(lines)
    out.append('};')


def f32(*shape):
    """Random numbers that a float holds exactly, away from ReLU's corner."""
    v = rng.randn(*shape).astype(np.float32)
    v[np.abs(v) < 0.05] += 0.1
    return v.astype(np.float64)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(z, y):
    return -np.log(softmax(z)[np.arange(len(y)), y]).mean()


B, K, N, V = 4, 3, 5, 7
x, w, b, y = f32(B, K), f32(K, N), f32(1, N), f32(B, K)
for name, v in (('g_x', x), ('g_w', w), ('g_b', b), ('g_y', y)):
    emit(name, v)
emit('g_matmul', x @ w)
emit('g_add_bias', x @ w + b)
emit('g_add', x + y)
emit('g_relu', np.maximum(x, 0))
emit('g_tanh', np.tanh(x))
emit('g_gelu', 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))
zeroed = x.copy()
zeroed[2] = 0
length = np.sqrt((zeroed ** 2).sum(axis=1, keepdims=True))
emit('g_x_zero_row', zeroed)
emit('g_normalise', zeroed / np.where(length > 0, length, 1))

table = f32(V, K)
start = [0, 3, 3, 4, 6]
bag_id = [6, 0, 6, 2, 1, 5]
weight = f32(6)
bags = np.stack([sum((weight[i] * table[bag_id[i]]
                      for i in range(start[r], start[r + 1])), np.zeros(K))
                 for r in range(4)])
emit('g_table', table)
emit('g_bag_start', start, 'uint32_t')
emit('g_bag_id', bag_id, 'uint32_t')
emit('g_bag_weight', weight)
emit('g_bags', bags)

z = f32(B, 1) * 3
labels = np.array([1, 0, 0, 1])
emit('g_z', z)
emit('g_labels', labels)
p = 1 / (1 + np.exp(-z[:, 0]))
emit('g_bce', [-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()])
emit('g_mse', [((z[:, 0] - y[:, 0]) ** 2).mean()])
emit('g_mse_target', y[:, 0])
classes = np.array([4, 0, 2, 2])
emit('g_classes', classes, 'uint32_t')
emit('g_softmax_ce', [cross_entropy(x @ w, classes)])
q = f32(B, K)
q /= np.linalg.norm(q, axis=1, keepdims=True)
d = f32(B, K)
d /= np.linalg.norm(d, axis=1, keepdims=True)
q, d = q.astype(np.float32).astype(float), d.astype(np.float32).astype(float)
emit('g_q', q)
emit('g_d', d)
emit('g_contrastive', [cross_entropy(q @ d.T / 0.07, np.arange(B))])

# Optimisers on f(w) = sum_i (w_i - i)^2 s_i / 2, ten steps from g_start.
STEPS, M = 10, 4
w0, scale = f32(M), np.array([0.5, 1.0, 2.0, 4.0])
goal = np.arange(M)
emit('g_start', w0)


def run(step):
    at, state = w0.copy(), {}
    trace = []
    for t in range(1, STEPS + 1):
        at = step(at, (at - goal) * scale, t, state)
        trace.append(at.copy())
    return np.array(trace)


def sgd(lr, momentum, decay):
    def step(at, g, t, s):
        g = g + decay * at
        s['m'] = momentum * s.get('m', 0) + g
        return at - lr * s['m']
    return step


def adam(lr, coupled, decoupled):
    def step(at, g, t, s):
        g = g + coupled * at
        s['m'] = 0.9 * s.get('m', 0) + 0.1 * g
        s['v'] = 0.999 * s.get('v', 0) + 0.001 * g * g
        m, v = s['m'] / (1 - 0.9 ** t), s['v'] / (1 - 0.999 ** t)
        return at - lr * decoupled * at - lr * m / (np.sqrt(v) + 1e-8)
    return step


emit('g_sgd', run(sgd(0.1, 0, 0)))
emit('g_sgd_momentum', run(sgd(0.05, 0.9, 0.01)))
emit('g_adam', run(adam(0.05, 0.1, 0)))
emit('g_adamw', run(adam(0.05, 0, 0.1)))

print('''/*
 * ops_golden: what tests/golden/ops_golden.py worked out; made by it, not by
 * hand.
 */
#ifndef TACIT_TESTS_GOLDEN_OPS_GOLDEN_H
#define TACIT_TESTS_GOLDEN_OPS_GOLDEN_H

#include <stdint.h>

/* clang-format off */''')
print('\n'.join(out))
print('/* clang-format on */\n\n#endif')
