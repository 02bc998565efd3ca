"""What runs around a copy or an update. extensions/lab.py imports the update's modules into Copier's own process."""
