"Replicas against separate trainings: networks, dtypes, optimisers, chunks, kills, damage, bad input, memory."
import doctest
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from symbreak_nb import replicas as engine
from symbreak_nb import stacking, steps
from symbreak_nb.replicas import Replicas, train_one
from symbreak_nb.run import ParameterError
from symbreak_nb.stacking import StackedNetwork, TransformHalf
from torch import nn
from torch.nn import functional as F

S = nn.Sequential


class Residual(nn.Module):
    "Functions between the layers, a parameter of its own, a branch on the mode, a concatenation."

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(128, 10)
        self.norm, self.scale = nn.GroupNorm(2, 4), nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        h = F.relu(self.a(x))
        h = F.max_pool2d(torch.cat([h*self.scale, F.relu(h + self.norm(self.b(h)))], 1), 2)
        return self.fc(F.dropout(h, 0.2, self.training).view(x.size(0), -1))


class Branch(nn.Module):
    "Depends on its data, which no trace can follow, and draws noise of its own."

    def __init__(self):
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(64, 16), nn.Dropout(0.2), nn.Linear(16, 10)

    def forward(self, x):
        h = self.a(x.flatten(1))
        h = torch.relu(h) if h.mean() > 0 else torch.tanh(h)
        return self.b(self.drop(h) + (0.1*torch.randn_like(h) if self.training else 0))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight

    def forward(self, x): return self.out(torch.tanh(self.b(torch.tanh(self.a(x.flatten(1))))))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.norm, self.out = nn.Embedding(17, 6), nn.LayerNorm(6), nn.Linear(384, 10)

    def forward(self, x): return self.out(self.norm(self.table((x*16).long().flatten(1))).flatten(1))


NETS = {
    "mlp": lambda: S(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.GELU(), nn.Dropout(0.3), S(nn.Linear(32, 10))),
    "cnn": lambda: S(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
                     nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, 10)),
    "norms": lambda: S(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout2d(0.2),
                       nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Tanh(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(8, 16, bias=False),
                       nn.BatchNorm1d(16, momentum=None), nn.Linear(16, 10)),
    "flip": lambda: S(TransformHalf((-1,)), TransformHalf((-2, -1)), nn.ConvTranspose2d(1, 4, 2, stride=2), nn.PReLU(), nn.MaxPool2d(3),
                      nn.Flatten(), nn.Linear(100, 10)),
    "bias before a norm": lambda: S(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)),
    "residual": Residual, "branch": Branch, "tied": Tied, "words": Words,
}
SEEDS = [5, 2**40]
HOW = dict(epochs=3, batch_size=32, lr=1e-3)


@pytest.fixture(scope="module")
def digits():
    "75 = 32 + 32 + 11 of scikit-learn's digits, read without importing it, which would take seconds."
    folder = Path(importlib.util.find_spec("sklearn").origin).parent
    found = np.loadtxt(folder/"datasets"/"data"/"digits.csv.gz", delimiter=",", max_rows=75)
    return found[:, :-1].reshape(75, 1, 8, 8)/16., found[:, -1].astype(int)


def flat(net) -> np.ndarray: return torch.cat([p.detach().flatten() for p in net.parameters()]).numpy()


def compare(build, digits, dtype, seeds=SEEDS, how=HOW, **settings) -> Replicas:
    "Train replicas and separate networks; losses, weights, buffers and predictions must agree."
    x, y = digits
    eps = 1e-5 if dtype is torch.float32 else 1e-10
    many = Replicas(build, seeds, dtype=dtype, **settings)
    losses, predicted, weights = many.fit(x, y, **how), many.predict(x, batch_size=75), many.parameters_vector()
    assert losses.shape == (len(seeds), how["epochs"]) and predicted.shape == (len(seeds), len(x), 10)
    for r, seed in enumerate(seeds):
        net, alone = train_one(build, seed, x, y, dtype=dtype, **how)
        np.testing.assert_allclose(losses[r], alone, atol=eps, rtol=0)
        np.testing.assert_allclose(weights[r], flat(net), atol=eps, rtol=0)
        np.testing.assert_array_equal(flat(many.module(r)), weights[r])
        for (name, a), b in zip(net.named_buffers(), many.module(r).buffers(), strict=True):
            torch.testing.assert_close(b, a, atol=eps, rtol=0, msg=name)
        with torch.no_grad(): outputs = net.eval()(torch.as_tensor(x, dtype=dtype)).numpy()
        np.testing.assert_allclose(predicted[r], outputs, atol=10*eps, rtol=0)
    return many


