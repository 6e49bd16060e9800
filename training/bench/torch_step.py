"""Seconds a training step and memory of PyTorch on the CPU, for the network of `centerx-train bench`.

A CenterNet of a ResNet-18, three transposed convolutions and heads of 64 channels, trained by Adam on random pictures
towards random maps. Prints one line of JSON.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not under 9/10."""
    nearest = max(8, int(channels / 8 + 0.5) * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class Block(nn.Module):
    """The basic block of He et al. 2015."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.around(x))


def doubling(inputs: int, outputs: int) -> nn.Sequential:
    up = nn.ConvTranspose2d(outputs, outputs, 4, 2, 1, bias=False)
    return nn.Sequential(conv_norm(inputs, outputs, 3), nn.ReLU(), up, nn.BatchNorm2d(outputs), nn.ReLU())


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, outputs, 1))


class CenterNet(nn.Module):
    """Returns the heads cls, wh and reg."""

    def __init__(self, width: float, classes: int, hidden: int):
        super().__init__()
        scaled = [rounded(channels * width) for channels in (64, 128, 256, 512)]
        layers = [conv_norm(3, scaled[0], 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        inputs = scaled[0]
        for stage, outputs in enumerate(scaled):
            layers += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
            inputs = outputs
        for outputs in reversed(scaled[:3]):
            layers.append(doubling(inputs, outputs))
            inputs = outputs
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleList(head(inputs, hidden, outputs) for outputs in (classes, 2, 2))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.body(x)
        return [head(x) for head in self.heads]


def loss(heads: list[torch.Tensor], targets: list[torch.Tensor]) -> torch.Tensor:
    """Squared error of the scores; L1 of sizes and offsets, weighted by the targets' peaks."""
    scores, size, offset = targets
    peaks = (scores * (functional.max_pool2d(scores, 3, 1, 1) == scores)).amax(1, keepdim=True)
    weighted = [((head - target).abs() * peaks).sum() / peaks.sum() for head, target in zip(heads[1:], targets[1:])]
    return (heads[0].sigmoid() - scores).square().mean() + weighted[0] + weighted[1]


def peak_mib() -> int:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--head-channels", type=int, default=64)
    parser.add_argument("--input", type=int, nargs=2, default=(192, 192), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    given = parser.parse_args()

    # PyTorch's libraries alone take hundreds of megabytes, and more in its builds for GPUs.
    imported = peak_mib()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    network = CenterNet(given.width, given.classes, given.head_channels).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    width, height = given.input
    pictures = torch.randn(given.batch, 3, height, width)
    maps = [torch.rand(given.batch, channels, height // 4, width // 4) for channels in (given.classes, 2, 2)]
    seconds = []
    for _ in range(given.warmup + given.steps):
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        value = loss(network(pictures), maps)
        value.backward()
        optimiser.step()
        value.item()
        seconds.append(time.perf_counter() - began)
    found = {
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "seconds_per_step": statistics.median(seconds[given.warmup :]),
        "peak_rss_mib": peak_mib(),
        "imported_rss_mib": imported,
        "framework": f"torch {torch.__version__}",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
