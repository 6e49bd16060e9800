"""The token that a call carries, where the server asks for one.

It comes from a file or from the variable CENTERX_TOKEN, never from an argument: other users of a machine can read
those.
"""

import os


def add_argument(parser):
    parser.add_argument("--token-file", help="file with the server's token; default: the variable CENTERX_TOKEN")


def metadata(args):
    """For the `metadata` argument of a call; without a token, nothing."""
    token = os.environ.get("CENTERX_TOKEN", "")
    if args.token_file:
        with open(args.token_file) as file:
            token = file.read()
    token = token.strip()
    return [("authorization", f"Bearer {token}")] if token else []
