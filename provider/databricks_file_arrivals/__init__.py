"""Run the right Databricks job for each batch of arriving files, once, told exactly which files are its
own."""

__version__ = "0.1.0"
