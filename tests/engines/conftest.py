"""A batch system for tests that do without one: Slurm's commands, as scripts that run a job at once on this machine."""

import os
import stat
import sys
from pathlib import Path

import pytest

SBATCH = """\
#!/bin/sh
{refusal}
n=$(($(cat {folder}/number 2>/dev/null || echo 0) + 1)); echo $n > {folder}/number
errors=$(sed -n 's/^#SBATCH -e //p' "$1" | sed "s/%J/$n/")
cp "$1" {folder}/job.$n
{start}
echo "Submitted batch job $n"
"""


class FakeSlurm:
    def __init__(self, folder):
        self.folder = folder
        self.write("scancel", f'#!/bin/sh\necho "$@" >> {folder}/cancelled\n')
        self.states()
        self.runs()

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def states(self, *lines):
        """What squeue says."""
        self.write("squeue", "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))

    def runs(self):
        """Jobs run at once."""
        self._sbatch(start=f'bash {self.folder}/job.$n > /dev/null 2> "$errors" &')

    def waits(self):
        """Jobs stay in the queue."""
        self._sbatch()

    def refuses(self, said):
        self._sbatch(refusal=f"echo '{said}' >&2; exit 1")

    def _sbatch(self, refusal="", start=""):
        self.write("sbatch", SBATCH.format(folder=self.folder, refusal=refusal, start=start))

    @property
    def cancelled(self):
        path = self.folder / "cancelled"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return FakeSlurm(folder)


@pytest.fixture
def site_file(tmp_path):
    def write(more="", engine="slurm"):
        path = tmp_path / "site.yaml"
        path.write_text(f"engine: {engine}\nmemory: 1GB\nwalltime: 01:00:00\nhost: 127.0.0.1\npython: {sys.executable}\n{more}")
        return path

    return write
