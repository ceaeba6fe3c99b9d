"""The Statement Execution API, with the unmodified SDK and real Spark."""

import threading
import time
import uuid
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import InvalidParameterValue, NotFound, PermissionDenied
from databricks.sdk.service import sql

from local_workspace.testing import RunningWorkspace

Parameter = sql.StatementParameterListItem


class Warehouse:
    """Statements of one principal."""

    def __init__(self, workspace: RunningWorkspace, name: str = "admin") -> None:
        self.client = WorkspaceClient(host=workspace.url, token=workspace.token(name))

    def run(self, statement: str, *parameters: Parameter, **more: Any) -> sql.StatementResponse:
        """The statement's answer once it is over."""
        answer = self.client.statement_execution.execute_statement(
            statement,
            "local",
            parameters=list(parameters) or None,
            wait_timeout=more.pop("wait_timeout", "50s"),
            **more,
        )
        return answer

    def rows(self, statement: str, *parameters: Parameter, **more: Any) -> list[list[str | None]]:
        """The rows of a statement that has to succeed."""
        answer = self.run(statement, *parameters, **more)
        assert answer.status and answer.status.state == sql.StatementState.SUCCEEDED, answer.as_dict()
        return (answer.result and answer.result.data_array) or []  # type: ignore[return-value]


@pytest.fixture(scope="module")
def warehouse(workspace: RunningWorkspace) -> Warehouse:
    """The admin's warehouse."""
    return Warehouse(workspace)


@pytest.fixture
def table(warehouse: Warehouse) -> str:
    """A new, empty table."""
    name = f"main.default.t_{uuid.uuid4().hex[:8]}"
    warehouse.rows(f"CREATE TABLE {name} (id INT, name STRING)")
    return name


TYPED = [
    ("STRING", 'it\'s; -- "x" ✓\n{{}}', None),
    ("INT", "-7", None),
    ("BIGINT", str(2**62), None),
    ("SMALLINT", "3", None),
    ("DOUBLE", "1.5", None),
    ("DECIMAL(4,2)", "12.30", None),
    ("DECIMAL(38, 0)", "9" * 38, None),
    ("BOOLEAN", "TRUE", "true"),
    ("DATE", "2024-02-29", None),
    ("TIMESTAMP", "2024-02-29T12:34:56.789+02:00", "2024-02-29T10:34:56.789Z"),
    ("TIMESTAMP", "2024-02-29 12:34:56", "2024-02-29T12:34:56.000Z"),
    ("TIMESTAMP_NTZ", "2024-02-29T12:34:56.5", "2024-02-29T12:34:56.500"),
]


@pytest.mark.parametrize(("kind", "text", "back"), TYPED)
def test_parameters_are_typed_and_come_back(
    warehouse: Warehouse, kind: str, text: str, back: str | None
) -> None:
    answer = warehouse.run("SELECT :v AS v, typeof(:v)", Parameter(name="v", value=text, type=kind))
    assert answer.result and answer.manifest and answer.manifest.schema and answer.manifest.schema.columns, (
        answer
    )
    assert answer.result.data_array == [[back or text, kind.lower().replace(" ", "")]]
    assert answer.manifest.schema.columns[0].type_text == kind.replace(" ", "")


def test_null_and_untyped_parameters(warehouse: Warehouse) -> None:
    assert warehouse.rows(
        "SELECT :a, :b, typeof(:b), :c",
        Parameter(name="a"),
        Parameter(name="b", type="INT"),
        Parameter(name="c", value="1"),
    ) == [[None, None, "int", "1"]]


def test_a_parameter_is_a_value_and_never_code(warehouse: Warehouse, table: str) -> None:
    evil = f"x'); DROP TABLE {table}; --"
    warehouse.rows(f"INSERT INTO {table} VALUES (1, :v)", Parameter(name="v", value=evil))
    assert warehouse.rows(f"SELECT name FROM {table} WHERE name = :v", Parameter(name="v", value=evil)) == [
        [evil]
    ]


