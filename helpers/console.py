"""What the command lines share."""

import sys


def run(main):
    """Run a command line's main() and end with its exit code; a character that the terminal cannot show is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None where it is closed
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
