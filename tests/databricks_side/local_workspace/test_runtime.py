"""The session and the dbutils that a job finds."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from local_workspace.engine import Engine
from local_workspace.runtime import (
    DBUtils,
    NotebookExit,
    RedactedStream,
    Redactor,
    SecretError,
    Secrets,
    WidgetError,
    session,
    session_url,
)
from local_workspace.testing import RunningWorkspace
from tests.databricks_side.local_workspace.conftest import Runs


@pytest.fixture
def dbutils() -> DBUtils:
    return DBUtils({"given": "value", "both": "given"}, "http://127.0.0.1:9", "token", Redactor())


class TestSession:
    def test_it_has_the_id_that_was_asked_for(self, engine: Engine) -> None:
        wanted = str(uuid.uuid4())
        opened = session(engine.remote, engine.state, wanted)
        assert opened.session_id == wanted
        assert opened.range(2).count() == 2
        opened.stop()

    def test_url(self) -> None:
        assert session_url("sc://127.0.0.1:1") == "sc://127.0.0.1:1/;user_id=local"
        assert session_url("sc://127.0.0.1:1", "x").endswith(";session_id=x")


class TestWidgets:
    def test_a_parameter_beats_the_default(self, dbutils: DBUtils) -> None:
        dbutils.widgets.text("both", "default", "a label")
        dbutils.widgets.text("own", "default")
        assert dbutils.widgets.get("both") == "given"
        assert dbutils.widgets.get("own") == "default"
        assert dbutils.widgets.get("given") == "value"  # a parameter needs no widget
        assert dbutils.widgets.getAll() == {"given": "value", "both": "given", "own": "default"}

    def test_one_that_is_not_there_is_named(self, dbutils: DBUtils) -> None:
        with pytest.raises(WidgetError, match=r"InputWidgetNotDefined: .*'none'"):
            dbutils.widgets.get("none")

    def test_get_argument(self, dbutils: DBUtils) -> None:
        assert dbutils.widgets.getArgument("none", "fallback") == "fallback"
        assert dbutils.widgets.getArgument("given", "fallback") == "value"
        with pytest.raises(WidgetError):
            dbutils.widgets.getArgument("none")

    def test_choices(self, dbutils: DBUtils) -> None:
        dbutils.widgets.dropdown("d", "a", ["a", "b"])
        dbutils.widgets.combobox("c", "free", ["a"])
        dbutils.widgets.multiselect("m", "b", ["a", "b"])
        assert [dbutils.widgets.get(name) for name in "dcm"] == ["a", "free", "b"]
        with pytest.raises(ValueError, match="not one of its choices"):
            dbutils.widgets.dropdown("d", "c", ["a", "b"])

    def test_remove(self, dbutils: DBUtils) -> None:
        dbutils.widgets.text("x", "1")
        dbutils.widgets.text("y", "1")
        dbutils.widgets.remove("x")
        assert "x" not in dbutils.widgets.getAll() and "y" in dbutils.widgets.getAll()
        dbutils.widgets.removeAll()
        assert dbutils.widgets.getAll() == {"given": "value", "both": "given"}


class TestSecrets:
    """Over the real API of a real workspace."""

    @pytest.fixture
    def scope(self, workspace: RunningWorkspace) -> str:
        name = f"scope-{uuid.uuid4().hex[:8]}"
        client = WorkspaceClient(host=workspace.url, token=workspace.token())
        client.secrets.create_scope(name)
        client.secrets.put_secret(name, "password", string_value="hünter 2")
        return name

    def test_values_names_and_scopes(self, workspace: RunningWorkspace, scope: str) -> None:
        redactor = Redactor()
        secrets = Secrets(workspace.url, workspace.token(), redactor)
        assert secrets.get(scope, "password") == "hünter 2"
        assert secrets.getBytes(scope, "password") == "hünter 2".encode()
        assert [secret.key for secret in secrets.list(scope)] == ["password"]
        assert scope in [found.getName() for found in secrets.listScopes()]
        assert redactor.clean("it is hünter 2!") == "it is [REDACTED]!"

    def test_a_refusal_says_what_was_asked_and_answered(
        self, workspace: RunningWorkspace, scope: str
    ) -> None:
        with pytest.raises(SecretError, match=rf"/api/2\.0/secrets/get .*{scope}"):
            Secrets(workspace.url, workspace.token(), Redactor()).get(scope, "none")
        with pytest.raises(SecretError, match=r"answered 40[13] "):
            Secrets(workspace.url, "wrong", Redactor()).get(scope, "password")

    def test_a_run_prints_none(self, runs: Runs, workspace: RunningWorkspace, scope: str) -> None:
        code = f"value = dbutils.secrets.get({scope!r}, 'password')\n"
        code += "print(len(value), value)\nraise ValueError(value)"
        run = runs.start(code, host=workspace.url, token=workspace.token())
        assert runs.result(run)["error"] == "ValueError: [REDACTED]"
        assert runs.log(run).startswith("8 [REDACTED]\n") and "hünter" not in runs.log(run)


class TestRedaction:
    def test_the_longest_first_and_never_an_empty_one(self) -> None:
        redactor = Redactor()
        for value in ("", "  ", "abc", "abcdef"):
            redactor.hide(value)
        assert redactor.clean("abcdef abc ab") == "[REDACTED] [REDACTED] ab"

    def test_stream(self, tmp_path: Path) -> None:
        redactor = Redactor()
        redactor.hide("secret")
        with (tmp_path / "out").open("w") as file:
            stream = RedactedStream(file, redactor)
            assert stream.write("a secret\n") == 9
            stream.writelines(["b\n", "secret"])
            stream.flush()
            assert stream.name == file.name
        assert (tmp_path / "out").read_text() == "a [REDACTED]\nb\n[REDACTED]"


class TestFileSystem:
    @pytest.mark.parametrize("prefix", ["", "file:", "dbfs:"])
    def test_a_file_s_life(self, dbutils: DBUtils, tmp_path: Path, prefix: str) -> None:
        fs, root = dbutils.fs, f"{prefix}{tmp_path}"
        assert fs.mkdirs(f"{root}/a/b")
        assert fs.put(f"{root}/a/x ü.txt", "text ü")
        with pytest.raises(FileExistsError):
            fs.put(f"{root}/a/x ü.txt", "other")
        fs.put(f"{root}/a/x ü.txt", "more text", overwrite=True)
        assert fs.head(f"{root}/a/x ü.txt", 4) == "more"
        folder, file = fs.ls(f"{root}/a")
        assert (folder.path, folder.name, folder.size, folder.isDir()) == (f"{root}/a/b/", "b/", 0, True)
        assert (file.path, file.name, file.size, file.isFile()) == (f"{root}/a/x ü.txt", "x ü.txt", 9, True)
        assert file.modificationTime == (tmp_path / "a" / "x ü.txt").stat().st_mtime_ns // 1_000_000
        fs.cp(f"{root}/a/x ü.txt", f"{root}/c/y.txt")
        fs.cp(f"{root}/a", f"{root}/d", recurse=True)
        fs.mv(f"{root}/c/y.txt", f"{root}/e/z.txt")
        assert (tmp_path / "d" / "x ü.txt").exists() and (tmp_path / "e" / "z.txt").exists()
        assert not (tmp_path / "c" / "y.txt").exists()
        assert fs.rm(f"{root}/d", recurse=True) and not (tmp_path / "d").exists()
        assert not fs.rm(f"{root}/d")

    def test_a_folder_is_not_touched_unasked(self, dbutils: DBUtils, tmp_path: Path) -> None:
        dbutils.fs.put(f"{tmp_path}/a/x", "")
        for call in (dbutils.fs.cp, dbutils.fs.mv):
            with pytest.raises(IsADirectoryError, match="recurse=True"):
                call(f"{tmp_path}/a", f"{tmp_path}/b")
        with pytest.raises(OSError, match="not empty"):
            dbutils.fs.rm(f"{tmp_path}/a")
        assert (tmp_path / "a" / "x").exists()

    def test_what_is_missing_or_elsewhere_is_named(self, dbutils: DBUtils, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="none"):
            dbutils.fs.ls(f"{tmp_path}/none")
        with pytest.raises(ValueError, match="abfss://x"):
            dbutils.fs.ls("abfss://x@y/z")


class TestNotebook:
    def test_exit(self, dbutils: DBUtils) -> None:
        with pytest.raises(NotebookExit) as left:
            dbutils.notebook.exit("value")
        assert left.value.value == "value" and not isinstance(left.value, Exception)

    def test_run_is_not_there(self, dbutils: DBUtils) -> None:
        with pytest.raises(NotImplementedError, match="a task or a job of its own"):
            dbutils.notebook.run("x")

    def test_help(self, dbutils: DBUtils, capsys: pytest.CaptureFixture[str]) -> None:
        dbutils.help()
        assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
            "dbutils.widgets",
            "dbutils.secrets",
            "dbutils.fs",
            "dbutils.notebook",
        ]

    def test_what_is_not_there_is_named(self, dbutils: DBUtils) -> None:
        with pytest.raises(AttributeError, match="jobs"):
            dbutils.jobs  # type: ignore[attr-defined] # noqa: B018
