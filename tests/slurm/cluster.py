"""A Slurm of one node in a folder, for tests: as root, without systemd, on the loopback interface only.

    python tests/slurm/cluster.py up DIR --port 17400      prints the environment in which sbatch finds it
    python tests/slurm/cluster.py down DIR

It has munge's key and socket in DIR, and two fake GPUs. Several can live side by side, each with a folder and two ports of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
FAKE_GPUS = 2
CONFIG = """\
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port_of_node}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
# A requeued job waits for as long as its credential was good for: two minutes where nothing is said.
AuthInfo=socket={folder}/run/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldTimeout=30
# A node that is lost is missed after so many seconds; at a site it is minutes.
SlurmdTimeout=10
MessageTimeout=5
KillWait=5
MinJobAge=300
GresTypes=gpu
# The node may be said to have more cores than the machine has: two jobs run at once on any.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} ThreadsPerCore=1 \
RealMemory={memory} Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Return what keeps a Slurm from being started here; "" where nothing does."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=search_path())]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "a Slurm of one's own is started as root"


def search_path() -> str:
    """Return PATH with the folders in which daemons are installed."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), SBIN])


def free_port() -> int:
    """Return a port of the loopback interface that is free, and the next one is too; processes beside each other look at others."""
    first = 17400 + 2 * (os.getpid() % 200)
    for port in (*range(first, 17800, 2), *range(17400, first, 2)):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for number in (port, port + 1):
                held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
    raise RuntimeError("no two ports are free between 17400 and 17800")


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until something is true.

    Raises:
        TimeoutError: it was not in all that time.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not in {seconds:g} s")
        time.sleep(0.1)


class Cluster:
    """A Slurm in a folder; its daemons are known by their process ids, kept in `run/pids.json`."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self.host = socket.gethostname().partition(".")[0]
        self.config = self.folder / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.config), "PATH": search_path()}
        self._started: list[subprocess.Popen[bytes]] = []

    def up(self, port: int) -> None:
        """Write the configuration and start munged, slurmctld and slurmd; `port` and the next one are used."""
        for name in ("run", "log", "state", "spool", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(FAKE_GPUS):
            device = self.folder / "dev" / f"fakegpu{index}"
            if not device.exists():
                os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # Slurm refuses a plain file
        cores = max(2, len(os.sched_getaffinity(0)))
        memory = int(0.9 * psutil.virtual_memory().total / 2**20)
        values = {"folder": self.folder, "host": self.host, "port": port, "port_of_node": port + 1, "cores": cores, "memory": memory}
        self.config.write_text(CONFIG.format(gpus=FAKE_GPUS, **values))
        devices = f"{self.folder}/dev/fakegpu[0-{FAKE_GPUS - 1}]"
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu Type=fake File={devices}\n")
        key = self.folder / "run" / "munge.key"
        key.unlink(missing_ok=True)
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        run, log = self.folder / "run", self.folder / "log"
        self._start(
            "munged", "-F", "--force", f"--key-file={key}", f"--socket={run}/munge.socket", f"--pid-file={run}/munged.pid",
            f"--log-file={log}/munged.log", f"--seed-file={run}/munged.seed",
        )  # fmt: skip
        wait_until((run / "munge.socket").is_socket, 30, f"munged did not start, see {log}")
        self._start("slurmctld", "-D", "-c", "-f", str(self.config))
        self.start_node()

    def start_node(self) -> None:
        """Start slurmd, and wait until the node takes jobs."""
        self._start("slurmd", "-D", "-N", self.host, "-f", str(self.config))
        ready = lambda: self.ask("sinfo", "-h", "-o", "%T") in ("idle", "mixed", "allocated")  # noqa: E731
        wait_until(ready, 60, f"the node did not come up, see {self.folder}/log")

    def kill_node(self) -> None:
        """Lose the node: kill slurmd, and every process of its jobs, at once; return when it is missed."""
        for process in [*self.daemons("slurmd"), *self.processes_of_jobs()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: self.ask("sinfo", "-h", "-o", "%T").startswith("down"), 90, "the node is not missed")

    def jobs(self) -> dict[str, str]:
        """Return the state of each job that has not ended (each element of an array is one), by its id."""
        rows = self.ask("squeue", "-h", "-r", "-o", "%A %T").splitlines()
        return dict(row.split() for row in rows)

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm says; "" where it fails."""
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def daemons(self, *names: str) -> list[psutil.Process]:
        """Return the daemons that are alive, all or those of these names; a stranger that has got the id of one is none."""
        found = []
        for name, pid, created in self._known():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if name in (names or PROGRAMS) and process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def processes_of_jobs(self) -> list[psutil.Process]:
        """Return the processes of this Slurm's jobs: slurmstepd and all that has its environment from a job."""
        return list(self._find())

    def cancel_all(self) -> None:
        """Cancel all jobs, and wait for their end."""
        if jobs := self.jobs():
            self.ask("scancel", *jobs)
            wait_until(lambda: not self.jobs() and not self.processes_of_jobs(), 30, "the jobs did not end")

    def down(self) -> None:
        """Cancel the jobs, end the daemons, and whatever of the jobs is left."""
        if self.daemons("slurmctld") and self.daemons("slurmd"):
            with contextlib.suppress(TimeoutError):
                self.cancel_all()
        for name in ("slurmd", "slurmctld", "munged"):
            for ask in (psutil.Process.terminate, psutil.Process.kill):
                for process in self.daemons(name):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        ask(process)
                psutil.wait_procs(self.daemons(name), timeout=10)
        left = self.processes_of_jobs()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        for started in self._started:
            started.wait(timeout=10)

    def _start(self, *command: str) -> None:
        """Start a daemon in a session of its own, and write down its process id."""
        with (self.folder / "log" / f"{command[0]}.out").open("ab") as log:
            environment = {**os.environ, **self.environment}
            started = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(started)
        known = [row for row in self._known() if row[0] != command[0]]
        known.append([command[0], started.pid, psutil.Process(started.pid).create_time()])
        (self.folder / "run" / "pids.json").write_text(json.dumps(known))

    def _known(self) -> list[list]:
        path = self.folder / "run" / "pids.json"
        return json.loads(path.read_text()) if path.exists() else []

    def _find(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name() == "slurmstepd":  # it writes over its environment; its folder is that of its slurmd
                    if process.cwd() == str(self.folder):
                        yield process
                else:
                    environment = process.environ()
                    if environment.get("SLURM_CONF") == str(self.config) and "SLURM_JOB_ID" in environment:
                        yield process


def main() -> None:
    """Bring a Slurm up or take it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["up", "down"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, help="the first of two ports; the first free ones when it is not given")
    options = parser.parse_args()
    cluster = Cluster(options.folder)
    if options.what == "down":
        cluster.down()
        return
    if why := missing():
        sys.exit(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cluster.up(options.port or free_port())
    except BaseException:
        cluster.down()
        raise
    for name, value in cluster.environment.items():
        print(f"export {name}={value}")


if __name__ == "__main__":
    main()
