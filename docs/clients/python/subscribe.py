"""Prints what centerx sees, one line an object, as it happens.

    yard  12.3 s  person 0.71 [613,232,652,341]

The seconds are the time since the first frame that was received. After a break it goes on where it was, and says
what is gone. The stubs come from the protos, see README.md beside this file.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.environ.get("CENTERX_STUBS", os.path.join(os.path.dirname(__file__), "stubs")))

import grpc

import credentials
import text
from centerx.v1 import cameras_pb2, detections_pb2, detections_pb2_grpc

# A dead server or network is noticed within this many milliseconds, although nothing is sent.
CHANNEL_OPTIONS = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
# The server is gone, ended a reader that took nothing, or has no room: worth another attempt.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", default="127.0.0.1:50051", help="host:port of the server")
    parser.add_argument("--camera", action="append", default=[], help="only this camera (repeatable)")
    parser.add_argument("--min-score", type=float, default=0.0, help="leave out detections under this, 0 to 1")
    parser.add_argument("--count", type=int, help="end after this many objects")
    parser.add_argument("--timeout", type=float, help="give up after this many seconds")
    credentials.add_argument(parser)
    return parser.parse_args()


class Printer:
    """Prints events and counts the objects among them."""

    def __init__(self, count):
        self.left = count
        self.start = None
        self.positions = {}  # the last frame of each camera, to go on there

    @property
    def done(self):
        return self.left is not None and self.left <= 0

    def show(self, response):
        kind = response.WhichOneof("event")
        if kind == "detections":
            self.show_frame(response.detections)
        elif kind == "dropped":
            note(f"{response.dropped.frames} frames missed: this client or its network is too slow")
        elif kind == "camera_state":
            change = response.camera_state
            state = cameras_pb2.CameraState.Name(change.status.state).removeprefix("CAMERA_STATE_").lower()
            note(f"{change.camera_id}  {state}: {change.status.reason}")
        elif kind == "resumed":
            self.show_resumed(response.resumed)

    def show_resumed(self, resumed):
        if resumed.outcome == detections_pb2.RESUME_OUTCOME_RESTARTED:
            note(f"{resumed.camera_id}  its frames are counted anew")
        if resumed.HasField("gap"):
            note(f"{resumed.camera_id}  frames {resumed.gap.first_sequence} to {resumed.gap.last_sequence} are gone")

    def show_frame(self, frame):
        self.positions[frame.camera_id] = detections_pb2.Position(
            camera_id=frame.camera_id, epoch=frame.epoch, sequence=frame.sequence
        )
        captured = frame.capture_time.ToNanoseconds() / 1e9
        self.start = captured if self.start is None else self.start
        for found in frame.detections:
            if self.done:
                return
            seconds = captured - self.start
            print(f"{frame.camera_id}  {seconds:.1f} s  {text.detection(found)}", flush=True)
            if self.left is not None:
                self.left -= 1


def note(message):
    print(message, file=sys.stderr, flush=True)


def run(args):
    """Subscribes, again and again while the server cannot be reached. Returns the exit code."""
    printer = Printer(args.count)
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    metadata = credentials.metadata(args)
    wait = FIRST_WAIT
    while not printer.done:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return too_late(args)
        # A new channel, whose connection is tried at once; an old one has a back-off of its own.
        with grpc.insecure_channel(args.address, options=CHANNEL_OPTIONS) as channel:
            service = detections_pb2_grpc.DetectionServiceStub(channel)
            request = detections_pb2.SubscribeRequest(
                camera_ids=args.camera, min_score=args.min_score, resume=printer.positions.values()
            )
            try:
                for response in service.Subscribe(request, timeout=left, metadata=metadata):
                    wait = FIRST_WAIT
                    printer.show(response)
                    if printer.done:
                        break
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    return too_late(args)
                if error.code() not in PASSING:
                    note(f"{error.code().name}: {error.details()}")
                    return 1
                note(f"{args.address} is unavailable ({error.details()}); next attempt in {wait:.1f} s")
                pause = wait if deadline is None else min(wait, max(deadline - time.monotonic(), 0))
                time.sleep(pause)
                wait = min(2 * wait, LONGEST_WAIT)
    return 0


def too_late(args):
    if args.count is None:
        return 0
    note(f"fewer than {args.count} objects within {args.timeout} s")
    return 2


if __name__ == "__main__":
    try:
        sys.exit(run(arguments()))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)
