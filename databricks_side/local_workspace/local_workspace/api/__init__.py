"""The REST API of the workspace: what unmodified Databricks clients call."""
