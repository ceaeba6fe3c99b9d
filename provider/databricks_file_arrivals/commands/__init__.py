"""The sub-commands of `file-arrivals`: modules whose `add` says what one takes, and whose `run` does it."""
