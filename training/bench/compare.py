"""Compares the turns of centerx-train and PyTorch: lines of JSON of both, one after the other."""

import json
import statistics
import sys
from pathlib import Path


def main() -> None:
    turns = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    ours, theirs = turns[::2], turns[1::2]
    params = {turn["params"] for turn in turns}
    if len(params) != 1:
        sys.exit(f"error: the networks are not the same: they have {sorted(params)} parameters")
    print(f"{params.pop()} parameters, median of {len(ours)} turns")
    seconds = {}
    for name, turns in (("centerx-train", ours), ("PyTorch", theirs)):
        seconds[name] = statistics.median(turn["seconds_per_step"] for turn in turns)
        memory = statistics.median(turn["peak_rss_mib"] for turn in turns)
        imported = turns[0].get("imported_rss_mib")
        of_which = f", {imported:.0f} MiB of which before the network is made" if imported else ""
        print(f"{name}: {seconds[name]:.3f} s a step, {memory:.0f} MiB at most{of_which}")
    print(f"centerx-train takes {seconds['centerx-train'] / seconds['PyTorch']:.2f} times as long a step")


if __name__ == "__main__":
    main()