@pytest.mark.parametrize("name", NETS)
def test_adam_in_float32(name, digits):
    many = compare(NETS[name], digits, torch.float32, how=HOW | dict(weight_decay=1e-3))
    assert (many.route == "stacked") == (name != "bias before a norm"), many.route


@pytest.mark.parametrize("name", NETS)
def test_sgd_with_momentum_in_float64(name, digits):
    many = compare(NETS[name], digits, torch.float64, how=HOW | dict(optimizer="sgd", momentum=0.9, weight_decay=1e-3))
    assert many.route == "stacked"


def test_adamw_in_float64(digits):
    "Decay beside the gradient: other weights than with decay in it."
    apart = [compare(NETS["mlp"], digits, torch.float64, how=HOW | dict(optimizer=o, weight_decay=0.1)) for o in ("adamw", "adam")]
    assert np.abs(apart[0].parameters_vector() - apart[1].parameters_vector()).max() > 1e-4


@pytest.mark.parametrize("name", ["cnn", "norms", "bias before a norm", "branch"])
def test_adam_without_decay_in_float64(name, digits): compare(NETS[name], digits, torch.float64, seeds=[3])


def test_the_plain_loop_written_out(digits):
    "What `train_one` stands for, without any of our code."
    x, y = torch.as_tensor(digits[0], dtype=torch.float32), torch.as_tensor(digits[1])
    torch.manual_seed(4)
    net = NETS["cnn"]()
    optimizer, means = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-3), []
    for _ in range(2):
        total = 0.
        for rows in torch.randperm(75).split(32):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item()*len(rows)
        means.append(total/75)
    many = Replicas(NETS["cnn"], [3, 4])
    losses = many.fit(*digits, epochs=2, batch_size=32, lr=1e-3, weight_decay=1e-3)
    np.testing.assert_allclose(losses[1], means, atol=1e-5)
    np.testing.assert_allclose(many.parameters_vector()[1], flat(net), atol=1e-5)


def huber(out, target): return F.huber_loss(out[:, 0], target)


@pytest.mark.parametrize("loss", ["mse", huber])
def test_other_losses(loss, digits):
    x, y = digits[0], digits[1].astype(float)
    target = y if callable(loss) else np.repeat(y[:, None], 10, 1)
    how = HOW | dict(loss=loss, optimizer="sgd")
    many = Replicas(NETS["mlp"], [1, 2], dtype=torch.float64)
    losses = many.fit(x, target, **how)
    np.testing.assert_allclose(losses[1], train_one(NETS["mlp"], 2, x, target, dtype=torch.float64, **how)[1], atol=1e-10)


def test_chunks_change_nothing_and_the_caller_keeps_its_stream(digits, monkeypatch):
    torch.manual_seed(9)
    expected, found, threads = torch.rand(1), [], torch.get_num_threads()
    torch.manual_seed(9)
    for limit in (2**10, 2**22, 2**40):
        monkeypatch.setattr(engine, "_CACHE_BYTES", limit)
        many = Replicas(NETS["cnn"], range(5), dtype=torch.float64)
        many.fit(*digits, **HOW)
        found.append(many.parameters_vector())
    assert torch.equal(torch.rand(1), expected) and torch.get_num_threads() == threads
    for other in found[1:]: np.testing.assert_allclose(other, found[0], atol=1e-10)


def test_a_second_fit_goes_on(digits):
    x, y = digits
    many, net = Replicas(NETS["mlp"], [1, 2], dtype=torch.float64), None
    for _ in range(2): many.fit(x, y, **HOW)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = NETS["mlp"]().double()
        for _ in range(2): steps._plain_epochs(net, torch.as_tensor(x), torch.as_tensor(y), steps.Training(**HOW))
    np.testing.assert_allclose(many.parameters_vector()[1], flat(net), atol=1e-10)


STEP = dict(epochs=3, batch_size=32, lr=1e-3, weight_decay=1e-3)   # both sizes of batch leave their eager start behind


