"""Packages come into the drop-in directory, and leave it, whole or not at all."""

import fcntl
import itertools
import os
import re
import shutil
import sys
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

import pytest
import wheels

from mcpserve import installing, pip_runner, plugins_dir, staging, uninstalling, vetting
from mcpserve.errors import UsageError

OURS = version("pydantic")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Let pip look nowhere but into a folder of this test; return the folder."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


@pytest.fixture
def folder(tmp_path):
    """The drop-in directory, which is not there yet."""
    return tmp_path / "plugins"


def install(folder, *wanted, upgrade=False):
    """Install, and return what was, with versions."""
    outcome = installing.install(folder, wanted, upgrade=upgrade)
    return [f"{each.name} {each.version}" for each in outcome.installed]


def there(folder):
    """Return the packages in a folder, with versions."""
    found = plugins_dir.packages(folder).values()
    return sorted(f"{each.name} {each.version}" for each in found)


def refusal(folder, *wanted, **more):
    """Return why something is not installed, after nothing changed."""
    before = sorted(folder.rglob("*")) if folder.exists() else []
    with pytest.raises(UsageError) as caught:
        installing.install(folder, wanted, upgrade=False, **more)
    assert (sorted(folder.rglob("*")) if folder.exists() else []) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def drop(folder, scratch, name, version="1.0", **more):
    """Put a package into the drop-in directory without pip."""
    wheels.unpack(wheels.write(scratch, name, version, **more), folder)


# With pip


def test_a_plugin_comes_with_what_it_needs_and_is_replaced_whole(folder, offline):
    for each in ("1.0", "2.0"):
        wheels.write(offline, "sample-dep", each)
    more = {"mcpserve_sample/old.py": "", "mcpserve_sample/data/old.txt": ""}
    old, new = (
        {"requires": ["mcpserve", "pydantic>=2", f"sample-dep=={dep}"], "plugins": ["sample"]}
        for dep in ("1.0", "2.0")
    )
    wheels.write(offline, "mcpserve-sample", "1.0", more=more, **old)
    assert install(folder, "mcpserve_sample") == ["mcpserve-sample 1.0", "sample-dep 1.0"]
    assert (folder / "mcpserve_sample" / "old.py").exists()
    assert folder.stat().st_mode & 0o777 == 0o755

    wheels.write(offline, "mcpserve-sample", "2.0", **new)
    outcome = installing.install(folder, ["mcpserve-sample"], upgrade=False)
    assert (outcome.installed, outcome.present) == ([], ["mcpserve-sample 1.0"])
    assert install(folder, "mcpserve-sample", upgrade=True) == [
        "mcpserve-sample 2.0",
        "sample-dep 2.0",
    ]
    assert sorted(each.name for each in folder.iterdir()) == [
        "mcpserve_sample",
        "mcpserve_sample-2.0.dist-info",
        "sample_dep",
        "sample_dep-2.0.dist-info",
    ]
    assert not (folder / "mcpserve_sample" / "old.py").exists()
    assert not (folder / "mcpserve_sample" / "data").exists()
    assert uninstalling.uninstall(folder, "sample", ()) == ["mcpserve-sample 2.0", "sample-dep 2.0"]
    assert [*folder.iterdir()] == []


def rebuild(folder, source):
    """Write a wheel again, with the same version."""
    return str(wheels.write(folder, "mcpserve-dev", "1.0", plugins=["dev"], source=source))


def test_another_build_of_the_same_version_replaces_it(folder, offline):
    wheels.unpack(rebuild(offline, "A = 1"), folder)
    outcomes = []
    for source in ("A = 1", "A = 2"):
        wheel = rebuild(offline, source)
        outcomes.append(installing.install(folder, [wheel], upgrade=False))
    # Not by name: another version is what that is for.
    rebuild(offline, "A = 3")
    outcomes.append(installing.install(folder, ["mcpserve-dev"], upgrade=True))
    told = [(len(each.installed), len(each.replaced), each.present) for each in outcomes]
    assert told == [(0, 0, ["mcpserve-dev 1.0"]), (0, 1, []), (0, 0, ["mcpserve-dev 1.0"])]
    assert (folder / "mcpserve_dev" / "__init__.py").read_text() == "A = 2"


