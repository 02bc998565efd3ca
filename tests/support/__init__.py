"""What the tests share: rendering labs once, reading them as the cluster would, and judging what they hold."""
