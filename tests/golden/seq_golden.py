#!/usr/bin/env python3
"""What convolutions, norms, sequence ops and the Cox loss should give, worked
out with NumPy in f64.

    python3 tests/golden/seq_golden.py > tests/golden/seq_golden.h

Written from the formulas in common/tensor/ops_conv.h, ops_norm.h, ops_seq.h and
ops.h with plain loops, not from their code. NumPy is needed to make the header
again, not to run the tests.
"""
import numpy as np

rng = np.random.RandomState(31)
out = []


def emit(name, values, kind='float'):
    flat = np.asarray(values).reshape(-1)
    words = [str(int(v)) if kind != 'float' else
             repr(float(np.float32(v))) + 'f' for v in flat]
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
    return rng.randn(*shape).astype(np.float32).astype(np.float64)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def conv(x, w, b, pad):
    n, _, high, wide = x.shape
    p = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k = w.shape[2]
    y = np.zeros((n, len(w), high + 2 * pad - k + 1, wide + 2 * pad - k + 1))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = p[:, :, i:i + k, j:j + k]
            y[:, :, i, j] = np.einsum('nchw,ochw->no', window, w) + b
    return y


def pool(x):
    high, wide = x.shape[2] // 2, x.shape[3] // 2
    return np.array([[[[plane[2 * i:2 * i + 2, 2 * j:2 * j + 2].max()
                        for j in range(wide)] for i in range(high)]
                      for plane in image] for image in x])


def norm(x, axes, gain, bias):
    mean = x.mean(axis=axes, keepdims=True)
    var = x.var(axis=axes, keepdims=True)
    return gain * (x - mean) / np.sqrt(var + 1e-5) + bias


# Two images of 3 channels, 7 x 9.
x, w, b = f32(2, 3, 7, 9), f32(4, 3, 3, 3), f32(4)
for name, v in (('c_x', x), ('c_w', w), ('c_b', b)):
    emit(name, v)
emit('c_valid', conv(x, w, b, 0))
emit('c_padded', conv(x, w, b, 1))
emit('c_pooled', pool(np.maximum(conv(x, w, b, 1), 0)))
emit('c_pool', pool(x))

gain, bias = f32(1, 4, 1, 1), f32(1, 4, 1, 1)
image = f32(3, 4, 2, 3)
emit('n_x', image)
emit('n_gain', gain)
emit('n_bias', bias)
emit('n_batch', norm(image, (0, 2, 3), gain, bias))
groups = image.reshape(3, 2, 2, 2, 3)
emit('n_group', norm(groups, (2, 3, 4), gain.reshape(1, 2, 2, 1, 1),
                     bias.reshape(1, 2, 2, 1, 1)))
emit('n_mean', image.mean(axis=(0, 2, 3)))
emit('n_var', image.transpose(1, 0, 2, 3).reshape(4, -1).var(axis=1, ddof=1))
emit('n_fixed', gain * (image - 0.25) / np.sqrt(2 + 1e-5) + bias)
rows = image.reshape(18, 4)
emit('n_layer', norm(rows, (1,), gain.reshape(1, 4), bias.reshape(1, 4)))

# Recurrence: T = 3, B = 2, 4 inputs, 3 states.
T, B, IN, H = 3, 2, 4, 3
xs = f32(T, B, IN)
wg, ug, bg, cg = f32(IN, 3 * H), f32(H, 3 * H), f32(3 * H), f32(3 * H)
wl, ul, bl = f32(IN, 4 * H), f32(H, 4 * H), f32(4 * H)
for name, v in (('s_x', xs), ('s_gru_w', wg), ('s_gru_u', ug),
                ('s_gru_b', bg), ('s_gru_c', cg), ('s_lstm_w', wl),
                ('s_lstm_u', ul), ('s_lstm_b', bl)):
    emit(name, v)
h, seen = np.zeros((B, H)), []
for step in xs:
    a, s = step @ wg + bg, h @ ug + cg
    r, z = (sigmoid(a[:, i * H:(i + 1) * H] + s[:, i * H:(i + 1) * H])
            for i in (0, 1))
    n = np.tanh(a[:, 2 * H:] + r * s[:, 2 * H:])
    h = (1 - z) * n + z * h
    seen.append(h)
emit('s_gru', seen)
h, c, seen = np.zeros((B, H)), np.zeros((B, H)), []
for step in xs:
    a = step @ wl + h @ ul + bl
    i, f, g, o = (a[:, k * H:(k + 1) * H] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    seen.append(h)
emit('s_lstm', seen)

# Attention: 2 sequences of 5 steps, 2 heads of 3.
qkv = f32(2, 5, 18)
emit('a_qkv', qkv)
att = np.zeros((2, 5, 6))
for s in range(2):
    for head in range(2):
        q, k, v = (qkv[s, :, p * 6 + head * 3:p * 6 + head * 3 + 3]
                   for p in range(3))
        for t in range(5):
            score = q[t] @ k[:t + 1].T / np.sqrt(3)
            e = np.exp(score - score.max())
            att[s, t, head * 3:head * 3 + 3] = (e / e.sum()) @ v[:t + 1]
emit('a_out', att)

# Cox: times with ties, events among them.
z = f32(8)
time = np.array([3, 1, 4, 1, 5, 3, 3, 6])
event = np.array([1, 1, 0, 1, 1, 1, 0, 0])
emit('x_z', z)
emit('x_time', time)
emit('x_event', event)
loss = [-(z[i] - np.log(np.exp(z[time >= time[i]]).sum()))
        for i in range(8) if event[i]]
emit('x_loss', [np.mean(loss)])

print('''/*
 * seq_golden: what tests/golden/seq_golden.py worked out; made by it, not by
 * hand.
 */
#ifndef TACIT_TESTS_GOLDEN_SEQ_GOLDEN_H
#define TACIT_TESTS_GOLDEN_SEQ_GOLDEN_H

#include <stdint.h>

/* clang-format off */''')
print('\n'.join(out))
print('/* clang-format on */\n\n#endif')
