"""Call counts."""

from local_workspace.api.calls import CallCounts


def test_calls_are_counted_by_method_and_path_for_all_and_for_each_caller() -> None:
    counts = CallCounts()
    for method, path, caller in (("POST", "/b", "x"), ("GET", "/a", "x"), ("POST", "/b", "y")):
        counts.add(method, path, caller)
    assert counts.as_dict() == {"GET /a": 1, "POST /b": 2}
    assert counts.as_dict("y") == {"POST /b": 1}
    assert counts.as_dict("nobody") == {}


def test_bytes_are_added_up_until_a_reset() -> None:
    counts = CallCounts()
    counts.add("GET", "/a", "x", received=1, sent=10)
    counts.add("GET", "/a", "y", received=2, sent=20)
    assert counts.usage() == {"GET /a": {"calls": 2, "bytes_received": 3, "bytes_sent": 30}}
    assert counts.usage("y") == {"GET /a": {"calls": 1, "bytes_received": 2, "bytes_sent": 20}}
    begun = counts.since
    counts.reset()
    assert not counts.usage() and not counts.as_dict() and counts.since >= begun
