"""What it costs to plan 1,000,000 arrivals in 100,000 directories with 100,000 rules, 10 % patterns.

Arrivals come to the planner as the warehouse sends them: counted by directory. Measured are reading the rules
(rows of the mapping table become rules) and planning (routes, decisions, rows of the log), each size in a
process of its own, with its peak of memory above what the process had with its input. Beside it, in one run:

- the naive loop: each directory against each rule, on a slice of the directories, scaled up;
- a join on Spark as the seed's: directories with mapping rows by name, on one local Spark with as many cores
  as there are; it gives which workflow for which directory, and none of the rest. Only with
  `--spark-patterns` are the patterns joined too: LIKE against 10,000 of them is a product of the tables.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any

from bench.report import publish
from databricks_file_arrivals.core.mapping import WorkflowMapping
from databricks_file_arrivals.core.outcomes import LogRow
from databricks_file_arrivals.core.planning import (
    Arrivals,
    Claim,
    Job,
    Situation,
    decide,
    large,
    matched,
    plan,
    route,
    workflows,
)

FILES_EACH = 10
NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
CLAIM = Claim("default", "c" * 32, 7, "main.ingest.file_log")
JOB = [Job(1, frozenset({"trigger_id", "log_table", "directory"}))]
ROOT = "s3://landing/in"


def mapping_rows(count: int) -> list[dict[str, Any]]:
    """Nine literal rules of ten, and one pattern, over areas, sources and tables."""
    return [
        {
            "directory": f"{ROOT}/area{i % 97}/source{i % 1009}/"
            + (f"t{i}_*/daily" if i % 10 == 0 else f"table_{i}"),
            "workflow_name": f"workflow_{i % 1000}",
            "active_ind": "Y",
        }
        for i in range(count)
    ]


def directories(count: int) -> list[str]:
    """A real directory for each rule, half of them with a partition below."""
    return [
        f"{ROOT}/area{i % 97}/source{i % 1009}/"
        + (f"t{i}_{i % 7}/daily" if i % 10 == 0 else f"table_{i}")
        + ("/date=2026-01-05" if i % 2 else "")
        for i in range(count)
    ]


def arrivals(count: int) -> list[Arrivals]:
    return [
        Arrivals("s" * 36, ROOT, d, 9, 11, 10, 11, FILES_EACH, 1000, NOON, NOON) for d in directories(count)
    ]


def planned(new: list[Arrivals], mapping: WorkflowMapping) -> tuple[LogRow, ...]:
    """All three steps."""
    decisions = decide(route(matched(new, mapping), {}), mapping, Situation(NOON))
    return plan(CLAIM, decisions, {name: JOB for name in workflows(decisions)})


def measure(count: int, results: Any) -> None:
    """Read rules and plan once, in this process."""
    rows, new = mapping_rows(count), arrivals(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with large():  # as the operator does
        start = time.perf_counter()
        mapping = WorkflowMapping.read(rows)
        read = time.perf_counter()
        made = planned(new, mapping)
        end = time.perf_counter()
    assert len(made) == count and not mapping.problems
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    results.put((read - start, end - read, peak))


def in_process(count: int, rounds: int) -> tuple[float, float, float]:
    """The medians of some rounds: seconds to read, seconds to plan, MiB."""
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(rounds):
        results = context.Queue()
        process = context.Process(target=measure, args=(count, results))
        process.start()
        found.append(results.get())
        process.join()
    read, plans, peak = (statistics.median(column) for column in zip(*found, strict=True))
    return read, plans, peak


def naive(rules: int, slice_of: int) -> float:
    """Seconds for all directories by the naive loop, from a slice."""
    patterns = [row["directory"] for row in mapping_rows(rules)]
    some = directories(rules)[:: max(rules // slice_of, 1)][:slice_of]
    start = time.perf_counter()
    taken = 0
    for directory in some:
        best = max(
            (
                p
                for p in patterns
                if directory == p
                or directory.startswith(p + "/")
                or ("*" in p and fnmatchcase(directory, p + "*"))
            ),
            key=len,
            default="",
        )
        taken += bool(best)
    assert taken == len(some)
    return (time.perf_counter() - start) * rules / len(some)


def spark_join(count: int, with_patterns: bool) -> float:
    """Seconds of the seed's way: a join of directories and mapping on Spark, warm."""
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    mapping = [(r["directory"], r["workflow_name"]) for r in mapping_rows(count)]
    rules = spark.createDataFrame(mapping, "rule STRING, workflow STRING").cache()
    # A million arrivals, each with its directory, as the seed's batch has them.
    new = spark.createDataFrame([(d,) for d in directories(count)], "directory STRING")
    new = new.selectExpr("directory", f"explode(sequence(1, {FILES_EACH})) AS n").cache()
    rules.count(), new.count()

    def join() -> int:
        here = new.select("directory").distinct()
        parents = here.selectExpr("directory", "regexp_replace(directory, '/[^/]+$', '') AS parent")
        literal = parents.join(rules, (rules.rule == parents.directory) | (rules.rule == parents.parent))
        if with_patterns:
            glob = rules.where("rule LIKE '%*%'").selectExpr("replace(rule, '*', '%') AS glob", "workflow")
            return literal.count() + here.crossJoin(glob).where("directory LIKE glob").count()
        equal = parents.join(rules, rules.rule == parents.directory).select("directory", "workflow")
        above = parents.join(rules, rules.rule == parents.parent).select("directory", "workflow")
        return equal.union(above).count()

    seconds = statistics.median(timed(join) for _ in range(3))
    spark.stop()
    return seconds


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.planner", description=__doc__)
    parser.add_argument("--directories", type=int, default=100_000, help="and as many rules")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slice", type=int, default=20, help="directories of the naive loop")
    parser.add_argument("--spark-patterns", action="store_true", help="join the patterns on Spark too")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for count in (given.directories // 10, given.directories):
        read, plans, peak = in_process(count, given.rounds)
        rows.append(
            {
                "way": "planner",
                "directories": count,
                "rules": count,
                "read rules s": round(read, 2),
                "plan s": round(plans, 2),
                "peak MiB": round(peak),
                "per directory µs": round((read + plans) / count * 1e6, 1),
            }
        )
    whole = rows[-1]["read rules s"] + rows[-1]["plan s"]
    others = {
        "naive loop, scaled": naive(given.directories, given.slice),
        "join on Spark": spark_join(given.directories, given.spark_patterns),
    }
    for way, seconds in others.items():
        rows.append(
            {
                "way": way,
                "directories": given.directories,
                "rules": given.directories,
                "read rules s": None,
                "plan s": round(seconds, 2),
                "peak MiB": None,
                "per directory µs": round(seconds / given.directories * 1e6, 1),
            }
        )
    publish(
        "planner",
        f"{given.directories * FILES_EACH:,} arrivals in {given.directories:,} directories",
        rows,
        **{f"{way} / planner": round(seconds / whole, 2) for way, seconds in others.items()},
    )
    growth = rows[1]["per directory µs"] / rows[0]["per directory µs"]
    print(f"planner: {whole:.2f} s, {growth:.2f} times as much per directory as with a tenth", flush=True)
    for way, seconds in others.items():
        print(f"{way}: {seconds:.1f} s, {seconds / whole:.1f} times the planner", flush=True)


if __name__ == "__main__":
    main()