def test_a_project_that_changed_replaces_the_same_version(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    project = tmp_path / "project"
    write(project, {"mcpserve_dev.py": "A = 1"})
    (project / "pyproject.toml").write_text(
        '[project]\nname = "mcpserve-dev"\nversion = "1.0"\n'
        '[project.entry-points.mcpserve]\ndev = "mcpserve_dev"\n'
        '[tool.setuptools]\npy-modules = ["mcpserve_dev"]\n'
    )
    drop(folder, tmp_path, "mcpserve-dev", plugins=["dev"])
    outcome = installing.install(folder, [str(project)], upgrade=False)
    assert (len(outcome.installed), len(outcome.replaced)) == (0, 1)
    assert (folder / "mcpserve_dev.py").read_text() == "A = 1"
    assert not (folder / "mcpserve_dev" / "__init__.py").exists()


def test_a_plugin_that_needs_another_version_of_ours_is_refused(folder, offline):
    wheels.write(
        offline, "mcpserve-clash", "1.0", requires=["mcpserve", "pydantic<2"], plugins=["clash"]
    )
    folder.mkdir()
    assert refusal(folder, "mcpserve-clash") == (
        f"mcpserve-clash 1.0 needs pydantic<2, but pydantic {OURS} is what mcpserve itself uses"
    )


def test_what_is_no_plugin_is_refused_and_leaves_nothing(folder, offline):
    wheel = wheels.write(offline, "sample-library", "1.0")
    folder.mkdir()
    assert refusal(folder, str(wheel)) == "sample-library 1.0 offers no plugin of mcpserve"


def test_a_plugin_that_another_package_provides_is_refused(folder, offline):
    wheel = wheels.write(offline, "mcpserve-sums", "1.0", plugins=["calculator"])
    folder.mkdir()
    assert refusal(folder, str(wheel)) == (
        "mcpserve-sums 1.0 offers a plugin calculator, which mcpserve-calculator has already"
    )


def test_a_project_of_what_is_installed_beside_mcpserve_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    project = tmp_path / "project"
    project.mkdir()
    ours = version("mcpserve-calculator")
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "mcpserve-calculator"\nversion = "{ours}"\n'
    )
    folder.mkdir()
    text = "mcpserve-calculator is installed where mcpserve is: change it there"
    assert refusal(folder, str(project)) == text


def test_what_others_there_need_stays_as_they_need_it(folder, offline):
    for each in ("1.0", "2.0"):
        wheels.write(offline, "sample-dep", each)
    drop(folder, offline, "sample-dep")
    drop(folder, offline, "mcpserve-first", requires=["sample-dep<2"], plugins=["first"])
    wheels.write(offline, "mcpserve-second", "1.0", requires=["sample-dep>=2"], plugins=["second"])
    assert refusal(folder, "mcpserve-second") == (
        "mcpserve-first 1.0 needs sample-dep<2, 2.0 would be installed"
    )


# Without it


def test_what_mcpserve_has_itself_is_not_installed_again(folder):
    outcome = installing.install(folder, ["pydantic", "PyYAML>=6"], upgrade=True)
    assert outcome.present == [f"pydantic {OURS}", f"PyYAML {version('pyyaml')}"]
    assert not folder.exists()
    assert refusal(folder, "pydantic<2").startswith(f"pydantic<2: pydantic {OURS} is installed")


@pytest.mark.parametrize(
    "wanted",
    [
        "git+https://example.org/x",
        "https://example.org/x-1.0-py3-none-any.whl",
        "mcpserve-x @ https://example.org/x.whl",
        "mcpserve-x @ file:x.whl",
        "mcpserve_x-1.0-py3-none-any.whl[more]",
        "./x-1.0.tar.gz[more]",
        "./project[more]",
        "mcpserve-x; python_version > '3'",
    ],
)
def test_a_form_that_is_not_supported_is_told_so(folder, wanted):
    told = refusal(folder, wanted)
    assert told.startswith(f"{wanted}: this form is not supported; give a name, perhaps with")


