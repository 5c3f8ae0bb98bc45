"""For *.test.py: runs the calling script under the Python of tests/support/venv. Exit code 77 (skipped) where that cannot be made.

    import os, sys
    sys.path.insert(0, os.path.join(os.environ["RS_SOURCE_DIR"], "tests", "support"))
    import venv_test
    venv_test.enter()
"""
import os
import subprocess
import sys


def enter():
    if os.environ.get("RS_VENV_TEST") == sys.executable:
        return
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "venv")
    made = subprocess.run([script, os.environ["RS_BUILD_DIR"]], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        sys.exit(made.returncode)
    python = made.stdout.strip()
    environment = dict(os.environ, RS_VENV_TEST=python)
    os.execve(python, [python] + sys.argv, environment)
