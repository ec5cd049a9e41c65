"""Training steps while other programs hold cores: two threads that spin for each other against one that sleeps."""
import os
import subprocess
import sys
import time
from contextlib import contextmanager

from symbreak_nb.jobs import _PATIENT, _THREADS, _kernel_environment

SECONDS, AT_MOST = 1.0, 55.0   # of a measurement; of all: what is not measured then is left out, and said
STEPS = """
import sys, time, torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.Tanh(), torch.nn.Linear(256, 256))
x, end, steps = torch.randn(256, 256), float(sys.argv[1]), 0
update = torch.optim.SGD(net.parameters(), lr=1e-3)
def step():
    update.zero_grad()
    net(x).square().mean().backward()
    update.step()
step()
clock = time.perf_counter()
while time.perf_counter() - clock < end: step(); steps += 1
print(steps/(time.perf_counter() - clock))
"""


def steps_per_second(environment: dict, end: float) -> float:
    "What a process of its own reaches under these settings; TimeoutExpired when `end` comes first."
    clean = {k: v for k, v in os.environ.items() if k not in (*_THREADS, *_PATIENT)}
    call = [sys.executable, "-c", STEPS, str(SECONDS)]
    left, env = max(0.1, end - time.perf_counter()), clean | environment
    return float(subprocess.run(call, capture_output=True, text=True, check=True, env=env, timeout=left).stdout)


@contextmanager
def busy(programs: int):
    "So many programs that compute without a pause."
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try: yield
    finally:
        for process in running: process.kill(); process.wait()


def main() -> None:
    "Both arms under the same load, one after the other."
    for name in (*_THREADS, *_PATIENT): os.environ.pop(name, None)
    spin, sleep = dict.fromkeys(_THREADS, "2"), _kernel_environment(jobs=2)   # GNU's OpenMP spins unless it is told
    end = time.perf_counter() + AT_MOST
    for programs in (1, 2, 0):
        try:
            with busy(programs): spinning, sleeping = steps_per_second(spin, end), steps_per_second(sleep, end)
        except subprocess.TimeoutExpired:
            print(f"# {programs} other programs: not measured, time is up")
            continue
        print(f"busy_core_{programs}_other_two_spinning {spinning:.1f} steps/s")
        print(f"busy_core_{programs}_other_one_sleeping {sleeping:.1f} steps/s")
        print(f"busy_core_{programs}_other_speedup {sleeping/spinning:.2f} ratio", flush=True)


if __name__ == "__main__": main()
