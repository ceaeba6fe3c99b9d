"""Names of the catalog."""

import pytest

from local_workspace.api.catalog_store import quoted, split_name
from local_workspace.api.errors import DoesNotExist, InvalidParameter


def test_a_quoted_name_is_just_that_name() -> None:
    assert quoted("main", "a b", "c`; DROP TABLE x") == "`main`.`a b`.`c``; DROP TABLE x`"


def test_names_have_their_parts() -> None:
    assert split_name("main.Ingest.Log", 3) == ["ingest", "log"]
    assert split_name("MAIN.ingest", 2) == split_name("hive_metastore.ingest", 2) == ["ingest"]
    for wrong in ("ingest", "main..log", "main.a.b.c"):
        with pytest.raises(InvalidParameter):
            split_name(wrong, 3)
    with pytest.raises(DoesNotExist, match="other"):
        split_name("other.a.b", 3)