def test_names_of_files_are_shown_without_what_a_terminal_obeys(folder, tmp_path):
    evil = "evil\x1b[31m\nw-1.0-py3-none-any.whl"
    broken = tmp_path / "a\x1b[31m-1.0-py3-none-any.whl"
    for wanted in (evil, f"./{evil}/x", "x\x1b]0;", f"https://{evil}", str(broken)):
        assert refusal(folder, wanted).isprintable()
    broken.touch()
    assert refusal(folder, str(broken)).isprintable()
    with pytest.raises(UsageError) as caught:
        uninstalling.uninstall(folder, "x\x1b[31m", ())
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_installed_is_told_in_one_line(folder, offline):
    foreign = wheels.write(offline, "mcpserve-far", "1.0", tag="cp39-cp39-win_amd64")
    text = refusal(folder, str(foreign))
    assert text.startswith(f"{foreign.name} is for cp39-cp39-win_amd64, and this is cp3")
    whole = wheels.write(offline, "mcpserve-torn", "1.0", plugins=["torn"])
    torn = bytearray(whole.read_bytes())
    torn[55:60] = b"-----"
    whole.write_bytes(torn)
    assert re.search(r"is broken|cannot be read", refusal(folder, str(whole)))
    whole.write_bytes(torn[:100])
    assert "cannot be read: File is not a zip file" in refusal(folder, str(whole))
    assert refusal(folder, "./gone.whl") == "there is no gone.whl"
    assert refusal(folder, "./gone") == "there is no gone"
    assert "is no name of a wheel" in refusal(folder, str(whole.rename(offline / "x.whl")))
    assert refusal(folder, "-r evil") == "'-r evil' is neither a package nor a file"


def test_without_pip_and_uv_it_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(pip_runner, "pip_command", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"pip is needed for that.*install pip \(or uv\)"):
        pip_runner.run(["--version"], tmp_path)


CONFLICT = """
ERROR: Cannot install mcpserve-a==1.0 because these package versions have conflicting dependencies.

The conflict is caused by:
    mcpserve-a 1.0 depends on b
    b 3.1 depends on pydantic<2; python_version > '3'
    The user requested (constraint) pydantic==2.12.1

ERROR: ResolutionImpossible: for help visit somewhere
"""
UNREACHABLE = """
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'
ERROR: Could not find a version that satisfies the requirement nope (from versions: none)
ERROR: No matching distribution found for nope
"""


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (CONFLICT, "b 3.1 needs pydantic<2, but pydantic 2.12.1 is what mcpserve itself uses"),
        (
            UNREACHABLE,
            "pip: the package index cannot be reached: Could not find a version that satisfies "
            "the requirement nope (from versions: none)",
        ),
        (
            "ERROR: 401 for https://me:secret@index.example/simple/x\n",
            "pip: 401 for https://**********@index.example/simple/x",
        ),
        ("ERROR: Exception:\nTraceback:\n  File x\nOSError: no\n", "pip: OSError: no"),
        ("shutil.Error: [('a', 'b', \"[Errno 28] No space left: 'a'\")]", "pip: No space left"),
        ("", "pip: it failed without a word"),
    ],
)
def test_what_pip_complains_of_is_one_line_without_secrets(output, told):
    assert pip_runner.complaint(output) == told


# Removing


def test_a_plugin_that_the_configuration_names_is_not_removed(folder, offline):
    drop(folder, offline, "mcpserve-used", plugins=["used"])
    with pytest.raises(UsageError, match=r"still has plugins\.used: remove that first"):
        uninstalling.uninstall(folder, "mcpserve-used", {"used": None})
    assert there(folder) == ["mcpserve-used 1.0"]


def test_what_others_need_and_other_plugins_stay(folder, offline):
    drop(folder, offline, "sample-deep")
    drop(folder, offline, "sample-own", requires=["sample-deep"])
    drop(folder, offline, "sample-shared")
    drop(folder, offline, "mcpserve-base", plugins=["base"])
    needs = ["sample.own", "sample_shared", "mcpserve-base"]
    drop(folder, offline, "mcpserve-goes", requires=needs, plugins=["goes"])
    drop(folder, offline, "mcpserve-stays", requires=["sample-shared"], plugins=["stays"])
    (folder / "mcpserve_goes" / "__pycache__").mkdir()
    (folder / "mcpserve_goes" / "__pycache__" / "__init__.cpython-399.pyc").touch()
    with pytest.raises(
        UsageError, match="sample-shared is needed by mcpserve-goes, mcpserve-stays"
    ):
        uninstalling.uninstall(folder, "sample-shared", ())
    gone = uninstalling.uninstall(folder, "goes", ())
    assert gone == ["mcpserve-goes 1.0", "sample-deep 1.0", "sample-own 1.0"]
    assert there(folder) == ["mcpserve-base 1.0", "mcpserve-stays 1.0", "sample-shared 1.0"]
    assert not (folder / "mcpserve_goes").exists()


