"""The peer of bench_net.py: PyTorch trains the same shapes.

    peer_torch_net.py lora|tune|embed|embed_mixed f32|bf16 COUNT THREADS SECONDS

lora: SmolLM2-135M, COUNT sequences of 256 tokens, pairs of rank 8 beside every
matrix, AdamW; tokens per second. tune: MiniLM-L6, COUNT pairs of sentences of
128 tokens, all weights, in-batch negatives, AdamW; sentences per second. embed:
COUNT sentences of 128 tokens (embed_mixed: of 16 to 128, in one padded batch)
through transformers' BertModel and the mean over each, which is what
sentence-transformers runs; or, without transformers, this encoder. bf16
keeps the frozen weights in it and casts the rest as it goes. Prints the figure
by CPU time and by wall time, best of several steps, and the peak in MiB.
"""
import os
import resource
import sys
import time

WORK, KIND = sys.argv[1:3]
COUNT, THREADS, SECONDS = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
os.environ["OMP_NUM_THREADS"] = str(THREADS)
os.environ["OMP_WAIT_POLICY"] = "passive"
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

BF16 = KIND == "bf16"


class Pair(nn.Module):
    """A frozen matrix and a pair of low rank."""

    def __init__(self, n_in, n_out, rank=8):
        super().__init__()
        w = torch.randn(n_out, n_in) / n_in ** 0.5
        self.w = nn.Parameter(w.bfloat16() if BF16 else w, requires_grad=False)
        self.a = nn.Parameter(torch.randn(rank, n_in) / n_in ** 0.5)
        self.b = nn.Parameter(torch.zeros(n_out, rank))

    def forward(self, x):
        return F.linear(x, self.w) + 2 * F.linear(F.linear(x, self.a), self.b)


class Decoder(nn.Module):
    """One block of SmolLM2-135M."""

    def __init__(self, d=576, heads=9, kv=3, feed=1536):
        super().__init__()
        self.heads, self.kv, w = heads, kv, d // heads
        self.first = nn.Parameter(torch.ones(d), requires_grad=False)
        self.second = nn.Parameter(torch.ones(d), requires_grad=False)
        self.q, self.k, self.v = Pair(d, d), Pair(d, kv * w), Pair(d, kv * w)
        self.mix = Pair(d, d)
        self.gate, self.up = Pair(d, feed), Pair(d, feed)
        self.down = Pair(feed, d)

    @staticmethod
    def norm(x, gain):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * gain

    def forward(self, h, turn):
        b, t, d = h.shape
        x = self.norm(h, self.first)

        def split(y, n):
            return y.view(b, t, n, -1).transpose(1, 2)

        def rotate(y):
            a, c = y.chunk(2, -1)
            return torch.cat((a * turn[0] - c * turn[1],
                              a * turn[1] + c * turn[0]), -1).to(y.dtype)

        q, k = rotate(split(self.q(x), self.heads)), rotate(split(self.k(x),
                                                                  self.kv))
        v = split(self.v(x), self.kv)
        k, v = (y.repeat_interleave(self.heads // self.kv, 1) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.mix(y.transpose(1, 2).reshape(b, t, d))
        x = self.norm(h, self.second)
        return h + self.down(F.silu(self.gate(x)) * self.up(x))


class Lora(nn.Module):
    def __init__(self, d=576, layers=30, vocab=49152, tokens=256):
        super().__init__()
        table = torch.randn(vocab, d) / d ** 0.5
        self.table = nn.Parameter(table.bfloat16() if BF16 else table,
                                  requires_grad=False)
        self.blocks = nn.ModuleList(Decoder() for _ in range(layers))
        speed = 10000 ** (-torch.arange(0, 64, 2) / 64)
        angle = torch.arange(tokens)[:, None] * speed
        self.turn = angle.cos(), angle.sin()

    def forward(self, token):
        h = F.embedding(token[:, :-1], self.table).float()
        for block in self.blocks:
            h = block(h, self.turn)
        z = F.linear(Decoder.norm(h, 1.0), self.table)
        return F.cross_entropy(z.float().flatten(0, 1), token[:, 1:].flatten())


class Encoder(nn.Module):
    """MiniLM-L6."""

    def __init__(self, d=384, heads=12, layers=6, vocab=30522):
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, d), nn.Embedding(512, d)
        self.kind, self.norm = nn.Embedding(2, d), nn.LayerNorm(d, eps=1e-12)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(d, heads, 4 * d, 0.0, F.gelu, 1e-12,
                                       batch_first=True)
            for _ in range(layers))

    def hidden(self, token):
        at = torch.arange(token.shape[1])
        h = self.norm(self.token(token) + self.place(at) +
                      self.kind(torch.zeros_like(token)))
        for block in self.blocks:
            h = block(h)
        return h

    def forward(self, token):
        h = self.hidden(token)
        e = F.normalize(h.float().mean(1), dim=-1)
        half = len(e) // 2
        return F.cross_entropy(e[:half] @ e[half:].T / 0.05,
                               torch.arange(half))


def embedder():
    """A function that embeds one batch, and its sentences."""
    lengths = [128] * COUNT
    if WORK == "embed_mixed":
        lengths = [16 + 112 * i // max(1, COUNT - 1) for i in range(COUNT)]
    token = torch.randint(30522, (COUNT, max(lengths)))
    there = torch.tensor([[int(k < n) for k in range(max(lengths))]
                          for n in lengths])
    try:
        from transformers import BertConfig, BertModel
        net = BertModel(BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
            intermediate_size=1536), add_pooling_layer=False)

        def hidden():
            return net(token, attention_mask=there).last_hidden_state
    except ImportError:
        net = Encoder()

        def hidden():
            return net.hidden(token)
    net = net.eval()
    if BF16:
        net = net.bfloat16()

    def step():
        with torch.inference_mode():
            h, m = hidden().float(), there[:, :, None]
            F.normalize((h * m).sum(1) / m.sum(1), dim=-1)

    return step, COUNT


def main():
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    if WORK.startswith("embed"):
        return measure(*embedder())
    model = Lora() if WORK == "lora" else Encoder()
    if WORK == "lora":
        token, units = torch.randint(49152, (COUNT, 257)), COUNT * 256
    else:
        token, units = torch.randint(30522, (2 * COUNT, 128)), 2 * COUNT
    learn = torch.optim.AdamW([p for p in model.parameters()
                               if p.requires_grad], lr=1e-4)

    def step():
        learn.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            loss = model(token)
        loss.backward()
        learn.step()

    return measure(step, units)


def measure(step, units):
    step()
    best, end, turns = [1e9, 1e9], time.process_time() + SECONDS, 0
    while turns < 3 or time.process_time() < end:
        cpu, wall = time.process_time(), time.monotonic()
        step()
        best = [min(best[0], time.process_time() - cpu),
                min(best[1], time.monotonic() - wall)]
        turns += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(*(round(units / b, 4) for b in best), round(peak, 1))


main()
