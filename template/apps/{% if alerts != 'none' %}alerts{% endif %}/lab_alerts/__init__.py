"""The lab's alarm: a CronJob that looks at the lab, and tells its owner of each fault once, and once of its end."""