def test_a_copy_of_what_mcpserve_has_can_be_removed(folder, offline):
    drop(folder, offline, "pydantic", "1.0")
    drop(folder, offline, "mcpserve-old", requires=["pydantic"], plugins=["old"])
    assert uninstalling.uninstall(folder, "pydantic", ()) == ["pydantic 1.0"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("calculator", "mcpserve-calculator is not in .*: remove it with pip"),
        ("pydantic", "pydantic is not in .*: remove it with pip"),
        ("nothing", "there is no nothing in .*, but mcpserve-there"),
    ],
)
def test_what_is_not_there_cannot_be_removed(folder, offline, name, told):
    drop(folder, offline, "mcpserve-there")
    with pytest.raises(UsageError, match=told):
        uninstalling.uninstall(folder, name, ())


# Whatever happens


def test_files_that_two_packages_have_are_not_overwritten_nor_lost(folder, offline):
    for name in ("mcpserve-one", "mcpserve-two"):
        drop(folder, offline, name, plugins=[name[9:]], more={"tests/__init__.py": ""})
    new = folder.parent / "new"
    drop(new, offline, "mcpserve-three", more={"tests/__init__.py": "other"})
    with pytest.raises(UsageError, match=r"mcpserve-one is there, .*another file tests/__init__"):
        vetting.require_peace(folder, plugins_dir.packages(new), new)
    uninstalling.uninstall(folder, "one", ())
    assert (folder / "tests" / "__init__.py").exists()


@pytest.mark.parametrize(
    ("there", "coming", "told"),
    [
        ("data/x.txt", "data", "mcpserve-new has a file data, but mcpserve-old has data/x.txt"),
        ("data", "data/x.txt", "mcpserve-new has a file data/x.txt, but mcpserve-old has data"),
        ("data", "data/a/x", "mcpserve-new has a file data/a/x, but mcpserve-old has data"),
    ],
)
def test_a_file_where_another_package_has_a_folder_is_refused(folder, offline, there, coming, told):
    drop(folder, offline, "mcpserve-old", plugins=["old"], more={there: "1"})
    new = folder.parent / "new"
    drop(new, offline, "mcpserve-new", plugins=["new"], more={coming: "1"})
    with pytest.raises(UsageError, match=f"^{told}$"):
        vetting.require_peace(folder, plugins_dir.packages(new), new)


def test_an_operators_own_files_are_not_in_the_way_silently(folder, offline):
    write(folder, {"data/notes.txt": "mine"})
    new = folder.parent / "new"
    drop(new, offline, "mcpserve-new", plugins=["new"], more={"data": "1"})
    told = f"^mcpserve-new has a file data, but {folder} has data/notes.txt$"
    with pytest.raises(UsageError, match=told):
        vetting.require_peace(folder, plugins_dir.packages(new), new)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (".committed/obsolete.json", "which no plugin may have"),
        (".Committed/files/a", "which no plugin may have"),
        (".draft-x/a", "which no plugin may have"),
        ("sitecustomize.py", "which no plugin may have"),
        ("usercustomize/__init__.py", "which no plugin may have"),
        ("sitecustomize.cpython-311-x86_64-linux-gnu.so", "which no plugin may have"),
        ("mcpserve/evil.py", "but mcpserve belongs to mcpserve, which mcpserve itself uses"),
        ("tornado/platform/x.py", "but tornado(/platform)? belongs to tornado, which"),
        ("pydantic/new/x.py", "but pydantic belongs to pydantic, which"),
    ],
)
def test_files_in_places_that_are_others_are_refused(folder, offline, name, told):
    folder.mkdir()
    new = folder.parent / "new"
    drop(new, offline, "mcpserve-new", plugins=["new"], more={name: "1"})
    with pytest.raises(UsageError, match=f"^mcpserve-new has a file {re.escape(name)}, {told}"):
        vetting.require_peace(folder, plugins_dir.packages(new), new)


def test_a_folder_that_is_open_to_everybody_may_be_shared(folder, offline):
    folder.mkdir()
    new = folder.parent / "new"
    drop(new, offline, "opentelemetry-new", more={"opentelemetry/new_kind/__init__.py": ""})
    vetting.require_peace(folder, plugins_dir.packages(new), new)


ODD = "mcpserve_odd/,,\n,,\na\0b,,\n" + "a" * 300 + ",,\n../x,,\n"


def spoil_record(metadata):
    """Let a package claim what is no file."""
    with (metadata / "RECORD").open("a") as record:
        record.write(ODD)


