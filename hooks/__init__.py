"""What runs around a copy or an update. Copier's own process imports it: extensions/copier_extension.py."""
