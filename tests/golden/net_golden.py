#!/usr/bin/env python3
"""What tiny networks of each family should give, worked out in f64 by the
models of the transformers library.

    python3 -m venv /tmp/golden
    /tmp/golden/bin/pip install torch transformers
    /tmp/golden/bin/python tests/golden/net_golden.py

writes net_golden_llama.h, …_mistral.h, …_qwen2.h, …_bert.h and …_cross.h
beside itself. The last one is a cross-encoder: a BertForSequenceClassification
with one output, its rows the logits of the two sequences, its loss their
binary cross-entropy with 1 and 0; and pairs of texts as the tokenizers library
makes sequences of them.

The weights are not stored: number i of a tensor is base + scale * u, u between
-1 and 1 from SplitMix64 whose seed is the FNV-1a hash of the tensor's name
(GGUF's), so the test draws the same ones. Norms and biases are random too:
zeros and ones would hide mistakes. Two sequences, of 24 and 9 tokens, are run
one by one; the loss is the mean over the labels of both. Of each tensor's
gradient the header holds the length and the dot products with two further
draws. Made with torch 2.15 and transformers 5.23; they are needed to make the
header again, not to run the tests.
"""
import math
import os
import numpy as np
import torch
import transformers as hf
from tokenizers.implementations import BertWordPieceTokenizer

LAYERS, D, HEADS, KV, WIDTH, FF, V, PLACES = 2, 32, 4, 2, 8, 64, 64, 40
LENGTHS = (24, 9)
out = []


def draw(name, n):
    seed = 0xcbf29ce484222325
    for b in name.encode():
        seed = (seed ^ b) * 0x100000001b3 % 2**64
    with np.errstate(over='ignore'):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * \
            np.uint64(0x9e3779b97f4a7c15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1).astype(
        np.float32)


class Tensor:
    """One tensor by its GGUF name, and where the model has it."""

    def __init__(self, name, place, rows, cols, heads=0):
        self.name, self.place = name, place
        self.rows, self.cols, self.heads = rows, cols, heads
        self.base = np.float32(1 if 'norm.weight' in name else 0)
        self.scale = np.float32(0.3)
        if rows > 1:
            self.scale = np.float32(1.5 / math.sqrt(cols))
        if name == 'token_embd.weight':
            self.scale = np.float32(1)

    def values(self):
        v = self.base + self.scale * draw(self.name, self.rows * self.cols)
        return v.astype(np.float32).reshape(self.rows, self.cols)

    def to_halves(self, v):
        """Rows in pairs, as GGUF has llama's q and k, to halves."""
        if not self.heads:
            return v
        return v.reshape(self.heads, -1, 2, v.shape[1]).swapaxes(
            1, 2).reshape(v.shape)

    def to_pairs(self, v):
        if not self.heads:
            return v
        return v.reshape(self.heads, 2, -1, v.shape[1]).swapaxes(
            1, 2).reshape(v.shape)


def decoder_tensors(biases, pairs, tied):
    list_ = [Tensor('token_embd.weight', 'model.embed_tokens.weight', V, D),
             Tensor('output_norm.weight', 'model.norm.weight', 1, D)]
    if not tied:
        list_.append(Tensor('output.weight', 'lm_head.weight', V, D))
    for i in range(LAYERS):
        a, b = f'blk.{i}.', f'model.layers.{i}.'
        s = b + 'self_attn.'
        for name, rows, heads in (('q', HEADS * WIDTH, HEADS),
                                  ('k', KV * WIDTH, KV), ('v', KV * WIDTH, 0)):
            list_.append(Tensor(f'{a}attn_{name}.weight', f'{s}{name}_proj.'
                                'weight', rows, D, heads if pairs else 0))
            if biases:
                list_.append(Tensor(f'{a}attn_{name}.bias',
                                    f'{s}{name}_proj.bias', 1, rows))
        list_ += [
            Tensor(a + 'attn_output.weight', s + 'o_proj.weight', D,
                   HEADS * WIDTH),
            Tensor(a + 'ffn_gate.weight', b + 'mlp.gate_proj.weight', FF, D),
            Tensor(a + 'ffn_up.weight', b + 'mlp.up_proj.weight', FF, D),
            Tensor(a + 'ffn_down.weight', b + 'mlp.down_proj.weight', D, FF),
            Tensor(a + 'attn_norm.weight', b + 'input_layernorm.weight', 1, D),
            Tensor(a + 'ffn_norm.weight', b +
                   'post_attention_layernorm.weight', 1, D)]
    return list_


