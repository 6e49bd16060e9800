"""Writes the dashboards: python docker/grafana/source/generate.py [FOLDER]

Needs the package in requirements.txt. A test checks that the files in docker/grafana/dashboards are what this makes.
"""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from camera import camera
from overview import overview


def main():
    default = Path(__file__).resolve().parent.parent / "dashboards"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in {"overview": overview(), "camera": camera()}.items():
        text = JSONEncoder(sort_keys=True, indent=2).encode(made.build())
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
