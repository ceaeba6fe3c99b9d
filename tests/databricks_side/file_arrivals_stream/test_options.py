"""The parameters: what they mean, what is refused and how, and that values do not show."""

from __future__ import annotations

import pytest

from databricks_file_arrivals.core.errors import BadInput, BadTableName
from file_arrivals_stream.options import AlreadyLogged, SourceOptions, StreamSettings, contains

GIVEN = {
    "monitored_directory": "/Volumes/main/ingest/landing/",
    "checkpoint_directory": "/Volumes/main/ingest/checkpoint",
    "log_table": "main.ingest.file_log",
}
SECRETS = {("azure", "queue"): "s3cret", ("a b", "c.d"): "other", ("empty", "one"): ""}


def secret(scope: str, key: str) -> str:
    return SECRETS[scope, key]


def read(**changes: str) -> StreamSettings:
    return StreamSettings.read(GIVEN | changes, secret)


def test_the_least_that_is_needed() -> None:
    settings = read()
    assert settings.root == "/Volumes/main/ingest/landing"
    assert settings.trigger == {"availableNow": True}
    assert settings.already_logged is AlreadyLogged.REFUSE
    assert settings.source.values == {"cloudFiles.format": "binaryFile"}
    assert str(settings.names.arrivals) == "main.ingest.file_log_arrivals"
    assert settings.warnings == ()


@pytest.mark.parametrize("name", list(GIVEN))
def test_what_is_missing_is_named_with_the_remedy(name: str) -> None:
    for empty in ("", "  "):
        with pytest.raises(BadInput, match=f"{name} is missing .*--{name}="):
            read(**{name: empty})


