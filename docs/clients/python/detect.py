"""Has centerx look at one picture (JPEG, PNG or WebP) and prints what it finds.

    person 0.71 [613,232,652,341]

The stubs come from the protos, see README.md beside this file.
"""

import argparse
import os
import sys

sys.path.insert(0, os.environ.get("CENTERX_STUBS", os.path.join(os.path.dirname(__file__), "stubs")))

import grpc

import credentials
import text
from centerx.v1 import detections_pb2, detections_pb2_grpc


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", help="path of the picture")
    parser.add_argument("--address", default="127.0.0.1:50051", help="host:port of the server")
    parser.add_argument("--model", help="name of the model; the server's default if absent")
    parser.add_argument("--min-score", type=float, help="leave out detections under this, 0 to 1")
    credentials.add_argument(parser)
    return parser.parse_args()


def run(args):
    with open(args.picture, "rb") as file:
        request = detections_pb2.DetectRequest(image=file.read(), model=args.model, min_score=args.min_score)
    with grpc.insecure_channel(args.address) as channel:
        service = detections_pb2_grpc.DetectionServiceStub(channel)
        try:
            answer = service.Detect(
                request, timeout=30, wait_for_ready=False, metadata=credentials.metadata(args)
            )
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    for found in answer.detections:
        print(text.detection(found))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(run(arguments()))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")
