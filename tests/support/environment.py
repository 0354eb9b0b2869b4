"""Environment variables and child processes."""

import subprocess
import sys
import time

# A proxy at a closed port: no network on any machine, except for servers on the machine itself.
NO_NETWORK = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
NO_NETWORK |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")


def run_python(code, *arguments, timeout=600, **options):
    """Run `code` in a Python process of its own and return the CompletedProcess, with its output as text."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)


def start_python(code, *arguments, **options):
    """Start `code` in a Python process of its own and return the Popen. The caller must end it."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)


def wait_until(condition, timeout=600):
    """Return when `condition()` is true; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"the condition is still false after {timeout} s"
        time.sleep(0.01)
