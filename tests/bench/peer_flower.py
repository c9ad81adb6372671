"""The peer of bench_sim.py: the same federation in Flower.

    peer_flower.py simulation DATA ROUNDS COHORT EPOCHS BATCH RATE EVERY
    peer_flower.py grpc       …the same…

DATA is what `tacit-sim data` wrote. A client is softmax regression in NumPy;
the server is Flower's FedAvg with the test set as evaluate_fn. In `simulation`
Flower's engine (Ray) runs a virtual client per data client. In `grpc` as many
processes as the cohort has members serve whichever client a round names, which
spares Flower a thousand processes. Prints one line of JSON: seconds of the
rounds alone, of the whole, and the accuracy.
"""
import json
import os
import subprocess
import sys
import time

START = time.monotonic()
os.environ.update({"FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1",
                   "FLWR_DISABLE_UPDATE_CHECK": "1",
                   "OPENBLAS_NUM_THREADS": "1", "GRPC_POLL_STRATEGY": "poll",
                   "RAY_USAGE_STATS_ENABLED": "0",
                   "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"})

import logging  # noqa: E402
import warnings  # noqa: E402

import numpy as np  # noqa: E402

warnings.filterwarnings("ignore")
import flwr as fl  # noqa: E402
from flwr.common import FitIns, ndarrays_to_parameters  # noqa: E402
from flwr.server.strategy import FedAvg  # noqa: E402

logging.getLogger("flwr").setLevel(logging.ERROR)
MODE, DATA = sys.argv[1], sys.argv[2]
ROUNDS, COHORT, EPOCHS, BATCH = map(int, sys.argv[3:7])
RATE, EVERY = float(sys.argv[7]), int(sys.argv[8])
CLASSES = 10
PORT = 28080
_rows = {}


def rows():
    """Read once per process: clients' rows lie together, in their order."""
    if not _rows:
        client = np.load(f"{DATA}/client.npy")
        train = np.load(f"{DATA}/test.npy") == 0
        _rows["x"] = np.load(f"{DATA}/x.npy", mmap_mode="r")
        _rows["y"] = np.load(f"{DATA}/y.npy").astype(np.int64)
        n = int(client.max()) + 1
        counts = np.bincount(client[train], minlength=n)
        _rows["first"] = np.concatenate([[0], np.cumsum(counts)])
        _rows["test"] = client < 0
    return _rows


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def train(w, b, client, seed):
    r = rows()
    first, end = r["first"][client], r["first"][client + 1]
    x, y = np.asarray(r["x"][first:end]), r["y"][first:end]
    target = np.eye(CLASSES, dtype=np.float32)[y]
    w, b = w.copy(), b.copy()
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(y))
        for i in range(0, len(y), BATCH):
            at = order[i:i + BATCH]
            xb = x[at]
            d = softmax(xb @ w + b) - target[at]
            d *= np.float32(RATE / len(at))
            w -= xb.T @ d
            b -= d.sum(axis=0)
    return w, b, len(y)


class Client(fl.client.NumPyClient):
    def __init__(self, number=None):
        self.number = number

    def fit(self, parameters, config):
        number = config.get("client", self.number)
        w, b, n = train(*parameters, int(number),
                        [int(config["round"]), int(number)])
        return [w, b], n, {}


class Recorded(FedAvg):
    """FedAvg that knows when its rounds began and names clients by number."""

    def __init__(self, n_clients=None):
        n = COHORT
        self.begin = None
        self.accuracy = float("nan")
        self.n_clients = n_clients
        self.rng = np.random.default_rng(1)
        weights = [np.zeros((rows()["x"].shape[1], CLASSES), np.float32),
                   np.zeros(CLASSES, np.float32)]
        super().__init__(
            fraction_fit=1e-9, fraction_evaluate=0.0, min_fit_clients=n,
            min_evaluate_clients=0, min_available_clients=n,
            evaluate_fn=self.measure, on_fit_config_fn=lambda r: {"round": r},
            initial_parameters=ndarrays_to_parameters(weights))

    def measure(self, number, parameters, _config):
        if number % EVERY:
            return None
        w, b = parameters
        test = rows()["test"]
        if "xt" not in _rows:
            _rows["xt"] = np.asarray(_rows["x"][test])
        scores = _rows["xt"] @ w + b
        self.accuracy = float((scores.argmax(1) == _rows["y"][test]).mean())
        return 0.0, {}

    def configure_fit(self, server_round, parameters, client_manager):
        if self.begin is None:
            self.begin = time.monotonic()
        asked = super().configure_fit(server_round, parameters, client_manager)
        if self.n_clients is None:
            return asked
        chosen = self.rng.choice(self.n_clients, len(asked), replace=False)
        return [(proxy, FitIns(ins.parameters, {"round": server_round,
                                                "client": int(c)}))
                for (proxy, ins), c in zip(asked, chosen)]


def tell(strategy, end):
    print(json.dumps({"rounds_s": round(end - strategy.begin, 4),
                      "whole_s": round(time.monotonic() - START, 4),
                      "accuracy": strategy.accuracy}), flush=True)


def simulation():
    from flwr.client import ClientApp
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig
    from flwr.simulation import run_simulation
    strategy = Recorded()
    end = []

    def make(_context):
        return ServerAppComponents(strategy=strategy,
                                   config=ServerConfig(num_rounds=ROUNDS))

    def client(context):
        return Client(int(context.node_config["partition-id"])).to_client()

    real = FedAvg.aggregate_fit

    def aggregate(self, *args):
        got = real(self, *args)
        end[:] = [time.monotonic()]
        return got

    Recorded.aggregate_fit = aggregate
    run_simulation(
        server_app=ServerApp(server_fn=make),
        client_app=ClientApp(client_fn=client),
        num_supernodes=len(rows()["first"]) - 1,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                        "init_args": {"num_cpus": os.cpu_count(),
                                      "include_dashboard": False}})
    tell(strategy, end[0])


def grpc():
    from flwr.server import ServerConfig, start_server
    helpers = [subprocess.Popen([sys.executable, __file__, "client",
                                 *sys.argv[2:]], stderr=subprocess.DEVNULL)
               for _ in range(COHORT)]
    strategy = Recorded(n_clients=len(rows()["first"]) - 1)
    try:
        start_server(server_address=f"127.0.0.1:{PORT}", strategy=strategy,
                     config=ServerConfig(num_rounds=ROUNDS))
        tell(strategy, time.monotonic())
        for helper in helpers:
            helper.wait(30)
    finally:
        for helper in helpers:
            if helper.poll() is None:
                helper.kill()


def client_process():
    rows()
    fl.client.start_client(server_address=f"127.0.0.1:{PORT}",
                           client=Client().to_client(), insecure=True)


if __name__ == "__main__":
    {"simulation": simulation, "grpc": grpc,
     "client": client_process}[MODE]()