def test_values_of_all_types_are_strings(warehouse: Warehouse) -> None:
    answer = warehouse.run(
        "SELECT 1, 1.5D, 1e10D, CAST('NaN' AS DOUBLE), true, NULL, X'6869', DATE'2024-01-02',"
        " TIMESTAMP'2024-01-02 03:04:05.678901', array(1, NULL), map('k', 1),"
        " named_struct('a', NULL, 'b', 'x'),"
        " CAST(1.50 AS DECIMAL(5,2)), INTERVAL '1' DAY, 'a' AS same, 'b' AS same"
    )
    assert answer.result and answer.result.data_array == [
        [
            "1", "1.5", "1.0E10", "NaN", "true", None, "aGk=", "2024-01-02", "2024-01-02T03:04:05.678Z",
            "[1,null]", '{"k":1}', '{"a":null,"b":"x"}', "1.50", "INTERVAL '1' DAY", "a", "b",
        ]
    ]  # fmt: skip
    assert answer.manifest and answer.manifest.schema and answer.manifest.schema.columns
    columns = answer.manifest.schema.columns
    assert [column.type_name.value for column in columns if column.type_name] == [
        "INT", "DOUBLE", "DOUBLE", "DOUBLE", "BOOLEAN", "NULL", "BINARY", "DATE", "TIMESTAMP", "ARRAY", "MAP",
        "STRUCT", "DECIMAL", "INTERVAL", "STRING", "STRING",
    ]  # fmt: skip
    assert [column.position for column in columns] == list(range(16))
    assert (
        columns[11].type_text == "STRUCT<a: VOID, b: STRING>"
        and columns[14].name == columns[15].name == "same"
    )
    assert (columns[12].type_precision, columns[12].type_scale) == (5, 2)


def test_affected_rows(warehouse: Warehouse, table: str) -> None:
    def counted(statement: str) -> dict[str, str | None]:
        answer = warehouse.run(statement)
        assert answer.result and answer.result.data_array and answer.manifest and answer.manifest.schema, (
            answer.as_dict()
        )
        names = [column.name or "" for column in answer.manifest.schema.columns or []]
        return dict(zip(names, answer.result.data_array[0], strict=True))

    assert counted(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c')") == {
        "num_affected_rows": "3",
        "num_inserted_rows": "3",
    }
    assert (
        counted(f"insert into {table} select id, name from {table} where id > 99")["num_affected_rows"] == "0"
    )
    quoted = ".".join(f"`{part}`" for part in table.split("."))
    assert (
        counted(f"/* INSERT */ INSERT INTO TABLE {quoted} (name, id) SELECT 'd', 4")["num_inserted_rows"]
        == "1"
    )
    assert counted(f"UPDATE {table} SET name = 'x' WHERE id < 3") == {"num_affected_rows": "2"}
    assert counted(f"UPDATE {table} SET name = 'x' WHERE id = 99") == {"num_affected_rows": "0"}
    assert counted(f"DELETE FROM {table} WHERE id = 1") == {"num_affected_rows": "1"}
    merge = (
        f"MERGE INTO {table} t USING (SELECT explode(array(2, 7)) AS id) s ON t.id = s.id"
        " WHEN MATCHED THEN UPDATE SET name = 'm' WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'n')"
    )
    assert counted(merge) == {
        "num_affected_rows": "2", "num_updated_rows": "1", "num_deleted_rows": "0", "num_inserted_rows": "1",
    }  # fmt: skip
    assert counted(f"INSERT OVERWRITE {table} SELECT 1, 'o'")["num_inserted_rows"] == "1"
    warehouse.rows(f"CREATE TABLE {table}_parquet USING parquet AS SELECT 1 AS a")
    assert counted(f"INSERT INTO {table}_parquet SELECT 2")["num_inserted_rows"] is None


def test_inserts_at_once_are_each_counted_as_their_own(warehouse: Warehouse, table: str) -> None:
    counts: dict[int, list[list[str | None]]] = {}

    def insert(number: int) -> None:
        counts[number] = warehouse.rows(f"INSERT INTO {table} SELECT id, 'x' FROM range({number})")

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {number: [[str(number), str(number)]] for number in range(1, 7)}


