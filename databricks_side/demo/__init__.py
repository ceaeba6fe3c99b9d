"""The main job, end to end, on real parts: a local workspace, a real Airflow, a thousand files."""
