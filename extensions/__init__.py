"""What the template cannot say well in Jinja: rules, literals and derived facts.

`copier_extension.py` is the only module that knows Copier; the others are pure functions, importable as the package `extensions`.
"""