@pytest.mark.parametrize("name", ["monitored_directory", "checkpoint_directory"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [("landing", "not absolute"), ("/in/*", r"pattern"), ("/in/[a]", "pattern"), ("s3://b/{a,b}", "pattern")],
)
def test_a_directory_is_one_absolute_path(name: str, value: str, reason: str) -> None:
    with pytest.raises(BadInput, match=f"{name}.*{reason}"):
        read(**{name: value})


@pytest.mark.parametrize("checkpoint", ["/in", "/in/_checkpoint", "dbfs:/in/x/", "/in/"])
def test_a_checkpoint_in_the_monitored_directory_is_refused(checkpoint: str) -> None:
    with pytest.raises(BadInput, match="lies in monitored_directory"):
        read(monitored_directory="/in", checkpoint_directory=checkpoint)


def test_a_checkpoint_beside_is_not_in_it() -> None:
    assert read(monitored_directory="/in", checkpoint_directory="/in_checkpoint").root == "/in"


@pytest.mark.parametrize("table", ["a; DROP TABLE b", "a.b.c.d", "a..b", "a'b"])
def test_a_name_that_is_no_table_is_refused(table: str) -> None:
    for name in ("log_table", "workflow_mapping_table"):
        with pytest.raises(BadTableName):
            read(**{name: table})


@pytest.mark.parametrize(
    "text",
    ["10 seconds", "1 minute", "interval 5 minutes", "1 hour 30 minutes", "0 seconds", "500 MILLISECONDS"],
)
def test_intervals(text: str) -> None:
    assert read(batch_interval=f" {text} ").trigger == {"processingTime": text}


@pytest.mark.parametrize("text", ["often", "10", "10s", "ten seconds", "1 month", "-1 second", "1 minute;"])
def test_an_interval_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(BadInput, match=r"batch_interval .* is not a length of time.*'10 seconds'"):
        read(batch_interval=text)


@pytest.mark.parametrize("text", ["skip", "again"])
def test_already_logged(text: str) -> None:
    assert read(already_logged=text).already_logged == text


def test_an_unknown_already_logged_lists_what_there_is() -> None:
    with pytest.raises(BadInput, match=r"'once' is unknown.*skip or again"):
        read(already_logged="once")


def test_options_are_passed_through_when_set() -> None:
    settings = read(
        cloudFiles_useNotifications="true",
        cloudFiles_queueName="",
        cloudFiles_brandNew="1",
        pathGlobFilter="*.csv",
        batch_interval="",
    )
    assert settings.source.values == {
        "cloudFiles.format": "binaryFile",
        "cloudFiles.useNotifications": "true",
        "cloudFiles.brandNew": "1",
        "pathGlobFilter": "*.csv",
    }
    assert settings.source.names == [
        "cloudFiles.brandNew",
        "cloudFiles.format",
        "cloudFiles.useNotifications",
        "pathGlobFilter",
    ]


@pytest.mark.parametrize("value", ["csv", "cloudFiles", "json"])
def test_another_format_is_not_used_and_warned_of(value: str) -> None:
    settings = read(cloudFiles_format=value)
    assert settings.source.values["cloudFiles.format"] == "binaryFile"
    assert len(settings.warnings) == 1 and "always listed as binaryFile" in settings.warnings[0]


def test_binary_file_is_not_warned_of() -> None:
    assert read(cloudFiles_format="BINARYFILE").warnings == ()


def test_secrets_are_put_in_wherever_they_are_named() -> None:
    settings = read(
        cloudFiles_connectionString="Key={{secrets/azure/queue}};{{ secrets/a b/c.d }}",
        cloudFiles_tenantId="{{secrets/azure/queue}}",
    )
    assert settings.source.values["cloudFiles.connectionString"] == "Key=s3cret;other"
    assert settings.source.values["cloudFiles.tenantId"] == "s3cret"


def test_values_of_options_do_not_show() -> None:
    settings = read(
        cloudFiles_connectionString="Key={{secrets/azure/queue}}",
        cloudFiles_queueName="a-plain-name",
        cloudFiles_useNotifications="true",
    )
    for shown in (repr(settings), str(settings), repr(settings.source)):
        assert "s3cret" not in shown and "a-plain-name" not in shown
    text = "Key=s3cret, s3cret alone, a-plain-name, true"
    assert settings.source.redact(text) == "[REDACTED], [REDACTED] alone, [REDACTED], true"


def test_an_empty_secret_hides_nothing() -> None:
    assert read(cloudFiles_tenantId="{{secrets/empty/one}}").source.redact("text") == "text"


def test_a_secret_that_cannot_be_read_is_named() -> None:
    with pytest.raises(
        BadInput, match="cloudFiles_tenantId names the secret azure/gone, which cannot be read"
    ):
        read(cloudFiles_tenantId="{{secrets/azure/gone}}")


def test_only_options_name_secrets() -> None:
    """A root with a secret in it would stand in tables and logs."""
    with pytest.raises(BadInput, match="pattern"):
        read(monitored_directory="/in/{{secrets/azure/queue}}")


def test_redaction_takes_the_longest_first() -> None:
    assert SourceOptions({}, frozenset({"abc", "abcdef"})).redact("abcdef abc") == "[REDACTED] [REDACTED]"


@pytest.mark.parametrize(
    ("upper", "lower", "held"),
    [
        ("/in", "/in", True),
        ("/in", "/in/a", True),
        ("/in", "/inner", False),
        ("/in/a", "/in", False),
        ("/", "/in", True),
        ("s3://b", "s3://b/x", True),
        ("s3://b", "s3://bb/x", False),
    ],
)
def test_contains(upper: str, lower: str, held: bool) -> None:
    assert contains(upper, lower) is held


def test_a_signal_volume_is_a_path_beside_what_is_watched() -> None:
    assert read().signal_volume == ""
    assert read(signal_volume="/Volumes/a/b/signals/").signal_volume == "/Volumes/a/b/signals"
    with pytest.raises(BadInput, match="lies in monitored_directory"):
        read(signal_volume=f"{read().root}/signals")
    with pytest.raises(BadInput, match="is a URI"):
        read(signal_volume="s3://bucket/signals")
