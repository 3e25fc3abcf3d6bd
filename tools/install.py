"""Make .venv and install into it what a make target needs: `python3 tools/install.py base|dev|docs`.

Needs nothing but the standard library and runs on any Python 3, so that an old one gets a clear message.
"""

import os
import shutil
import subprocess
import sys
import threading
import time

NEEDED = (3, 11)
PYTHON = os.path.join(".venv", "bin", "python")
WIDTH = 100


def main():
    """Install the set of packages that the first argument names."""
    use_new_python()
    if not works(PYTHON):
        make_venv()
    pip("torch, by far the largest", ["torch"])
    if sys.argv[1] == "base":
        pip("astrosurvey and what it stands on", ["-e", "."])
        return
    pip("astrosurvey, what it stands on, and the tools of its developers", ["-e", ".[dev,docs]" if sys.argv[1] == "docs" else ".[dev]"])


def use_new_python():
    """Go on with a Python that is new enough, or say what is missing."""
    if sys.version_info >= NEEDED:
        return
    for minor in range(NEEDED[1] + 9, NEEDED[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and works(found):
            os.execv(found, [found, *sys.argv])
    sys.exit(
        f"astrosurvey needs Python {NEEDED[0]}.{NEEDED[1]} or newer, and {sys.executable} is {sys.version.split()[0]}; "
        "install a newer one, or name it: make PYTHON=/path/to/python3 …"
    )


def works(python):
    """Tell whether this Python starts; a shim, or a venv whose Python is gone, does not."""
    try:
        return subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def make_venv():
    """Make an empty .venv."""
    print(f"making .venv with {sys.executable} ({sys.version.split()[0]})", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", "--clear", ".venv"], check=False).returncode:
        sys.exit("Python's own `venv` does not work here; on Debian and Ubuntu: apt install python3-venv")


def pip(what, packages):
    """Install packages; show in one line how far pip is, and all that it said when it fails."""
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-c", "constraints.txt"]
    process = subprocess.Popen([*command, *packages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    said = []
    reader = threading.Thread(target=lambda: [said.append(line.rstrip()) for line in process.stdout])
    reader.start()
    on_terminal = sys.stdout.isatty()
    started, shown = time.time(), 0.0
    print(f"installing {what}", flush=True)
    while reader.is_alive():
        reader.join(0.5)
        passed = time.time() - started
        if said and passed - shown > (0.5 if on_terminal else 20):
            shown = passed
            line = f"  {passed:4.0f} s  {said[-1].strip()}"[:WIDTH]
            print(f"\r{line:{WIDTH}}" if on_terminal else line, end="" if on_terminal else "\n", flush=True)
    if on_terminal:
        print(f"\r{'':{WIDTH}}\r", end="", flush=True)
    if process.wait():
        print("\n".join(said[-40:]), file=sys.stderr)
        sys.exit(f"pip could not install {what}; see the lines above, then run the same command again")
    print(f"  done in {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
