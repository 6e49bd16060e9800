"""Checks the chart: Helm's own linter, what it renders against Kubernetes's schemas, what it must refuse.

    python check.py FOLDER    writes the settings of each rendering to FOLDER, for `centerx serve --check`

Helm comes as a library (helm-python-sdk), the schemas with kubernetes-validate.
"""

import pathlib
import sys

import helm_python
import kubernetes_validate
import yaml
from helm_python import chart as helm

CHART = pathlib.Path(__file__).parent / "centerx"
TOKEN = {"name": "ops", "role": "operate", "sha256": "0" * 64}
# The oldest Kubernetes that the chart is for, and the newest that there is a schema of.
VERSIONS = ["1.25", "1.37"]
# Not Kubernetes's own: there is no schema here.
FOREIGN = {"PodMonitor"}

GOOD = {
    "least": {"auth": {"tokens": [TOKEN]}},
    "open": {"auth": {"mode": "off"}},
    "all": {
        "auth": {"tokens": [TOKEN, {"name": "prom", "role": "read", "sha256": "1" * 64}]},
        "config": 'min_score = 0.4\n[grpc]\nstreams = 8\n[[camera]]\nid = "bars"\nurl = "test://smpte"\n',
        "image": {"tag": "1"},
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "YARD_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "cameras", "key": "yard"}}}],
        "persistence": {"storageClass": "fast"},
        "podMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "tokenSecret": {"name": "token", "key": "token"},
        },
        "autoscaling": {"enabled": True},
        "networkPolicy": {"from": [{"podSelector": {}}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "cameras", "operator": "Exists"}],
    },
    "tls": {"auth": {"tokens": [TOKEN]}, "tls": {"existingSecret": "certificate"}},
}
BAD = {
    "make a token": {},
    "sha256": {"auth": {"tokens": [{**TOKEN, "sha256": "short"}]}},
    "role": {"auth": {"tokens": [{**TOKEN, "role": "admin"}]}},
    "replica": {"auth": {"tokens": [TOKEN]}, "replica": 2},
    "httpPort": {"auth": {"tokens": [TOKEN]}, "service": {"httpPort": 0}},
}


def objects(values):
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(values=values, name="demo", namespace="video")
    manifests = (text for path, text in rendered.items() if path.endswith(".yaml"))
    return [item for text in manifests for item in yaml.safe_load_all(text) if item]


def check(name, values, folder):
    found = objects(values)
    for item in found:
        if item["kind"] not in FOREIGN:
            for version in VERSIONS:
                kubernetes_validate.validate(item, version, strict=True)
        if item["kind"] == "Secret":
            (folder / f"{name}.toml").write_text(item["stringData"]["centerx.toml"])
    print(f"{name}: {', '.join(sorted(item['kind'] for item in found))}")


def refuse(word, values):
    try:
        objects(values)
    except helm_python.HelmError as error:
        if word not in str(error):
            raise SystemExit(f"refused for another reason than {word}: {error}") from error
        return
    raise SystemExit(f"the chart accepts {values}")


def main():
    folder = pathlib.Path(sys.argv[1])
    report = helm.lint(CHART, values=GOOD["least"])
    problems = [message for message in report["messages"] if message["severity"] > 1]
    if problems or report["errors"]:
        raise SystemExit(f"helm lint: {problems} {report['errors']}")
    for name, values in GOOD.items():
        check(name, values, folder)
    for word, values in BAD.items():
        refuse(word, values)


main()