def test_a_package_with_an_odd_record_can_be_upgraded_and_removed(folder, offline):
    wheel = wheels.write(offline, "mcpserve-odd", "1.1", plugins=["odd"])
    drop(folder, offline, "mcpserve-odd", plugins=["odd"])
    spoil_record(folder / "mcpserve_odd-1.0.dist-info")
    assert install(folder, str(wheel)) == ["mcpserve-odd 1.1"]
    spoil_record(folder / "mcpserve_odd-1.1.dist-info")
    assert uninstalling.uninstall(folder, "odd", ()) == ["mcpserve-odd 1.1"]
    assert [*folder.iterdir()] == []


def test_a_file_may_become_a_folder_and_a_folder_a_file(tmp_path):
    folder = tmp_path / "plugins"
    states = [{"a": "1", "b/x.py": "1"}, {"a/x.py": "2", "b": "2"}]
    write(folder, states[0])
    for old, new in (states, states[::-1]):
        for name in old:
            # What nobody records.
            write((folder / name).parent / "__pycache__", {"other.cpython-399.pyc": ""})
        draft = folder / f"{staging.DRAFT}x"
        write(draft / staging.FILES, new)
        staging.commit(folder, draft, old)
        shutil.rmtree(folder / "__pycache__")
        assert {name: (folder / name).read_text() for name in staging.files_in(folder)} == new


@pytest.mark.parametrize("coming", ["data", "file/x"])
def test_what_could_not_be_finished_is_not_begun(tmp_path, coming):
    folder = tmp_path / "plugins"
    old = {"data/x": "1", "file": "1"}
    write(folder, old)
    with staging.locked(folder), staging.draft(folder) as draft:
        write(draft / staging.FILES, {coming: "2", "else": "2"})
        with pytest.raises(FileExistsError):
            staging.commit(folder, draft, ["data", "no/such"])
    assert {name: (folder / name).read_text() for name in staging.files_in(folder)} == old


def commit_and_die(folder, draft, *, at):
    """Commit in a process that dies just before its ``at``-th change; tell whether it did."""
    pid = os.fork()
    if pid == 0:
        left = at

        def hook(event, arguments):
            nonlocal left
            if event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}:
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(hook)
        staging.commit(folder, draft, OLD.keys() - {"else.py"})
        os._exit(0)
    return os.waitpid(pid, 0)[1] != 0


OLD = {
    "pkg/__init__.py": "1",
    "pkg/old.py": "1",
    "pkg/file": "1",
    "pkg/folder/file": "1",
    "pkg-1.dist-info/RECORD": "1",
    "else.py": "",
}
NEW = {
    "pkg/__init__.py": "2",
    "pkg/sub/new.py": "2",
    "pkg/file/is": "2",
    "pkg/folder": "2",
    "pkg-2.dist-info/RECORD": "2",
    "else.py": "",
}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


# What the other threads hold does not matter to a process that only moves files.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_dies_leaves_the_old_or_the_new(tmp_path):
    seen = []
    for at in range(100):
        folder = tmp_path / str(at)
        write(folder, OLD)
        draft = folder / f"{staging.DRAFT}x"
        write(draft / staging.FILES, {name: NEW[name] for name in NEW if name != "else.py"})
        died = commit_and_die(folder, draft, at=at)
        with staging.locked(folder):
            after = {name: (folder / name).read_text() for name in staging.files_in(folder)}
        assert after in (OLD, NEW), at
        assert all(any(path.iterdir()) for path in folder.rglob("*") if path.is_dir()), at
        seen.append(after == NEW)
        if not died:
            break
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert set(seen) == {True, False}


def test_only_one_changes_the_directory_at_a_time(folder):
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    entered = threading.Event()

    def wait():
        with staging.locked(folder):
            entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.1)
    os.close(descriptor)
    assert entered.wait(10)
    thread.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else and come back")
def test_a_directory_that_may_not_be_written_is_named(folder, offline):
    folder.mkdir()
    drop(folder, offline, "mcpserve-there", plugins=["there"])
    temporary = Path(tempfile.gettempdir())
    for parent in itertools.takewhile(lambda path: path != temporary, folder.parents):
        parent.chmod(0o755)
    os.seteuid(65534)
    try:
        text = f"plugins_dir: {folder} cannot be changed: Permission denied: {folder}"
        assert refusal(folder, "mcpserve-x") == text
        with pytest.raises(UsageError, match=re.escape(text)):
            uninstalling.uninstall(folder, "there", ())
    finally:
        os.seteuid(0)