@pytest.mark.parametrize("name", ["flip", "residual", "bias before a norm"])
def test_a_compiled_step_in_float64(name, digits, monkeypatch):
    "Everything that `torch.compile` does but the C++: that takes seconds for each size of batch."
    monkeypatch.setattr(steps, "_BACKEND", "aot_eager")
    many = compare(NETS[name], digits, torch.float64, how=STEP | dict(optimizer="sgd", momentum=0.9), step="compile")
    assert many.step.startswith("torch.compile: ") and "in part" not in many.step
    assert many.describe()[-1] == ("", "training step", many.step)


def test_a_step_compiled_to_machine_code(digits, monkeypatch):
    import torch._inductor.config
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    net = lambda: S(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 10))
    pictures, classes = digits
    many = compare(net, (pictures[:64], classes[:64]), torch.float32, how=STEP, step="compile")
    assert many.step.startswith("torch.compile: ") and "in part" not in many.step


def as_graph(monkeypatch, captured):
    "Let a fit on the CPU record its steps with a stand-in."
    monkeypatch.setattr(steps, "_captured", captured)
    monkeypatch.setattr(engine, "_choose_way", lambda *_: steps._Way("graph", "stand-in"))


@pytest.mark.parametrize("name, optimizer", [*((name, "adam") for name in NETS), ("cnn", "sgd")])
def test_a_recorded_step_is_the_eager_step(name, optimizer, digits, monkeypatch):
    "Rows and random numbers in tensors that stay where they are, drawn ahead; only the recording itself is stood in for."
    how, found = STEP | dict(optimizer=optimizer), []
    for captured in (None, lambda step: step):
        if captured: as_graph(monkeypatch, captured)
        many = Replicas(NETS[name], SEEDS, route="stacked")
        found.append((many.fit(*digits, **how), many.parameters_vector(), many._ensemble.states.numpy()))
    for eager, replayed in zip(*found, strict=True): np.testing.assert_array_equal(replayed, eager)
    own_way = "in part eager (RuntimeError: a layer draws random numbers in a way of its own)"
    assert many.step == ("stand-in; " + own_way if name == "branch" else "stand-in")


def test_a_recording_that_fails_leaves_the_eager_step(digits, monkeypatch):
    eager, made = Replicas(NETS["cnn"], [1, 2]), []
    eager.fit(*digits, **STEP)
    def second_fails(step):
        made.append(step)
        if len(made) % 2 == 0: raise RuntimeError("operation not permitted\nwhen stream is capturing")
        return step
    for captured in (steps._captured, second_fails):   # torch's own, which finds no GPU here; and one for the last batch
        if captured is steps._captured and torch.cuda.is_available(): continue
        as_graph(monkeypatch, captured)
        many = Replicas(NETS["cnn"], [1, 2])
        many.fit(*digits, **STEP)
        np.testing.assert_array_equal(many.parameters_vector(), eager.parameters_vector())
        assert "in part eager (" in many.step and "\n" not in many.step
    assert many.step.endswith("(RuntimeError: operation not permitted)")


def refused(step): raise RuntimeError("no graph here")


def kept(step): return step


def wrong(step): return lambda: (step(), step())


