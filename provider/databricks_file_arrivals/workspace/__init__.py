"""Ports to a Databricks workspace and their adapters; nothing in here knows Airflow."""
