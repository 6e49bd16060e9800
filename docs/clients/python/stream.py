"""Streams frames to centerx and prints what it finds in each, in their order.

    frame 12  person 0.71 [613,232,652,341]

Pictures (JPEG, PNG, WebP):

    python stream.py 127.0.0.1:50051 *.jpg

Video, decoded by whatever writes raw NV12 frames to a pipe:

    ffmpeg -i yard.mp4 -f rawvideo -pix_fmt nv12 - | python stream.py 127.0.0.1:50051 --raw 768x576 -

The stubs come from the protos, see README.md beside this file.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.environ.get("CENTERX_STUBS", os.path.join(os.path.dirname(__file__), "stubs")))

import grpc

import credentials
import text
from centerx.v1 import detections_pb2, detections_pb2_grpc


def size(argument):
    width, height = argument.split("x")
    return int(width), int(height)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="host:port of the server")
    parser.add_argument("files", nargs="+", help="pictures; with --raw, files of raw frames or - for the input")
    parser.add_argument("--raw", type=size, metavar="WxH", help="the files hold NV12 frames of this size")
    parser.add_argument("--model", help="name of the model; the server's default if absent")
    parser.add_argument("--min-score", type=float, help="leave out detections under this, 0 to 1")
    credentials.add_argument(parser)
    return parser.parse_args()


def pictures(paths):
    for path in paths:
        with open(path, "rb") as file:
            yield {"image": file.read()}


def raw_frames(paths, width, height):
    # Chroma has half the width and height, rounded up.
    length = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    for path in paths:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            while len(data := file.read(length)) == length:
                nv12 = detections_pb2.PIXEL_FORMAT_NV12
                yield {"raw": detections_pb2.RawPicture(format=nv12, width=width, height=height, data=data)}


def requests(args):
    """The options, then the frames. grpcio asks for the next when the server has room for it."""
    options = detections_pb2.DetectStreamOptions(model=args.model, min_score=args.min_score)
    yield detections_pb2.DetectStreamRequest(options=options)
    frames = raw_frames(args.files, *args.raw) if args.raw else pictures(args.files)
    for number, picture in enumerate(frames):
        frame = detections_pb2.ClientFrame(frame_id=number, **picture)
        frame.capture_time.FromNanoseconds(time.time_ns())
        yield detections_pb2.DetectStreamRequest(frame=frame)


def run(args):
    failed = False
    with grpc.insecure_channel(args.address) as channel:
        service = detections_pb2_grpc.DetectionServiceStub(channel)
        try:
            for answer in service.DetectStream(requests(args), metadata=credentials.metadata(args)):
                if answer.WhichOneof("outcome") == "error":
                    failed = True
                    print(f"frame {answer.frame_id}  {answer.error.message}", file=sys.stderr, flush=True)
                for found in answer.found.detections:
                    print(f"frame {answer.frame_id}  {text.detection(found)}", flush=True)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(run(arguments()))
    except KeyboardInterrupt:
        sys.exit(130)