@pytest.mark.parametrize("captured, seconds, always, way, told", [
    (refused, 1, True, "eager", "eager: no CUDA graph (RuntimeError: no graph here)"),
    (wrong, 1, True, "eager", "eager: CUDA graph gives other weights"),
    (kept, 4, False, "eager", "eager: 200.00 ms a step, CUDA graph 400.00 ms"),
    (kept, 4, True, "graph", "CUDA graph: 400.00 ms a step, eager 200.00 ms"),
    (kept, 1, False, "graph", "CUDA graph: 100.00 ms a step, eager 200.00 ms"),
])
def test_the_way_to_step_is_tried_before_it_is_used(captured, seconds, always, way, told, digits, monkeypatch):
    "Ten eager steps take two seconds of this clock, ten recorded ones as many as it says."
    clock = iter([0., 2., 0., seconds])
    monkeypatch.setattr(steps, "_captured", captured)
    monkeypatch.setattr(steps, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    x, y = torch.as_tensor(digits[0]).float(), torch.as_tensor(digits[1])
    many = Replicas(NETS["mlp"], [1, 2])
    before = many.parameters_vector()
    chunk = engine._chunk(many._ensemble, [0, 1])
    chosen = steps._tried(StackedNetwork(many.module(0), x[:32]), chunk, x, y, steps.Training(**HOW), "graph", always)
    assert (chosen.name, chosen.told) == (way, told)
    np.testing.assert_array_equal(many.parameters_vector(), before)


def test_what_cannot_be_compiled_is_said(digits):
    many = compare(NETS["branch"], digits, torch.float64, step="compile")
    assert many.step == "eager: no torch.compile (RuntimeError: a layer draws random numbers in a way of its own)"


def test_routes_are_told(digits):
    many = Replicas(Residual, [1, 2])
    many.fit(*digits, **HOW)
    routes = {what: route for _, what, route in many.describe()}
    assert many.step == routes["training step"] == "eager"
    assert routes["Conv2d"] == "grouped convolution" and routes["Linear"] == "batched matrix product" and routes["cat"] == "vmap"
    many = Replicas(NETS["bias before a norm"], [1, 2])
    many.fit(*digits, **HOW)
    assert "0.bias" in many.describe()[0][2]
    fast = Replicas(NETS["bias before a norm"], [1, 2], route="stacked")
    np.testing.assert_allclose(fast.fit(*digits, **HOW), many.losses, atol=1e-4)
    assert fast.route == "stacked"


def test_a_diverged_replica_is_recorded(digits):
    many = Replicas(NETS["cnn"], [1, 2])
    losses = many.fit(*digits, epochs=3, batch_size=32, lr=1e30, optimizer="sgd")
    assert many.diverged.all() and np.isnan(losses[:, -1]).all()
    assert not Replicas(NETS["cnn"], [1]).diverged.any()


SCRIPT = """
import sys, numpy as np, torch
from torch import nn
from symbreak_nb import replicas as engine
engine._CACHE_BYTES = 2**12
build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))
x, y = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 10
many = engine.Replicas(build, range(8))
losses = many.fit(x, y, epochs=int(sys.argv[2]), batch_size=16, lr=1e-3, store=sys.argv[1])
np.savez(sys.argv[3], weights=many.parameters_vector(), losses=losses, **many.counts)
"""


def run(folder: Path, epochs: int, out: Path, **popen):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(epochs), str(out)], **popen)


