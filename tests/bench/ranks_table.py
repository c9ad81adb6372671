#!/usr/bin/env python3
"""Devices of different ranks beside devices of one: bytes of a round and the
loss after it, on the sites and the network of mezo_table.py.

    ranks_table.py [ROUNDS]

The three sites train pairs of rank 2, 4 and 8 and their products are added up
(adapter.kind: flora); beside it all of them at 8, and the mean of pairs (lora)
and of outer matrices (ffa) at the rank that all of them train. Bytes are the
model's: an update of flora is four times as long. TACIT_CASE=word runs only the
rows whose name holds the word.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mezo_table  # noqa: E402

LOCAL = "optimizer: adamw, learning_rate: 0.01, steps: 10"
SIM = "\nsim: {clients: 3, protocol: sum, evaluate_every: 1000"


def way(kind, rank, ranks=""):
    name = f"{kind}, rank {rank}" + (f", clients {ranks}" if ranks else "")
    more = f", ranks: {ranks}" if ranks else ""
    return (name, f"{{kind: {kind}, rank: {rank}}}", f"50{SIM}{more}}}", LOCAL)


mezo_table.PLAN = mezo_table.PLAN[:mezo_table.PLAN.index("sim:")]
mezo_table.WAYS = (way("ffa", 2), way("lora", 2), way("flora", 8, "[2, 4, 8]"),
                   way("flora", 8))

if __name__ == "__main__":
    mezo_table.main()
