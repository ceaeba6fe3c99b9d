"""Call counts."""

from local_workspace.api.calls import CallCounts


def test_calls_are_counted_by_method_and_path_for_all_and_for_each_caller() -> None:
    counts = CallCounts()
    for method, path, caller in (("POST", "/b", "x"), ("GET", "/a", "x"), ("POST", "/b", "y")):
        counts.add(method, path, caller)
    assert counts.as_dict() == {"GET /a": 1, "POST /b": 2}
    assert counts.as_dict("y") == {"POST /b": 1}
    assert counts.as_dict("nobody") == {}
