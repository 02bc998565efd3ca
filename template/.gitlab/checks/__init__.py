"""What .gitlab/check.py asks of this repository, one module a question."""
