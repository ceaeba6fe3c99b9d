"""A job that keeps its place until it is cancelled."""

import time

time.sleep(600)