def encoder_tensors():
    e = 'embeddings.'
    list_ = [Tensor('token_embd.weight', e + 'word_embeddings.weight', V, D),
             Tensor('position_embd.weight', e + 'position_embeddings.weight',
                    PLACES, D),
             Tensor('token_types.weight', e + 'token_type_embeddings.weight',
                    2, D)]
    both = [('token_embd_norm', e + 'LayerNorm', 1, D)]
    for i in range(LAYERS):
        a, b = f'blk.{i}.', f'encoder.layer.{i}.'
        s = b + 'attention.'
        both += [(a + 'attn_q', s + 'self.query', D, D),
                 (a + 'attn_k', s + 'self.key', D, D),
                 (a + 'attn_v', s + 'self.value', D, D),
                 (a + 'attn_output', s + 'output.dense', D, D),
                 (a + 'attn_output_norm', s + 'output.LayerNorm', 1, D),
                 (a + 'ffn_up', b + 'intermediate.dense', FF, D),
                 (a + 'ffn_down', b + 'output.dense', D, FF),
                 (a + 'layer_output_norm', b + 'output.LayerNorm', 1, D)]
    for name, place, rows, cols in both:
        list_.append(Tensor(name + '.weight', place + '.weight', rows, cols))
        list_.append(Tensor(name + '.bias', place + '.bias', 1,
                            cols if rows == 1 else rows))
    return list_


def tokens(n, salt):
    return [(7 * i * i + 3 * i + salt) % V for i in range(n)]


def fill(model, tensors):
    state = dict(model.named_parameters())
    seen = set()
    for t in tensors:
        p = state[t.place]
        v = torch.from_numpy(t.to_halves(t.values()).astype(np.float64))
        with torch.no_grad():
            p.copy_(v.reshape(p.shape))
        seen.add(t.place)
    assert set(state) == seen, set(state) ^ seen


def run_decoder(model, _head):
    rows, losses = [], []
    for n, salt in zip(LENGTHS, (5, 11)):
        x = torch.tensor([tokens(n, salt)])
        z = model(input_ids=x).logits[0]
        rows.append(z)
        losses.append(torch.nn.functional.cross_entropy(
            z[:-1], x[0, 1:], reduction='sum'))
    return rows, sum(losses) / (sum(LENGTHS) - len(LENGTHS))


