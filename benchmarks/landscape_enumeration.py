"""All losses of a -1/+1 network against one forward pass a configuration, both timed here.

The plain loop writes down the weights of a configuration, does its matrix products and takes the mean squared error.
It is timed on some configurations and scaled to all of them, because a loop over 2^26 takes an hour.
"""
import time

import numpy as np

from symbreak_nb.enumeration import count_floats, enumerate_losses, levels, loss_blocks, representatives
from symbreak_nb.landscape import classifier


def seconds(work, repeats: int) -> float:
    "Shortest of several runs."
    clock = time.perf_counter
    return min((work(), clock() - start)[1] for start in (clock() for _ in range(repeats)))


def plain_loop(net, codes) -> np.ndarray:
    "Mean squared errors, one configuration after the other."
    losses = []
    for code in codes:
        digits = np.array([code >> i & 1 for i in reversed(range(net.n_weights))])
        h, start = net.inputs.T, 0
        for depth, (out, fan_in) in enumerate(net.shapes):
            w = (2.0*digits[start:start + out*fan_in] - 1).reshape(out, fan_in)
            h, start = w@h if depth == len(net.widths) else np.tanh(w@h), start + out*fan_in
        losses.append(np.mean((h[0] - net.targets)**2))
    return np.array(losses)


def compare(arm: str, sample: int = 10_000) -> None:
    net = classifier(arm)
    codes = np.random.default_rng(0).integers(0, net.n_configurations, sample)
    assert np.abs(plain_loop(net, codes) - enumerate_losses(net)[codes]).max() < 1e-12
    loop = seconds(lambda: plain_loop(net, codes), 3)/sample*net.n_configurations
    full, short = seconds(lambda: enumerate_losses(net), 3), seconds(lambda: representatives(net), 3)
    counted = seconds(lambda: levels(*count_floats(some for _, some in loss_blocks(net))), 3)
    baseline = f"plain loop, {loop:.1f} s scaled from {sample:,} of 2^{net.n_weights} configurations"
    print(f"landscape_{arm}_all_losses {loop/full:.0f} x ({baseline}; {full:.3f} s for all)")
    print(f"landscape_{arm}_level_counts {loop/counted:.0f} x (the same loop; {counted:.3f} s, all of them counted)")
    print(f"landscape_{arm}_representatives {loop/short:.0f} x (the same loop; {short:.3f} s)")


if __name__ == "__main__":
    for arm in ("raw", "both"): compare(arm)