def test_a_failed_statement_is_an_answer_with_its_error(warehouse: Warehouse, table: str) -> None:
    for statement, state, word in (
        ("SELEC 1", "42601", "PARSE_SYNTAX_ERROR"),
        ("SELECT * FROM main.default.nope", "42P01", "TABLE_OR_VIEW_NOT_FOUND"),
        ("SELECT :missing", "42P02", "UNBOUND_SQL_PARAMETER"),
        (f"INSERT INTO {table} VALUES ('x', 'y')", "22018", "CAST_INVALID_INPUT"),
        ("SELECT 1 / 0", "22012", "DIVIDE_BY_ZERO"),
    ):
        answer = warehouse.run(statement)
        assert answer.status and answer.status.state
        assert answer.status.state == sql.StatementState.FAILED and answer.result is None
        assert answer.status.error and answer.status.error.error_code == sql.ServiceErrorCode.BAD_REQUEST
        assert answer.status.error.message and word in answer.status.error.message, (
            answer.status.error.message
        )
        assert (
            "JVM" not in answer.status.error.message
            and answer.as_dict()["status"].get("sql_state", state) == state
        )


def test_a_value_that_is_none_of_its_type_fails_the_statement(warehouse: Warehouse) -> None:
    answer = warehouse.run("SELECT :v", Parameter(name="v", value="ten", type="INT"))
    assert answer.status and answer.status.state == sql.StatementState.FAILED
    assert answer.status.error and "CAST_INVALID_INPUT" in (answer.status.error.message or "")


def test_statements_share_no_session(warehouse: Warehouse) -> None:
    warehouse.rows("SET spark.sql.ansi.enabled=false")
    warehouse.rows("CREATE TEMPORARY VIEW only_here AS SELECT 1")
    assert warehouse.rows("SET spark.sql.ansi.enabled") == [["spark.sql.ansi.enabled", "true"]]
    failed = warehouse.run("SELECT * FROM only_here")
    assert failed.status and failed.status.state == sql.StatementState.FAILED


def test_a_schema_of_the_call_is_where_names_are_looked_up(warehouse: Warehouse) -> None:
    warehouse.rows("CREATE SCHEMA IF NOT EXISTS main.elsewhere")
    warehouse.rows("CREATE TABLE IF NOT EXISTS here (a INT)", catalog="main", schema="elsewhere")
    assert warehouse.rows("SELECT current_schema()", schema="elsewhere") == [["elsewhere"]]
    assert warehouse.rows("SELECT count(*) FROM main.elsewhere.here") == [["0"]]


def test_limits_cut_and_say_so(warehouse: Warehouse) -> None:
    answer = warehouse.run("SELECT id FROM range(10) ORDER BY id", row_limit=3)
    assert answer.result and answer.result.data_array == [["0"], ["1"], ["2"]]
    assert answer.manifest and answer.manifest.truncated and answer.manifest.total_row_count == 3
    exact = warehouse.run("SELECT id FROM range(3)", row_limit=3)
    assert exact.manifest and not exact.manifest.truncated
    cut = warehouse.run("SELECT repeat('x', 100) FROM range(100)", byte_limit=1000)
    assert cut.manifest and cut.manifest.truncated and 0 < (cut.manifest.total_row_count or 0) < 10


def test_a_large_result_comes_in_chunks_and_one_too_large_fails(warehouse: Warehouse) -> None:
    answer = warehouse.run("SELECT id, repeat('x', 1000) FROM range(3000) ORDER BY id")
    assert answer.manifest and answer.manifest.total_chunk_count and answer.statement_id and answer.result
    assert answer.manifest.total_chunk_count > 2 and answer.manifest.total_row_count == 3000
    ids: list[str] = []
    chunk = answer.result
    while True:
        ids += [row[0] for row in chunk.data_array or []]
        if chunk.next_chunk_index is None:
            break
        assert chunk.next_chunk_internal_link and chunk.next_chunk_internal_link.endswith(
            str(chunk.next_chunk_index)
        )
        chunk = warehouse.client.statement_execution.get_statement_result_chunk_n(
            answer.statement_id, chunk.next_chunk_index
        )
    assert ids == [str(number) for number in range(3000)]
    with pytest.raises(NotFound):
        warehouse.client.statement_execution.get_statement_result_chunk_n(answer.statement_id, 99)
    failed = warehouse.run("SELECT repeat('x', 100000) FROM range(300)")
    assert (
        failed.status and failed.status.error and "Inline byte limit" in (failed.status.error.message or "")
    )


