"""The peer of bench_sim.py: one process, a plain PyTorch loop over clients.

    peer_torch.py softmax|cnn DATA CLIENTS BATCH RATE THREADS ROUNDS

DATA is what `tacit-sim data` wrote. Each round, each of the first CLIENTS
clients starts from the global weights, makes one epoch of SGD over its rows in
random batches, and is averaged. Prints a line of JSON: images per second of the
best round.
"""
import json
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = sys.argv[6]
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

KIND, DATA = sys.argv[1:3]
CLIENTS, BATCH = int(sys.argv[3]), int(sys.argv[4])
RATE, THREADS, ROUNDS = float(sys.argv[5]), int(sys.argv[6]), int(sys.argv[7])


def network():
    if KIND == "softmax":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10))


def read():
    client = np.load(f"{DATA}/client.npy")
    train = np.load(f"{DATA}/test.npy") == 0
    x = np.load(f"{DATA}/x.npy", mmap_mode="r")
    y = np.load(f"{DATA}/y.npy")
    sites = []
    for i in range(CLIENTS):
        rows = np.flatnonzero((client == i) & train)
        sites.append((torch.tensor(x[rows]).view(-1, 1, 28, 28),
                      torch.tensor(y[rows]).long()))
    return sites


def one_round(model, optimizer, sites, loss_of):
    """The list form of optimizer and averaging: what costs torch least."""
    weights = list(model.parameters())
    with torch.no_grad():
        begin = [w.detach().clone() for w in weights]
        total = [torch.zeros_like(w) for w in weights]
    n_all = sum(len(y) for _, y in sites)
    for x, y in sites:
        with torch.no_grad():
            torch._foreach_copy_(weights, begin)
        order = torch.randperm(len(y))
        for i in range(0, len(y), BATCH):
            at = order[i:i + BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss_of(model(x[at]), y[at]).backward()
            optimizer.step()
        with torch.no_grad():
            torch._foreach_add_(total, [w.detach() for w in weights],
                                alpha=len(y) / n_all)
    with torch.no_grad():
        torch._foreach_copy_(weights, total)
    return n_all


def main():
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    sites = read()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    loss_of = nn.CrossEntropyLoss()
    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        n = one_round(model, optimizer, sites, loss_of)
        best = max(best, n / (time.perf_counter() - start))
    print(json.dumps({"images_per_s": best}))


main()