def test_a_killed_training_resumes(tmp_path):
    whole, broken, epochs = tmp_path/"whole", tmp_path/"broken", 60
    assert run(whole, epochs, tmp_path/"a.npz").wait() == 0
    expected = np.load(tmp_path/"a.npz")
    assert expected["reused"] == 0 and expected["computed"] == len(list(whole.glob("*.npz"))) == 8
    process = run(broken, epochs, tmp_path/"b.npz", start_new_session=True)
    while process.poll() is None and len(list(broken.glob("*.npz"))) < 3: time.sleep(.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stored = sorted(broken.glob("*.npz"))
    assert 3 <= len(stored) < 8 and not (tmp_path/"b.npz").exists()
    stored[0].write_bytes(stored[0].read_bytes()[:-30])
    assert run(broken, epochs, tmp_path/"b.npz").wait() == 0
    found = np.load(tmp_path/"b.npz")
    assert found["reused"] == len(stored) - 1 and found["computed"] == 8 - len(stored) + 1
    for name in ("weights", "losses"): np.testing.assert_array_equal(found[name], expected[name])


def test_a_stored_chunk_serves_nothing_else(digits, tmp_path):
    x, y = digits
    def counts(build=NETS["mlp"], x=x, seeds=(1, 2), **how):
        many = Replicas(build, seeds)
        many.fit(x, y, store=tmp_path, **(HOW | how))
        return many.counts["reused"] > 0
    assert not counts() and counts()
    assert not counts(lr=2e-3) and not counts(x=x*0.5) and not counts(seeds=(3, 4)) and not counts(loss=F.cross_entropy)
    assert not counts(build=lambda: S(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.SiLU(), nn.Dropout(0.3), S(nn.Linear(32, 10))))


def test_a_stored_chunk_is_bound_to_its_name_and_to_the_versions(digits, tmp_path, monkeypatch, capsys):
    x, y = digits
    def trained(seed):
        many = Replicas(NETS["mlp"], [seed])
        many.fit(x, y, store=tmp_path, **HOW)
        return many
    first = trained(1)
    (one,) = tmp_path.glob("*.npz")
    other = trained(2)
    (two,) = set(tmp_path.glob("*.npz")) - {one}
    two.write_bytes(one.read_bytes())
    again = trained(2)
    assert again.counts["reused"] == 0 and "are others; they are trained again" in capsys.readouterr().out
    np.testing.assert_array_equal(again.parameters_vector(), other.parameters_vector())
    assert trained(2).counts["reused"] == trained(1).counts["reused"] == 1
    assert not np.array_equal(first.parameters_vector(), other.parameters_vector())
    real = engine.environment
    monkeypatch.setattr(engine, "environment", lambda device: real(device) | dict(versions=real(device)["versions"] | dict(torch="1.0")))
    assert trained(1).counts["reused"] == 0


@pytest.mark.parametrize("change, message", [
    (dict(seeds=[]), "seeds"), (dict(seeds=[1, 1]), "all different"), (dict(seeds=[-1]), "seeds"), (dict(seeds=[0.5]), "seeds"),
    (dict(build=lambda: 3), "build"), (dict(build=nn.ReLU), "network with parameters"), (dict(build=None), "build"),
    (dict(epochs=0), "epochs = 0"), (dict(batch_size=0), "batch_size = 0"), (dict(lr=0.), "lr = 0.0"), (dict(lr=np.inf), "lr = inf"),
    (dict(optimizer="lion"), "optimizer"), (dict(loss="nll"), "loss"), (dict(weight_decay=-1.), "weight_decay"),
    (dict(x=np.full((75, 1, 8, 8), np.nan)), "finite"), (dict(y=np.zeros(74, int)), "75 rows"), (dict(y=np.full(75, -1)), "y = -1"),
    (dict(x=np.zeros((0, 1, 8, 8)), y=np.zeros(0, int)), "a row or more"), (dict(memory_bytes=1000), "memory_bytes = 1000"),
    (dict(route="fast"), "route"), (dict(device="tpu"), "device"), (dict(step="fast"), "step"), (dict(step="graph"), "needs a GPU"),
])
def test_bad_input_is_one_line(change, message, digits):
    given = dict(build=NETS["mlp"], seeds=[1, 2], x=digits[0], y=digits[1], memory_bytes=2**30, route="auto", step="auto",
                 device="cpu") | HOW | change
    with pytest.raises(ParameterError, match=message) as caught:
        settings = {k: given.pop(k) for k in ("memory_bytes", "route", "step", "device")}
        many = Replicas(*[given.pop(k) for k in ("build", "seeds")], **settings)
        many.fit(given.pop("x"), given.pop("y"), **given)
    assert "\n" not in str(caught.value)


MEMORY = """
import gc, json, sys, threading, time, torch
from torch import nn
from symbreak_nb import replicas as engine
engine._CACHE_BYTES = 2**40   # memory alone decides
def build(): return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Tanh(), nn.BatchNorm2d(16), nn.MaxPool2d(2),
                                  nn.Dropout(0.2), nn.Flatten(), nn.Linear(3136, 10))
x, y, how = torch.rand(64, 1, 28, 28), torch.arange(64) % 10, dict(epochs=1, batch_size=64, lr=1e-3, optimizer="sgd")
engine.Replicas(build, [0, 1]).fit(x, y, **how)
many, budget = engine.Replicas(build, range(24), memory_bytes=int(sys.argv[1])), int(sys.argv[1])
def resident(): return int(open("/proc/self/statm").read().split()[1])*4096
gc.collect()
base, seen, stop = resident(), [0], threading.Event()
def watch():
    while not stop.is_set(): seen.append(resident() - base); time.sleep(.001)
thread = threading.Thread(target=watch); thread.start()
many.fit(x, y, **how)
stop.set(); thread.join()
print(json.dumps(dict(peak=max(seen), results=2*sum(t.nbytes for t in many._ensemble.tensors.values()), route=many.route)))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_stays_within_its_budget():
    for budget in (2**28,):
        done = subprocess.run([sys.executable, "-c", MEMORY, str(budget)], capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["route"] == "stacked" and found["peak"] < budget + found["results"], found


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain, self.mix = nn.Parameter(torch.randn(16)), nn.Parameter(torch.randn(16, 16)*.2)
        self.power = nn.Parameter(torch.tensor(1.5))
        self.steps = nn.Parameter(torch.arange(3), requires_grad=False)

    def forward(self, x): return (x*torch.sigmoid(self.gain) + x @ self.mix)*self.power


class Circular(nn.Module):
    "Its last gradient comes out of `vmap` in another memory order than the weights have."

    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Conv1d(8, 6, 3, padding=1, padding_mode="circular"), nn.InstanceNorm1d(6, track_running_stats=True)
        self.out = nn.Linear(48, 10)

    def forward(self, x):
        h = self.n(self.a(x.view(x.shape[0], 8, 8))).permute(0, 2, 1).contiguous()
        return F.log_softmax(self.out(h.view(x.shape[0], -1)), 1)


def hooked():
    net = S(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    net[1].register_forward_hook(lambda layer, given, out: 2*out)
    return net


MORE = {"hook": hooked, "circular": Circular,
        "gate": lambda: S(nn.Flatten(), nn.Linear(64, 16), Gate(), nn.ReLU(), Gate(), nn.Linear(16, 10)),
        "orthogonal": lambda: S(nn.Flatten(), nn.utils.parametrizations.orthogonal(nn.Linear(64, 16)), nn.Tanh(), nn.Linear(16, 10))}


@pytest.mark.parametrize("name, optimizer", [("hook", "adam"), ("circular", "sgd"), ("gate", "adam"), ("orthogonal", "sgd")])
def test_gradients_in_any_memory_order_and_numbers_as_parameters(name, optimizer, digits):
    many = compare(MORE[name], digits, torch.float64, how=HOW | dict(optimizer=optimizer, weight_decay=1e-3))
    assert many.route == "stacked", many.route


def test_pooling_keeps_the_memory_order_of_its_rows():
    x = torch.randn(5, 3, 4, 8, 8).transpose(0, 1)
    found = stacking._rows(nn.AvgPool2d(2), {}, x, [])
    assert torch.equal(found, stacking._rows(nn.AvgPool2d(2), {}, x.contiguous(), [])) and found.transpose(0, 1).is_contiguous()


SHARED = nn.Linear(64, 10)


@pytest.mark.parametrize("build", [lambda: SHARED, lambda: S(nn.Flatten(), nn.LazyLinear(10)),
                                   lambda: nn.Linear(64, int(torch.randint(2, 99, ())))])
def test_a_builder_that_does_not_build_is_one_line(build):
    with pytest.raises(ParameterError, match="build = ") as caught: Replicas(build, range(6))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change, message", [
    (dict(x="pictures"), "x = 'str': allowed is an array"), (dict(x=np.zeros((75, 9))), "rows that the network takes"),
    (dict(y=np.full(75, 10)), "y = 10: allowed is a class below 10"), (dict(store=3), "store"), (dict(store=""), "store"),
    (dict(dtype="float64"), "dtype"),
])
def test_data_that_do_not_fit_are_one_line(change, message, digits):
    given = dict(x=digits[0], y=digits[1]) | change
    with pytest.raises(ParameterError, match=message) as caught:
        Replicas(NETS["mlp"], [1], dtype=given.pop("dtype", None)).fit(**given, **HOW)
    assert "\n" not in str(caught.value)


def test_a_recording_that_fails_gives_the_stream_back(monkeypatch):
    "Torch's context leaves its own stream behind when the recording cannot be ended."
    class Broken:
        def __init__(self, graph): pass
        def __enter__(self): streams.append("of the recording")
        def __exit__(self, *_): raise RuntimeError("capture was invalidated")
    streams = ["present"]
    for name, stand_in in dict(CUDAGraph=object, graph=Broken, current_stream=lambda: streams[-1], set_stream=streams.append).items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    with pytest.raises(RuntimeError, match="invalidated"): steps._captured(lambda: None)
    assert streams == ["present", "of the recording", "present"]


def three_to_two(): return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


ROWS, CLASSES, ONCE = np.random.default_rng(0).normal(size=(10, 3)).astype("f"), np.arange(10) % 2, dict(
    epochs=1, batch_size=5, lr=0.1)


@pytest.mark.parametrize("build", [three_to_two(), nn.Linear, lambda seed: three_to_two(), 3, None, lambda: None])
def test_a_builder_that_is_none_is_one_line(build):
    for call in (lambda: Replicas(build, [0, 1]), lambda: train_one(build, 0, ROWS, CLASSES, **ONCE)):
        with pytest.raises(ParameterError, match="build = .*allowed is a function") as caught: call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [99, 2, -3, 1.0, "a", True, None, [0]])
def test_a_place_that_no_replica_has_is_one_line(place):
    many = Replicas(three_to_two, [5, 6])
    with pytest.raises(ParameterError, match="r = .*an integer from -2 to 1"): many.module(place)
    assert all(torch.equal(a, b) for a, b in zip(many.module(-1).parameters(), many.module(1).parameters(), strict=True))


@pytest.mark.parametrize("x", [ROWS[:, :2], 3.0, None, "abc", [], ROWS*1j, np.ones((2, 3), int)])
def test_inputs_that_the_network_does_not_take_are_one_line(x):
    many = Replicas(three_to_two, [5, 6])
    with pytest.raises(ParameterError, match="x = ") as caught: many.predict(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changed, message", [
    (dict(y=np.zeros((10, 2), int)), "targets that the loss takes"), (dict(y=CLASSES*1.0), "targets that the loss takes"),
    (dict(y=np.zeros(10), loss="mse"), r"y = \(10,\): allowed is the shape of the outputs, \(10, 2\)"),
    (dict(y=np.zeros((10, 1)), loss="mse"), "the shape of the outputs"), (dict(lr=None), "lr = None: allowed is a finite number"),
    (dict(y=CLASSES + 9), "y = 10: allowed is a class below 2"), (dict(x=ROWS[:, :2]), "rows that the network takes"),
    (dict(x=ROWS*1j), "real numbers"),
    (dict(loss=lambda out: out), "targets that the loss takes"), (dict(loss=lambda out, y: out), "loss = .*one number"),
    (dict(loss=lambda out, y: 1.0), "loss = .*one number")])
def test_targets_and_losses_that_do_not_fit_are_one_line_before_any_step(changed, message):
    given = dict(x=ROWS, y=CLASSES) | ONCE | changed
    x, y = given.pop("x"), given.pop("y")
    many = Replicas(three_to_two, [5, 6])
    before = many.parameters_vector()
    for call in (lambda: many.fit(x, y, **given), lambda: train_one(three_to_two, 0, x, y, **given)):
        with pytest.raises(ParameterError, match=message) as caught: call()
        assert "\n" not in str(caught.value)
    assert np.array_equal(many.parameters_vector(), before)


@pytest.mark.parametrize("changed, message", [(dict(lr=0.1, learning_rate=1), "unexpected keyword argument 'learning_rate'"),
                                              (dict(), "missing 1 required keyword-only argument: 'lr'")])
def test_an_unknown_and_a_missing_keyword_are_named_before_any_step(changed, message):
    many, how = Replicas(three_to_two, [5, 6]), dict(epochs=1, batch_size=5) | changed
    before = many.parameters_vector()
    for call in (lambda: many.fit(ROWS, CLASSES, **how), lambda: train_one(three_to_two, 0, ROWS, CLASSES, **how)):
        with pytest.raises(TypeError, match=message): call()
    assert np.array_equal(many.parameters_vector(), before)


@pytest.mark.parametrize("module", [engine, stacking, steps], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module): assert doctest.testmod(module, raise_on_error=True).failed == 0


@pytest.mark.parametrize("seed", [-1, 0.5, True, None, "a", 2**64])
def test_a_seed_of_one_network_is_an_integer(seed):
    with pytest.raises(ParameterError, match="seed = "): train_one(three_to_two, seed, ROWS, CLASSES, **ONCE)


def test_a_store_that_is_a_file_is_refused_before_training(tmp_path):
    (tmp_path/"file").write_text("")
    with pytest.raises(ParameterError, match="a folder, not a file"):
        Replicas(three_to_two, [0]).fit(ROWS, CLASSES, store=tmp_path/"file", **ONCE)


@pytest.mark.parametrize("dims", [5, "ab", (), (7,), (0,), (-1, -1), (True,), (-1.0,)])
def test_axes_to_flip_count_from_the_end(dims):
    with pytest.raises(ParameterError, match="dims = "): TransformHalf(dims)
