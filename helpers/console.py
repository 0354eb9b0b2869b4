"""What the command lines share."""

import os
import sys


def run(main):
    """Run a command line's main() and end with its exit code; a character that the terminal cannot show is escaped.

    Where nobody reads on, as after `| head`, it ends with 1 and no traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None where it is closed
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        print(end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain once more, at its end
        code = 1
    sys.exit(code)
