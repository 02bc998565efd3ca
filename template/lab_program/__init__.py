"""The lab's program: what `./lab` does. README.md of the lab says how to use it; docs/ of the template how to extend
it."""