def run_encoder(model, head):
    rows, losses = [], []
    for n, salt in zip(LENGTHS, (5, 11)):
        x = torch.tensor([tokens(n, salt)])
        kinds = torch.tensor([[int(i >= n // 2) for i in range(n)]])
        h = model(input_ids=x, token_type_ids=kinds).last_hidden_state[0]
        rows.append(h)
        z = h @ head[0].T + head[1]
        losses.append(torch.nn.functional.cross_entropy(z, x[0] % 3,
                                                        reduction='sum'))
    return rows, sum(losses) / sum(LENGTHS)


def run_cross(model, _head):
    rows, losses = [], []
    for n, salt, label in zip(LENGTHS, (5, 11), (1., 0.)):
        x = torch.tensor([tokens(n, salt)])
        kinds = torch.tensor([[int(i >= n // 2) for i in range(n)]])
        z = model(input_ids=x, token_type_ids=kinds).logits[0]
        rows.append(z)
        losses.append(torch.nn.functional.binary_cross_entropy_with_logits(
            z, torch.tensor([label], dtype=z.dtype), reduction='sum'))
    return rows, sum(losses) / len(LENGTHS)


def cross_tensors():
    list_ = [Tensor(t.name, 'bert.' + t.place, t.rows, t.cols)
             for t in encoder_tensors()]
    for name, place, rows in (('cls', 'bert.pooler.dense', D),
                              ('cls.output', 'classifier', 1)):
        list_.append(Tensor(name + '.weight', place + '.weight', rows, D))
        list_.append(Tensor(name + '.bias', place + '.bias', 1, rows))
    return list_


WORDS = ('[PAD] [UNK] [CLS] [SEP] [MASK] how much warfarin start with 5 mg at '
         'night in the even ##ing . ?').split()
PASSAGE = ('Start with 5 mg in the evening. Start warfarin at night, with 5 '
           'mg at night.')
PAIRS = (('How much warfarin?', PASSAGE, 64), ('How much warfarin?', PASSAGE,
         16), ('warfarin', 'night', 8), ('warfarin at night', PASSAGE, 12))


def emit_pairs():
    vocab = {w: i for i, w in enumerate(WORDS)}
    tokenizer = BertWordPieceTokenizer(vocab=vocab, lowercase=True)
    out.append('static const char cross_words[] =')
    for i in range(0, len(WORDS), 8):
        line = ''.join(w + '\\n' for w in WORDS[i:i + 8])
        out.append(f'    "{line}"' + ';' * (i + 8 >= len(WORDS)))
    out.append('static const struct golden_pair_text cross_texts[] = {')
    for question, passage, most in PAIRS:
        tokenizer.enable_truncation(most, strategy='only_second')
        got = tokenizer.encode(question, passage)
        second = got.type_ids.index(1)
        assert set(got.type_ids[second:]) == {1}
        out.append(f'    {{"{question}",')
        for i in range(0, len(passage), 64):
            out.append(f'     "{passage[i:i + 64]}"' +
                       ',' * (i + 64 >= len(passage)))
        out.append(f'     {most}, {len(got.ids)}, {second},')
        out.append('     {')
        for i in range(0, len(got.ids), 16):
            ids = ', '.join(map(str, got.ids[i:i + 16]))
            out.append(f'      {ids},')
        out.append('     }},')
    out.append('};')


def numbers(values):
    lines, line = [], '    '
    for v in values:
        piece = f'{float(v):.7g}'
        if 'e' not in piece and '.' not in piece:
            piece += '.0'
        piece += 'f,'
        if len(line) + len(piece) > 78:
            lines.append(line.rstrip())
            line = '    '
        line += piece + ' '
    lines.append(line.rstrip())
    return lines


def emit(name, values):
    flat = [v for r in values for v in np.asarray(r).reshape(-1)]
    out.append(f'static const float {name}[{len(flat)}] = {{')
    out.extend(numbers(flat))
    out.append('};')


def write(name):
    guard = f'TACIT_TESTS_GOLDEN_NET_GOLDEN_{name.upper()}_H'
    text = f'''/*
 * net_golden_{name}: what tests/golden/net_golden.py worked out; made by it,
 * not by hand.
 */
#ifndef {guard}
#define {guard}

#include "tests/golden/net_golden.h"

/* clang-format off */
'''
    text += '\n'.join(out) + '\n/* clang-format on */\n\n#endif\n'
    out.clear()
    path = os.path.join(os.path.dirname(__file__), f'net_golden_{name}.h')
    with open(path, 'w') as f:
        f.write(text)


def golden(name, model, tensors, run, pairs):
    model = model.double().eval()
    fill(model, tensors)
    head = []
    every = list(tensors)
    if run is run_encoder:
        every += [Tensor('head.weight', None, 3, D),
                  Tensor('head.bias', None, 1, 3)]
        head = [torch.from_numpy(t.values().astype(np.float64))
                .squeeze(0 if t.rows == 1 else -1).requires_grad_()
                for t in every[-2:]]
    rows, loss = run(model, head)
    loss.backward()
    state = dict(model.named_parameters())
    out.append(f'static const struct golden_tensor {name}_tensors[] = {{')
    for t in every:
        p = state[t.place] if t.place else head[t.rows == 1]
        g = t.to_pairs(p.grad.numpy().reshape(t.rows, t.cols)).reshape(-1)
        dots = [g @ draw(t.name + k, g.size).astype(np.float64)
                for k in ('#1', '#2')]
        out.append(f'    {{"{t.name}", {t.rows}, {t.cols}, {t.base:.9g}, '
                   f'{t.scale:.9g},')
        out.append(f'     {np.linalg.norm(g):.8g}, {dots[0]:.8g}, '
                   f'{dots[1]:.8g}}},')
    out.append('};')
    out.append(f'static const struct golden_pair {name}_pairs[] = {{')
    for key, value in pairs:
        out.append(f'    {{"{key}", {value!r}, {int(type(value) is float)}}},')
    out.append('};')
    emit(name + '_rows', [r.detach().numpy() for r in rows])
    if run is run_encoder:
        means = [r.detach().mean(0) for r in rows]
        emit(name + '_vectors', [(m / m.norm()).numpy() for m in means])
    step = torch.optim.AdamW(list(model.parameters()) + head, lr=3e-3,
                             weight_decay=0.01)
    losses = []
    for _ in range(10):
        step.zero_grad()
        _, loss = run(model, head)
        losses.append(loss.item())
        loss.backward()
        step.step()
    emit(name + '_losses', [losses])
    write(name)


def decoder(name, kind, config, family, biases, tied, extra, pairs=True):
    common = dict(vocab_size=V, hidden_size=D, intermediate_size=FF,
                  num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                  num_key_value_heads=KV, max_position_embeddings=512,
                  rms_norm_eps=1e-5, tie_word_embeddings=tied,
                  attn_implementation='eager')
    common.update(config)
    model = kind(kind.config_class(**common))
    meta = [('block_count', LAYERS), ('embedding_length', D),
            ('feed_forward_length', FF), ('attention.head_count', HEADS),
            ('attention.head_count_kv', KV), ('context_length', 512),
            ('attention.layer_norm_rms_epsilon', 1e-5)] + extra
    golden(name, model, decoder_tensors(biases, pairs, tied), run_decoder,
           [(f'{family}.{k}', v) for k, v in meta])


def llama3_factors(base, factor, low, high, original):
    """Frequency factors as files have them: rope_freqs.weight."""
    values = []
    for j in range(WIDTH // 2):
        wave = 2 * math.pi * base**(2 * j / WIDTH)
        if wave < original / high:
            values.append(1.0)
        elif wave > original / low:
            values.append(float(factor))
        else:
            smooth = (original / wave - low) / (high - low)
            values.append(1 / ((1 - smooth) / factor + smooth))
    return values


def main():
    rope = dict(rope_type='llama3', rope_theta=500.0, factor=8.0,
                low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64)
    emit('llama_factors', [llama3_factors(500.0, 8, 1, 4, 64)])
    decoder('llama', hf.LlamaForCausalLM, dict(rope_parameters=rope), 'llama',
            False, True, [('rope.freq_base', 500.0)])
    plain = dict(rope_type='default', rope_theta=10000.0)
    decoder('mistral', hf.MistralForCausalLM,
            dict(rope_parameters=plain, sliding_window=8, head_dim=WIDTH),
            'llama', False, False, [('attention.sliding_window', 8)])
    decoder('qwen2', hf.Qwen2ForCausalLM, dict(rope_parameters=dict(
        rope_type='default', rope_theta=1e6)), 'qwen2', True, False,
            [('rope.freq_base', 1e6)], pairs=False)
    shape = dict(vocab_size=V, hidden_size=D, intermediate_size=FF,
                 num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                 max_position_embeddings=PLACES, layer_norm_eps=1e-12,
                 hidden_act='gelu', attn_implementation='eager')
    meta = [('block_count', LAYERS), ('embedding_length', D),
            ('feed_forward_length', FF), ('attention.head_count', HEADS),
            ('attention.layer_norm_epsilon', 1e-12)]
    model = hf.BertModel(hf.BertConfig(**shape), add_pooling_layer=False)
    golden('bert', model, encoder_tensors(), run_encoder,
           [('bert.' + k, v) for k, v in meta + [('pooling_type', 1)]])
    emit_pairs()
    model = hf.BertForSequenceClassification(hf.BertConfig(
        **shape, num_labels=1))
    golden('cross', model, cross_tensors(), run_cross,
           [('bert.' + k, v) for k, v in meta + [('pooling_type', 4)]])


main()
