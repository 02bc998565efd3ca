"""What runs around a copy or an update. Copier's own process imports it: extensions/lab.py."""
