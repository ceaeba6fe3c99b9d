"""The provider on every Airflow that it is for: installed, tested and run there. `make matrix` calls it."""
