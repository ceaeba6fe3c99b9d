"""The crash test: real Airflow on PostgreSQL and a real stream, killed at random while files land."""
