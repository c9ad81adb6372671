#!/usr/bin/env python3
"""Golden values of test_accountant.c: what dp_accounting says.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install dp-accounting
    /tmp/golden/bin/python tests/golden/accountant_golden.py \\
        > tests/golden/accountant_golden.h

Made with dp-accounting 0.6.0 and mpmath 1.4.1. The cost of one release at one
order: a whole order's from dp_accounting, a broken one's from the integral to
30 digits (dp_accounting adds up its alternating series without the signs: up to
37 % more than the integral below order 3, and nothing where it does not
converge). Epsilons of many releases over our own orders, so at least ours, and
by its accountant of privacy loss distributions, which is tight: ours may not be
below it.
"""
from mpmath import exp, log, mp, mpf, pi, quad, sqrt

from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant
from dp_accounting.rdp import rdp_privacy_accountant as rdp

ORDERS = ([1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
          + [64, 72, 80, 96, 128, 192, 256, 384, 512])
RELEASES = [(q, z, order)
            for q in (0.001, 0.01, 0.1, 0.25)
            for z in (0.7, 1.0, 2.5)
            for order in (1.5, 2, 2.5, 5, 10.9, 20, 64)]
SERIES = [(1, 1, 1, 1e-5), (1, 8, 50, 1e-5), (0.01, 1, 1000, 1e-5),
          (0.01, 1, 10000, 1e-5), (0.01, 1.1, 1000, 1e-6),
          (0.04, 1.5, 2250, 1e-5), (0.001, 0.8, 10000, 1e-6),
          (0.1, 2, 500, 1e-6), (0.02, 0.7, 100, 1e-5), (0.25, 1.5, 30, 1e-5),
          (1, 4.25, 50, 1e-5)]


def event(q, z):
    gauss = dp_event.GaussianDpEvent(z)
    return gauss if q == 1 else dp_event.PoissonSampledDpEvent(q, gauss)


def integral(q, z, order):
    q, z, order = mpf(q), mpf(z), mpf(order)
    parts = [-20 * z + (order + 40 * z) * i / 80 for i in range(81)]
    return log(quad(lambda x: exp(-x * x / (2 * z * z)) / (z * sqrt(2 * pi))
                    * (1 - q + q * exp((2 * x - 1) / (2 * z * z))) ** order,
                    parts)) / (order - 1)


def cost(q, z, order):
    if order != int(order):
        return float(integral(q, z, order))
    return rdp.RdpAccountant([order]).compose(event(q, z))._rdp[0]


def epsilons(q, z, times, delta):
    many = dp_event.SelfComposedDpEvent(event(q, z), times)
    by_rdp = rdp.RdpAccountant(ORDERS).compose(many).get_epsilon(delta)
    tight = pld_privacy_accountant.PLDAccountant(
        value_discretization_interval=1e-3).compose(many).get_epsilon(delta)
    return by_rdp, tight


def main():
    mp.dps = 30
    print("/*\n * accountant_golden: what tests/golden/accountant_golden.py "
          "asked; made by it,\n * not by hand.\n */\n"
          "#ifndef TACIT_TESTS_GOLDEN_ACCOUNTANT_GOLDEN_H\n"
          "#define TACIT_TESTS_GOLDEN_ACCOUNTANT_GOLDEN_H\n\n"
          "/* clang-format off */")
    print("static const struct {\n    double q, z, order, cost;\n"
          "} golden_releases[] = {")
    for q, z, order in RELEASES:
        print(f"    {{{q}, {z}, {order}, {cost(q, z, order):.12e}}},")
    print("};\nstatic const struct {\n    double q, z;\n    unsigned times;\n"
          "    double delta, by_orders, tight;\n} golden_series[] = {")
    for q, z, times, delta in SERIES:
        by_rdp, tight = epsilons(q, z, times, delta)
        print(f"    {{{q}, {z}, {times}, {delta}, {by_rdp:.9f}, "
              f"{tight:.6f}}},")
    print("};\n/* clang-format on */\n\n#endif")


if __name__ == "__main__":
    main()
