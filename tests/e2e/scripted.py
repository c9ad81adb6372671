"""A decoder that says what a script says, as a GGUF file: its next token
depends on the last one alone, by a table. What is tested is all around it: the
prompt, the frame, citations, judgements, caches.

    script(["▁Give", "▁2", "▁[", ("7", "1"), "]."])   bytes of a .gguf

The first token follows the line break that ends a prompt of ChatML; behind the
last one the turn ends. A tuple is tried in its order. A token may stand in a
script once, as the network knows nothing but the last one.
"""
import struct

F32, U32, REAL, TEXT, LIST, INT = 0, 4, 6, 8, 9, 5
FEED, HEADS = 32, 4
TEMPLATE = "{{'<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>'}}"


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", TEXT) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", REAL, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", U32, value)
    if isinstance(value[0], str):
        return (text(key) + struct.pack("<IIQ", LIST, TEXT, len(value)) +
                b"".join(map(text, value)))
    kind, letter = (INT, "i") if isinstance(value[0], int) else (REAL, "f")
    return (text(key) + struct.pack("<IIQ", LIST, kind, len(value)) +
            struct.pack(f"<{len(value)}{letter}", *value))


def flat(steps):
    for step in steps:
        yield from step if isinstance(step, tuple) else (step,)


def noisy(rows, cols, at, r, sd=0.1):
    """A matrix of small random numbers, with those of `at` added."""
    numbers = [r.gauss(0, sd) for _ in range(rows * cols)]
    for (i, k), value in at.items():
        numbers[i * cols + k] += value
    return struct.pack(f"<{rows * cols}f", *numbers)


def script(steps, context=8192, loops=False, end="<|im_end|>", noise=None,
           block=2):
    """noise: a random.Random; then no matrix is of zeros, choices are near each
    other and text is cut into these tokens, so that another one can be
    learnt. block: of what a head's numbers are a multiple."""
    words = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    classes = [2, 3, 3, 3, 3] + [6] * 256
    words += [f"<0x{i:02X}>" for i in range(256)]
    own = list(flat(steps))
    assert len(set(own)) == len(own), "a token stands twice"
    if noise:
        # Characters and beginnings, so that text comes to these tokens.
        parts = {w[:k] for w in own for k in range(1, len(w))}
        parts |= {c for w in own for c in w}
        parts = sorted(parts - set(own))
        words += parts
        classes += [1] * len(parts)
    words += own
    classes += [1] * len(own)
    head = -(-len(words) // (HEADS * block)) * block
    width = head * HEADS
    number = {word: i for i, word in enumerate(words)}
    # Rows of the output by columns of the last token.
    table = {}
    last = ["<0x0A>"]
    for step in steps:
        choices = step if isinstance(step, tuple) else (step,)
        for before in last:
            for k, word in enumerate(choices):
                table[number[word], number[before]] = (
                    10.0 - k * (0.2 if noise else 1))
        last = choices
    for before in last:
        after = own[0] if loops else end
        table[number[after], number[before]] = 10.0

    def matrix(rows, cols, at):
        data = bytearray(4 * rows * cols)
        for (i, k), value in at.items():
            struct.pack_into("<f", data, 4 * (i * cols + k), value)
        return bytes(data)

    one, n = struct.pack("<f", 1.0), len(words)
    tensors = [
        ("token_embd.weight", (width, n),
         matrix(n, width, {(i, i): 1.0 for i in range(n)})),
        ("output_norm.weight", (width,), one * width),
        ("output.weight", (width, n),
         noisy(n, width, table, noise, 0.03) if noise else
         matrix(n, width, table)),
        ("blk.0.attn_norm.weight", (width,), one * width),
        ("blk.0.ffn_norm.weight", (width,), one * width)]
    for name, cols, rows in (("attn_q", width, width), ("attn_k", width, head),
                             ("attn_v", width, head),
                             ("attn_output", width, width),
                             ("ffn_gate", width, FEED),
                             ("ffn_up", width, FEED),
                             ("ffn_down", FEED, width)):
        tensors.append((f"blk.0.{name}.weight", (cols, rows),
                        noisy(rows, cols, {}, noise) if noise and
                        name != "ffn_down" and name != "attn_output" else
                        matrix(rows, cols, {})))
    pairs = [pair("general.architecture", "llama"),
             pair("llama.context_length", context),
             pair("llama.block_count", 1),
             pair("llama.embedding_length", width),
             pair("llama.feed_forward_length", FEED),
             pair("llama.attention.head_count", HEADS),
             pair("llama.attention.head_count_kv", 1),
             pair("llama.attention.layer_norm_rms_epsilon", 1e-5),
             pair("llama.rope.dimension_count", head),
             pair("tokenizer.ggml.model", "llama"),
             pair("tokenizer.ggml.tokens", words),
             pair("tokenizer.ggml.scores", [0.0] * n),
             pair("tokenizer.ggml.token_type", classes),
             pair("tokenizer.ggml.bos_token_id", 1),
             pair("tokenizer.ggml.eos_token_id", 4),
             pair("tokenizer.ggml.unknown_token_id", 0),
             pair("tokenizer.chat_template", TEMPLATE)]
    infos, data = b"", b""
    for name, dims, raw in tensors:
        infos += (text(name) + struct.pack("<I", len(dims)) +
                  struct.pack(f"<{len(dims)}Q", *dims) +
                  struct.pack("<IQ", F32, len(data)))
        data += raw + b"\0" * (-len(raw) % 32)
    start = (b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) +
             b"".join(pairs) + infos)
    return start + b"\0" * (-len(start) % 32) + data
