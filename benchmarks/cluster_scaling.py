"""What a unit costs on its way over a Dask scheduler, measured on the loopback, and where a scheduler saturates.

    python benchmarks/cluster_scaling.py [--figure docs/cluster_scaling.png]

The driver is this process. The scheduler and the workers are processes of their own, so that the processor time of
each is known. The simulation takes these times and asks how many workers one scheduler and one driver keep busy.
"""
import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from symbreak_nb import cluster
from symbreak_nb.units import UnitStore, compute_units

WORKERS, TINY, SLEEPING, SECONDS = (1, 2, 4), 40, 16, 0.2   # workers, units without and with a duration, that duration
SCALE = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)        # simulated workers
LENGTHS = (1, 10, 100)                                       # simulated seconds of a unit
PATIENCE = 300


def tiny(n, seconds, run):
    import time
    time.sleep(seconds)
    return dict(y=n)


def start(*words: str) -> subprocess.Popen:
    call = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | cluster._ONE)


def times(running: list[subprocess.Popen]) -> list[float]:
    "Processor time of this process and of others."
    return [time.process_time(), *(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in running)]


def units(folder: Path, count: int, seconds: float, run: str) -> float:
    "Wall time of so many units."
    clock = time.perf_counter()
    compute_units(UnitStore(folder), tiny, [dict(n=n, seconds=seconds, run=run) for n in range(count)])
    return time.perf_counter() - clock


def measured(folder: Path) -> dict:
    "Units a second by number of workers, and the processor time of a unit on driver, scheduler and workers."
    file, found, running = folder/"scheduler.json", dict(tiny={}, sleeping={}), []
    try:
        running.append(start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)))
        end = time.monotonic() + PATIENCE
        while not (file.exists() and file.read_text()) and time.monotonic() < end: time.sleep(.1)
        os.environ |= dict(SYMBREAK_EXECUTOR="dask", SYMBREAK_SCHEDULER=json.loads(file.read_text())["address"])
        client = cluster._client()
        for count in WORKERS:
            call = ("worker", client.scheduler.address, "--nthreads", "1", "--no-nanny", "--local-directory", folder)
            running += [start(*map(str, call)) for _ in range(count - len(running) + 1)]
            client.wait_for_workers(count, timeout=PATIENCE)
            client.run(cluster._ready)   # imports
            units(folder, 2*count, 0.0, f"warm {count}")
            before = times(running)
            found["tiny"][count] = TINY/units(folder, TINY, 0.0, f"tiny {count}")
            driver, scheduler, *workers = [b - a for a, b in zip(before, times(running), strict=True)]
            found |= dict(driver=driver/TINY, scheduler=scheduler/TINY, worker=sum(workers)/TINY)
            found["sleeping"][count] = SLEEPING/units(folder, SLEEPING, SECONDS, f"sleeping {count}")
        cluster._closed(client)
        return found
    finally:
        for process in reversed(running): process.kill(); process.wait()


def simulated(workers: int, seconds: float, driver: float, scheduler: float, worker: float) -> float:
    """Share of the time in which workers compute, over four units a worker.

    Each unit goes from the driver by the scheduler to a worker, and back. The driver and the scheduler serve one unit
    at a time. Two units a worker are on their way. Where one comes back the driver stores it and sends the next.
    """
    count, free = 4*workers, [0.0, 0.0]        # when the driver and the scheduler are free
    ready = [0.0]*workers                            # when each worker is free, a heap
    events = [(0.0, k, 0) for k in range(2*workers)]
    route, ends, number = ((0, driver/2), (1, scheduler/2), None, (1, scheduler/2), (0, driver)), [], len(events)
    while events:
        now, name, stage = heapq.heappop(events)
        if stage == len(route):   # the driver has stored it, and sent the next one
            ends.append(now)
            if number < count: number += 1; heapq.heappush(events, (now, number, 1))
            continue
        if route[stage] is None: then = max(now, heapq.heappop(ready)) + worker + seconds; heapq.heappush(ready, then)
        else: place, cost = route[stage]; then = free[place] = max(now, free[place]) + cost
        heapq.heappush(events, (then, name, stage + 1))
    return count*seconds/ends[-1]/workers


def saturation(seconds: float, **costs: float) -> int:
    "Most workers, up to the largest of the scale, that are busy for nine tenths of the time."
    bound = (seconds + costs["worker"])/max(costs["driver"], costs["scheduler"])   # where the queue never ends
    low, high = bound/2, 1.5*bound
    if low > SCALE[-1] or (high > SCALE[-1] and simulated(SCALE[-1], seconds, **costs) >= .9): return SCALE[-1]
    low, high = round(low), round(min(high, SCALE[-1]))
    while high > 1.05*low + 1:
        middle = round((low*high)**.5)
        low, high = (middle, high) if simulated(middle, seconds, **costs) >= .9 else (low, middle)
    return low


def drawn(found: dict, curves: dict, path: Path) -> None:
    "Left what was measured, right what follows for many workers."
    import matplotlib
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for name, label in (("tiny", "units that do nothing"), ("sleeping", f"units of {SECONDS} s")):
        left.plot(*zip(*found[name].items(), strict=True), "o-", label=label)
    left.plot(WORKERS, [n/SECONDS for n in WORKERS], ":", color="0.5", label=f"most for {SECONDS} s")
    left.set(xlabel="workers", ylabel="units a second", xscale="log", yscale="log", xticks=WORKERS)
    left.set_xticks(WORKERS, map(str, WORKERS)); left.minorticks_off(); left.legend(fontsize=8)
    for seconds, curve in curves.items(): right.plot(SCALE, curve, ".-", label=f"units of {seconds} s")
    right.set(xlabel="workers (simulated)", ylabel="share of time that workers compute", xscale="log", ylim=(0, 1.05))
    right.legend(fontsize=8)
    fig.savefig(path, dpi=110)


def main(words: list[str]) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--figure", type=Path, help="draw the figure of docs/cluster.md")
    figure = options.parse_args(words).figure
    with tempfile.TemporaryDirectory() as folder: found = measured(Path(folder))
    costs = {name: found[name] for name in ("driver", "scheduler", "worker")}
    for name, cost in costs.items(): print(f"cluster_overhead_{name} {1e3*cost:.2f} ms/unit")
    for name in ("tiny", "sleeping"):
        for count, rate in found[name].items(): print(f"cluster_{name}_{count}_workers {rate:.1f} units/s")
    print(f"cluster_four_workers_speedup {found['sleeping'][4]/found['sleeping'][1]:.2f} ratio", flush=True)
    alone = costs | dict(driver=0.0)   # many drivers share a scheduler, so their cost is not one queue
    for seconds in LENGTHS:
        print(f"cluster_saturation_one_driver_{seconds}s {saturation(seconds, **costs)} workers")
        print(f"cluster_saturation_scheduler_{seconds}s {saturation(seconds, **alone)} workers", flush=True)
    if figure: drawn(found, {s: [simulated(n, s, **costs) for n in SCALE] for s in LENGTHS}, figure)


if __name__ == "__main__": main(sys.argv[1:])
