"The import guard, in both directions: a build that registers its own operators, and one that cannot."
import subprocess
import sys

MATCHING = """
import torch
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.impl("nms", lambda d, s, t: torch.arange(len(s)), "CPU")
build = "matching"
"""
MISMATCHED = """
import torch
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): return scores
@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold): return scores
build = "mismatched"
"""
BROKEN = "raise RuntimeError('libc is too old')"


def guarded(folder, code: str | None, then: str) -> str:
    "Run `then` in a fresh interpreter after the guard, with a stand-in torchvision of the given source, or the real one."
    if code is not None:
        (folder/"torchvision").mkdir()
        (folder/"torchvision"/"__init__.py").write_text(code)
    script = f"import sys; sys.path.insert(0, {str(folder)!r})\nfrom symbreak_nb import environment, run\n{then}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_a_matching_build_is_left_alone(tmp_path):
    then = ("import torch; tv = run.import_torchvision()\n"
            "print(tv.build, len(environment._libraries), torch.ops.torchvision.nms(torch.zeros(3, 4), torch.zeros(3), .5).tolist())")
    assert guarded(tmp_path, MATCHING, then) == "matching 0 [0, 1, 2]"


def test_a_build_without_operators_imports_after_registration(tmp_path):
    assert guarded(tmp_path, MISMATCHED, "print(run.import_torchvision().build, len(environment._libraries))") == "mismatched 1"


def test_without_the_guard_that_build_fails(tmp_path):
    then = "import torch\ntry: import torchvision\nexcept RuntimeError as e: print('torchvision::nms' in str(e))"
    assert guarded(tmp_path, MISMATCHED, then) == "True"


def test_another_fault_is_not_swallowed(tmp_path):
    then = "try: run.import_torchvision()\nexcept RuntimeError as e: print(e)"
    assert guarded(tmp_path, BROKEN, then) == "libc is too old"


def test_the_installed_torchvision_works_and_later_plain_imports_too(tmp_path):
    then = ("import torch; run.import_torchvision()\nfrom torchvision.transforms import v2\nimport torchvision\n"
            "net = torchvision.models.resnet18(num_classes=3).eval(); print(tuple(net(torch.zeros(1, 3, 32, 32)).shape))")
    assert guarded(tmp_path, None, then) == "(1, 3)"