SLOW = "SELECT sum(sin(id)) FROM range(100000000000)"


def test_polling_and_cancelling(warehouse: Warehouse, workspace: RunningWorkspace) -> None:
    begun = time.monotonic()
    answer = warehouse.run(SLOW, wait_timeout="0s")
    assert time.monotonic() - begun < 2 and answer.statement_id
    assert answer.status and answer.status.state in (sql.StatementState.PENDING, sql.StatementState.RUNNING)
    alice = Warehouse(workspace, "alice")
    with pytest.raises(PermissionDenied):
        alice.client.statement_execution.get_statement(answer.statement_id)
    while _state(warehouse, answer.statement_id) != sql.StatementState.RUNNING:
        time.sleep(0.05)
    warehouse.client.statement_execution.cancel_execution(answer.statement_id)
    assert _state(warehouse, answer.statement_id) == sql.StatementState.CANCELED
    begun = time.monotonic()
    assert warehouse.rows("SELECT 1") == [["1"]]
    assert time.monotonic() - begun < 10


def test_nothing_of_a_cancelled_statement_runs_on(warehouse: Warehouse) -> None:
    """Whenever the cancel comes, before or after its job has begun, the next statement has the machine."""
    for pause in (0.0, 0.05, 0.1, 0.2, 0.3):
        running = [warehouse.run(SLOW, wait_timeout="0s").statement_id or "" for _ in range(3)]
        time.sleep(pause)
        for statement_id in running:
            warehouse.client.statement_execution.cancel_execution(statement_id)
        assert warehouse.rows("SELECT count(*) FROM range(10)") == [["10"]]


def test_a_statement_may_be_cancelled_by_its_wait(warehouse: Warehouse) -> None:
    answer = warehouse.run(
        SLOW, wait_timeout="5s", on_wait_timeout=sql.ExecuteStatementRequestOnWaitTimeout.CANCEL
    )
    assert answer.status and answer.status.state == sql.StatementState.CANCELED


def test_the_api_answers_while_statements_run(warehouse: Warehouse) -> None:
    running = [warehouse.run(SLOW, wait_timeout="0s").statement_id for _ in range(3)]
    begun = time.monotonic()
    assert warehouse.client.current_user.me().user_name == "admin"
    assert time.monotonic() - begun < 2
    for statement_id in running:
        assert statement_id
        warehouse.client.statement_execution.cancel_execution(statement_id)


def _state(warehouse: Warehouse, statement_id: str) -> sql.StatementState:
    status = warehouse.client.statement_execution.get_statement(statement_id).status
    assert status and status.state
    return status.state


def test_what_databricks_refuses_is_refused(warehouse: Warehouse) -> None:
    run = warehouse.client.statement_execution.execute_statement
    with pytest.raises(NotFound, match="warehouse"):
        run("SELECT 1", "other")
    with pytest.raises(NotFound, match="not found"):
        warehouse.client.statement_execution.get_statement(str(uuid.uuid4()))
    for more in (
        {"wait_timeout": "3s"},
        {"wait_timeout": "51s"},
        {"wait_timeout": "x"},
        {"wait_timeout": "0s", "on_wait_timeout": sql.ExecuteStatementRequestOnWaitTimeout.CANCEL},
        {"row_limit": -1},
        {"catalog": "other"},
        {"parameters": [Parameter(name="a", value="1", type="ARRAY<INT>")]},
        {"parameters": [Parameter(name="a"), Parameter(name="a")]},
    ):
        with pytest.raises(InvalidParameterValue):
            run("SELECT 1", "local", **more)
    with pytest.raises(Exception, match="EXTERNAL_LINKS"):
        run("SELECT 1", "local", disposition=sql.Disposition.EXTERNAL_LINKS)
