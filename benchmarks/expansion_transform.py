"""Expansion of a batch on the device against the same transform applied image by image, as a data loader would."""
import time

import torch

from symbreak_nb.pixels import ExpandPixels


def seconds(work, repeats: int = 7) -> float:
    "Shortest of several timings."
    found = []
    for _ in range(repeats):
        clock = time.perf_counter()
        work()
        found.append(time.perf_counter() - clock)
    return min(found)


def main() -> None:
    images, expand = torch.rand(512, 3, 32, 32), ExpandPixels(2, 0.5)
    batched = seconds(lambda: expand(images))
    looped = seconds(lambda: torch.stack([expand(image) for image in images]))
    assert torch.equal(expand(images), torch.stack([expand(image) for image in images]))
    print(f"expansion_image_by_image {1e6*looped/len(images):.1f} us/image")
    print(f"expansion_batched {1e6*batched/len(images):.1f} us/image")
    print(f"expansion_batched_speedup {looped/batched:.1f} ratio")


if __name__ == "__main__": main()
